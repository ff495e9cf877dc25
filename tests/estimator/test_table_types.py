"""Tables of pandas, Polars and Arrow: fitted, or refused, as scikit-learn does with them."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn import neural_network

from fastmlp import ConfigError, MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:pandas.DataFrame with sparse columns"
)

RANDOM = np.random.default_rng(0)
X = np.where(RANDOM.random((120, 4)) < 0.6, 0, RANDOM.normal(size=(120, 4)))
X[:, 0] = RANDOM.integers(0, 5, 120)
y = RANDOM.integers(0, 3, 120)
NAMES = np.array(["a", "b", "c"])
SMALL: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0}


def pandas_frames() -> dict[str, Any]:
    pd = pytest.importorskip("pandas")
    plain = pd.DataFrame(X, columns=list("abcd"))
    sparse = pd.SparseDtype("float", 0)
    return {
        "plain": plain,
        "all columns sparse": plain.astype(sparse),
        "two columns sparse": plain.astype({"b": sparse, "c": sparse}),
        "one column sparse": plain.astype({"b": sparse}),
        "sparse of several types": plain.astype(sparse).astype({"a": pd.SparseDtype("int", 0)}),
        "sparse float32": plain.astype(pd.SparseDtype("float32", 0)),
        "nullable": plain.astype({"a": "Int64", "b": "Float64", "c": "Float32"}),
        "nullable with none": plain.astype("Float64").mask(plain == 0),
        "flags": (plain > 0).astype("boolean"),
        "categories of numbers": plain.astype({"a": "category"}),
        "categories of text": plain.assign(a=pd.Categorical(["x"] * 120)),
        "objects": plain.astype(object),
        "times": plain.assign(a=pd.Timestamp("2020-01-01")),
    }


def arrow_frames() -> dict[str, Any]:
    pd, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    plain = pd.DataFrame(X, columns=list("abcd"))
    return {
        "in Arrow": plain.astype("double[pyarrow]"),
        "converted": plain.convert_dtypes(dtype_backend="pyarrow"),
        "table": pyarrow.Table.from_pandas(plain),
    }


def polars_frames() -> dict[str, Any]:
    pl = pytest.importorskip("polars")
    plain = pl.DataFrame({name: column for name, column in zip("abcd", X.T, strict=True)})
    return {
        "Polars": plain,
        "whole numbers": plain.with_columns(pl.col("a").cast(pl.Int32)),
        "nulls": plain.with_columns(pl.when(pl.col("b") > 0).then(pl.col("b")).alias("b")),
    }


def outcome(kind: Any, table: Any, target: Any, **settings: Any) -> Any:
    """Return what a fit gives, or the type of the error."""
    try:
        model = kind(**{**SMALL, **settings}).fit(table, target)
    except (TypeError, ValueError) as error:
        return type(error)
    names = list(getattr(model, "feature_names_in_", ()))
    found = np.asarray(model.predict(table))
    if found.dtype.kind == "f":
        found = np.round(found, 3)
    return round(model.loss_, 4), names, found.tolist(), model.coefs_[0].dtype


@pytest.mark.parametrize("frames", [pandas_frames, arrow_frames, polars_frames])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_tables_are_fitted_as_scikit_learn_does(frames: Any, solver: str) -> None:
    for name, table in frames().items():
        for ours, theirs, target in (
            (MLPClassifier, neural_network.MLPClassifier, y),
            (MLPRegressor, neural_network.MLPRegressor, X[:, 1]),
        ):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = outcome(ours, table, target, solver=solver)
                expected = outcome(theirs, table, target, solver=solver)
            assert found == expected, name


def test_labels_in_any_column() -> None:
    pd = pytest.importorskip("pandas")
    for target in (
        pd.Series(pd.Categorical(NAMES[y])),
        pd.Series(NAMES[y], dtype="string"),
        pd.Series(y, dtype="Int64"),
        pd.Series(y > 0, dtype="boolean"),
        pd.Series(y).astype(pd.SparseDtype(int, 0)),
    ):
        found = outcome(MLPClassifier, X, target)
        assert found == outcome(neural_network.MLPClassifier, X, target), target.dtype


def test_sparse_columns_cannot_have_what_scikit_learn_has_not() -> None:
    table = pandas_frames()["all columns sparse"]
    with pytest.raises(ConfigError, match=r"dropout=0.5: found with sparse X"):
        MLPClassifier(dropout=0.5, **SMALL).fit(table, y)
    model = MLPClassifier(class_weight="balanced", **SMALL).fit(table, y)
    assert model.predict_proba(table).shape == (120, 3)
