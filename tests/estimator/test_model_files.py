"""Descriptions of estimators: which one a file may hold, and which tensors belong to it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.errors import DataError, FastMLPError, FormatError
from fastmlp.estimator import files
from fastmlp.machine.files import write_tensors

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
Description = dict[str, Any]


def labels(values: list[Any], dtype: str = "int64", multilabel: bool = False) -> Description:
    return {"dtype": dtype, "multilabel": multilabel, "values": values}


CLASSIFIER: Description = {
    **{"activation": "tanh", "dtype": "float32", "estimator": "MLPClassifier"},
    **{"feature_names": None, "labels": labels([3, 5, 9]), "output": "softmax"},
    "sizes": [4, 6, 3],
}
REGRESSOR: Description = CLASSIFIER | {
    **{"estimator": "MLPRegressor", "labels": None, "output": "identity"},
}
BINARY: Description = CLASSIFIER | {
    "output": "logistic",
    "sizes": [4, 6, 1],
    "labels": labels([0, 1]),
}
LAYERS = {"hidden": ["conv 2 2", "tanh", 6], "image_shape": [1, 2, 2], "activation": "relu"}
IMAGES: Description = CLASSIFIER | LAYERS | {"sizes": [4, 2, 6, 3]}


def test_tensors_follow_from_a_description() -> None:
    expected = {
        **{"0.weight": ("float32", (6, 4)), "0.bias": ("float32", (6,))},
        **{"2.weight": ("float32", (3, 6)), "2.bias": ("float32", (3,))},
    }
    assert files._layout(CLASSIFIER) == files._layout(REGRESSOR) == expected
    assert files._layout(CLASSIFIER | {"activation": "identity"}) == expected  # it counts
    assert files._layout(REGRESSOR | {"output": "exp", "dtype": "float64"}) == {
        name: ("float64", shape) for name, (_, shape) in expected.items()
    }
    found = files._layout(IMAGES)
    assert list(found.values()) == [
        *(("float32", (2, 1, 2, 2)), ("float32", (2,)), ("float32", (6, 2)), ("float32", (6,))),
        *(("float32", (3, 6)), ("float32", (3,))),
    ]


@pytest.mark.parametrize(
    ("whole", "change", "words"),
    [
        (CLASSIFIER, {"output": "identity"}, "output: found 'identity', expected softmax or logis"),
        (REGRESSOR, {"output": "softmax"}, "output: found 'softmax', expected identity or exp"),
        (CLASSIFIER, {"feature_names": ["a"] * 3}, "feature_names: .* a name for each feature, or"),
        (CLASSIFIER, {"feature_names": [1] * 4}, "feature_names"),
        (CLASSIFIER, {"labels": None}, "labels: found None, expected those of its outputs"),
        (REGRESSOR, {"labels": labels([1, 2, 3])}, "labels: found .*, expected none"),
        (CLASSIFIER, {"hidden": [6]}, "^estimator: .* expected hidden and image_shape, or neither"),
        (CLASSIFIER, {"image_shape": [1, 2, 2]}, "estimator: found"),
        (IMAGES, {"image_shape": [1, 2, 3]}, "image_shape: found .* a product of 4, or none"),
        (IMAGES, {"image_shape": [2, 2]}, "image_shape: found"),
        (IMAGES, {"image_shape": [4, 1, 1]}, "hidden: 'conv 2 2' is given 4 x 1 x 1"),
        (IMAGES, {"image_shape": [1, 1, 2, 2]}, "image_shape: found .* three numbers above 0"),
        (IMAGES, {"hidden": ["conv 2 2", "tanh", 7]}, r"hidden: found .* the widths \[2, 6\]"),
        (IMAGES, {"hidden": ["unheard"]}, "hidden: found"),
        (IMAGES, {"hidden": []}, "hidden: found"),
        (IMAGES, {"hidden": [True, 6]}, "hidden: found"),
        (CLASSIFIER, {"sizes": [4]}, "sizes: found .* two or more numbers above 0"),
        (CLASSIFIER, {"sizes": [4, 2**31, 3]}, "sizes: found"),
        (CLASSIFIER, {"sizes": [4, 0, 3]}, "sizes: found"),
        (CLASSIFIER, {"activation": "gelu"}, "expected identity or logistic or tanh or relu"),
        (CLASSIFIER, {"dtype": "float16"}, "expected float32 or float64"),
        (CLASSIFIER, {"estimator": "Unheard"}, "expected MLPClassifier or MLPRegressor"),
        (CLASSIFIER, {"more": 1}, "found .* expected the entries"),
    ],
)
def test_what_describes_no_estimator_is_refused(
    whole: Description, change: Description, words: str
) -> None:
    files._layout(whole)
    files._layout(CLASSIFIER | {"feature_names": list("abcd")})
    with pytest.raises(FastMLPError, match=words):
        files._layout(whole | change)


SOUND = [
    *(labels([-(2**63), 0, 2**63 - 1]), labels([0, 1, 2**64 - 1], "uint64")),
    *(labels([0, 1, 255], "uint8"), labels([-128, 0, 127], "int8"), labels(["a", "b", ""], "str")),
    *(labels(["b", "a", "c"], "object"), labels([0.5, 1.5, -1e300], "float64")),
    *(labels([1.0, 2.5, 0.25], "float32"), labels([0, 1, 2], "int64", True)),
    *(labels([0, 1, 2], "uint16"), labels([0, 1, 2], "int32"), labels([0, 1, 2], "uint32")),
]
WRONG = [
    *(labels([-(2**63) - 1, 0, 1]), labels([0, 1, 2**63]), labels([0, 1, 2**64], "uint64")),
    *(labels([0, 1, 256], "uint8"), labels([-129, 0, 1], "int8"), labels([1, 2, 2])),
    *(labels([1, 2]), labels([1, 2, 3, 4]), labels([]), labels([1, 2, True])),
    *(labels([1, 2, 3], "str"), labels(["a", "b", 1], "object"), labels([True, False, 1], "bool")),
    *(labels([0, 1, 2], "bool"), labels([0.5, 1, "2"], "float64"), labels([0.1, 1, 2], "float32")),
    *(labels(["0", "1", "2"]), labels([0.0, 1.0, 2.0]), labels([0, 1, 2], "float16")),
    *(labels([0, 1, 2], "V8"), labels([0, 1, 2], multilabel=1), labels([0, 1], multilabel=True)),
    *(labels([[0], [1], [2]]), labels([None, 1, 2], "object"), {"values": [0, 1, 2]}),
    *(labels(["a", "b", "a"], "str"), labels([0.5, 1.5, float("nan")], "float64")),
]


@pytest.mark.parametrize("one", SOUND, ids=str)
def test_labels_that_their_type_holds_are_read(one: Description) -> None:
    files._layout(CLASSIFIER | {"labels": one})


@pytest.mark.parametrize("one", WRONG, ids=str)
def test_labels_that_come_back_as_others_are_refused(one: Description) -> None:
    with pytest.raises(DataError, match="labels"):
        files._layout(CLASSIFIER | {"labels": one})


def test_one_output_tells_two_labels_apart_and_several_have_one_each() -> None:
    for values in ([0, 1], [1]):
        files._layout(BINARY | {"labels": labels(values)})
    files._layout(BINARY | {"labels": labels([True, False], "bool")})
    three = BINARY | {"sizes": [4, 6, 3]}
    files._layout(three | {"labels": labels([0, 1, 2], multilabel=True)})
    for wrong in (
        BINARY | {"labels": labels([0, 1, 2])},
        BINARY | {"output": "softmax"},
        three | {"labels": labels([0, 1])},
        three | {"labels": labels([0, 1, 2])},
        three | {"labels": labels([0, 1], multilabel=True)},
    ):
        with pytest.raises(DataError, match=r"labels: found .* expected those of its outputs"):
            files._layout(wrong)


X = np.random.default_rng(0).normal(size=(40, 4))
SHORT: dict[str, Any] = {"hidden_layer_sizes": (3,), "max_iter": 1, "random_state": 0}


@pytest.mark.parametrize(
    "target",
    [
        np.arange(40) % 3,
        (np.arange(40) % 3).astype(np.uint16),
        np.array(["b", "a", "c"])[np.arange(40) % 3],
        np.array(["b", "a", "c"], object)[np.arange(40) % 3],
        np.arange(40) % 2 == 0,
        np.eye(3, dtype=int)[np.arange(40) % 3],
    ],
    ids=lambda target: f"{target.dtype}{target.shape}",
)
def test_a_loaded_classifier_is_as_one_that_has_not_trained(tmp_path: Path, target: Any) -> None:
    model = MLPClassifier(**SHORT, activation="tanh").fit(X, target)
    model.save(tmp_path / "a")
    again = MLPClassifier.load(tmp_path / "a")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(again.classes_, model.classes_)
    same = ("n_features_in_", "n_layers_", "n_outputs_", "out_activation_", "activation")
    for name in (*same, "hidden_layer_sizes"):
        assert getattr(again, name) == getattr(model, name), name
    for name in ("n_iter_", "t_", "_no_improvement_count"):
        assert getattr(again, name) == 0, name
    assert (again.loss_curve_, again.best_loss_) == ([], np.inf)
    for name in ("validation_scores_", "best_validation_score_", "validation_loss_curve_"):
        assert getattr(again, name) is None, name
    for name in ("coefs_", "intercepts_"):
        best = getattr(again, {"coefs_": "_best_coefs", "intercepts_": "_best_intercepts"}[name])
        assert best is not getattr(again, name)
        for one, other, kept in zip(getattr(again, name), getattr(model, name), best, strict=True):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(one, kept)
            assert one.flags.c_contiguous
    assert not hasattr(again, "feature_names_in_")
    kind = {"multilabel-indicator"} if target.ndim == 2 else {"multiclass", "binary"}
    assert again._label_binarizer.y_type_ in kind


def test_a_regressor_of_counts_and_one_of_images_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    description = REGRESSOR | {"output": "exp", "dtype": "float64"}
    tensors = {name: rng.normal(size=one) for name, (_, one) in files._layout(description).items()}
    write_tensors(tmp_path / "a", "estimator", description, tensors)
    again = MLPRegressor.load(tmp_path / "a")
    assert (again.loss, again.out_activation_) == ("poisson", "exp")
    first, bias, last, offset = tensors.values()
    values = np.exp(np.tanh(X @ first.T + bias) @ last.T + offset)
    np.testing.assert_allclose(again.predict(X), values, rtol=1e-12)
    description = IMAGES | {"estimator": "MLPRegressor", "labels": None, "output": "identity"}
    tensors = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, (_, shape) in files._layout(description).items()
    }
    write_tensors(tmp_path / "b", "estimator", description, tensors)
    other = MLPRegressor.load(tmp_path / "b")
    assert (other.image_shape, other.hidden_layer_sizes) == ((1, 2, 2), ("conv 2 2", "tanh", 6))
    assert (other.n_features_in_, other.n_layers_, other.n_outputs_) == (4, 4, 3)
    kernel, shift, *dense = tensors.values()
    values = np.tanh(X @ kernel.reshape(2, 4).T + shift)
    values = np.maximum(values @ dense[0].T + dense[1], 0) @ dense[2].T + dense[3]
    np.testing.assert_allclose(other.predict(X), values, rtol=1e-4, atol=1e-5)
    other.save(tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(FormatError, match="a: found an MLPRegressor, expected an MLPClassifier"):
        MLPClassifier.load(tmp_path / "a")


def test_a_subclass_loads_what_its_parent_saved(tmp_path: Path) -> None:
    class Mine(MLPClassifier):  # type: ignore[misc, unused-ignore]
        pass

    MLPClassifier(**SHORT).fit(X, np.arange(40) % 3).save(tmp_path / "a")
    assert type(Mine.load(tmp_path / "a")) is Mine


def test_a_description_says_what_an_estimator_is(tmp_path: Path) -> None:
    model = MLPClassifier(**SHORT).fit(X, np.array(["b", "a"], object)[np.arange(40) % 2])
    model.classes_ = model.classes_.astype(object)
    model.save(tmp_path / "a")
    assert MLPClassifier.load(tmp_path / "a").classes_.dtype == object
    description, tensors = files.read(tmp_path / "a")
    assert description == {
        **{"activation": "relu", "dtype": "float64", "estimator": "MLPClassifier"},
        **{"feature_names": None, "labels": labels(["a", "b"], "object"), "output": "logistic"},
        "sizes": [4, 3, 1],
    }
    assert {name: array.shape for name, array in tensors.items()} == {
        **{"0.weight": (3, 4), "0.bias": (3,), "2.weight": (1, 3), "2.bias": (1,)}
    }
    write_tensors(tmp_path / "a", "estimator", description | {"sizes": [4, 3, 2]}, tensors)
    with pytest.raises(FormatError, match="a: labels: found"):
        files.read(tmp_path / "a")
