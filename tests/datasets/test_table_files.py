"""Tables to features: beside scikit-learn's own pipeline, in every format, order and type."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastmlp
from fastmlp import DataError, Dataset
from fastmlp.datasets import own
from fastmlp.datasets.options import OwnOptions
from fastmlp.datasets.preparation import Category, Number, Preparation

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
N = 200


def people(seed: int = 0) -> Any:
    """Return a table with numbers, categories and truth values, some of them missing."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, N).round(1),
            "town": rng.choice(["Rome", "Oslo", "Lima"], N),
            "children": rng.integers(0, 5, N),
            "member": rng.random(N) < 0.5,
            "plan": rng.choice(["a", "b"], N),
            "paid": rng.choice(["no", "yes"], N),
        }
    )
    frame.loc[rng.random(N) < 0.2, "age"] = np.nan
    frame.loc[rng.random(N) < 0.1, "town"] = None
    return frame


PEOPLE = people()
NUMBERS, TEXTS = ["age", "children", "member"], ["town", "plan"]


def features(data: Dataset) -> dict[str, np.ndarray]:
    assert data.preparation is not None
    return dict(zip(data.preparation.features, data.images.T, strict=True))


def test_features_are_those_of_a_pipeline_of_scikit_learn() -> None:
    data = Dataset.from_table(PEOPLE, label="paid")
    numbers = make_pipeline(SimpleImputer(add_indicator=True, strategy="median"))
    expected = ColumnTransformer(
        [
            ("n", numbers, NUMBERS),
            ("t", OneHotEncoder(sparse_output=False), TEXTS),
        ],
        verbose_feature_names_out=False,
    ).fit_transform(PEOPLE)
    found = features(data)
    names = [*NUMBERS, "age is missing"]
    # Its encoder makes a category of None, which stands last.
    names += [
        "town = Lima",
        "town = Oslo",
        "town = Rome",
        "town is missing",
        "plan = a",
        "plan = b",
    ]
    assert set(names) == set(found)
    np.testing.assert_array_equal(np.stack([found[name] for name in names], axis=1), expected)
    assert (data.classes, data.task, data.shape) == (("no", "yes"), "classification", (1, 1, 10))
    np.testing.assert_array_equal(data.labels, PEOPLE["paid"] == "yes")


def test_numbers_are_standardised_and_categories_stay() -> None:
    data = Dataset.from_table(PEOPLE, label="paid")
    scaled = dict(zip(features(data), data.normalization().apply(data.images).T, strict=True))
    filled = SimpleImputer(strategy="median").fit_transform(PEOPLE[NUMBERS].astype(float))
    expected = StandardScaler().fit_transform(filled)
    for name, column in zip(NUMBERS, expected.T, strict=True):
        np.testing.assert_allclose(scaled[name], column, rtol=1e-10, atol=1e-12)
    for name in set(scaled) - set(NUMBERS):
        np.testing.assert_array_equal(scaled[name], features(data)[name])


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet", ".feather", ".arrow"])
def test_every_format_gives_the_same_numbers(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"People{suffix.upper() if suffix == '.csv' else suffix}"
    match suffix:
        case ".parquet":
            PEOPLE.to_parquet(path)
        case ".feather":
            PEOPLE.to_feather(path)
        case ".arrow":  # a stream, as other programs write it
            import pyarrow

            table = pyarrow.Table.from_pandas(PEOPLE)
            with pyarrow.ipc.new_stream(path, table.schema) as stream:
                stream.write_table(table)
        case _:
            PEOPLE.to_csv(path, sep="\t" if suffix == ".tsv" else ",")  # with an index, too
    found, expected = Dataset.from_table(path, "paid"), Dataset.from_table(PEOPLE, "paid")
    assert found.name == path.name
    assert found.checksum == expected.checksum


TYPES = {
    "arrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "nullable": lambda frame: frame.convert_dtypes(),
    "objects": lambda frame: frame.astype(object),
    "float32": lambda frame: frame.assign(children=frame["children"].astype(np.float32)),
    "categories": lambda frame: frame.astype(dict.fromkeys(TEXTS, "category")),
    "order": lambda frame: frame[frame.columns[::-1]],
    "more": lambda frame: frame.assign(more=range(N)),
    "index": lambda frame: frame.set_index(np.arange(N)[::-1]),
}


@pytest.mark.parametrize("name", TYPES)
def test_a_table_of_other_types_or_order_gives_the_same_features(name: str) -> None:
    data = Dataset.from_table(PEOPLE, "paid")
    assert data.preparation is not None
    found, notes = data.preparation.apply(TYPES[name](PEOPLE).drop(columns="paid"))
    np.testing.assert_array_equal(found, data.images)
    assert notes == ()


def test_what_was_learned_survives_json() -> None:
    data = Dataset.from_table(PEOPLE, "paid", missing="median")
    assert data.preparation is not None
    again = Preparation.from_dict(json.loads(json.dumps(data.preparation.as_dict())))
    assert again == data.preparation
    np.testing.assert_array_equal(again.apply(people(1))[0], data.preparation.apply(people(1))[0])


@pytest.mark.parametrize(
    "change",
    [
        {"columns": []},
        {"columns": [{"name": "a", "indicator": False}]},
        {"columns": [{"name": "a", "indicator": False, "median": float("nan")}]},
        {"columns": [{"name": "a", "indicator": False, "categories": ["b", "b"]}]},
        {"columns": [{"name": "a", "indicator": False, "median": 1.0}] * 2},
        {"missing": "maybe"},
        {"more": 1},
    ],
)
def test_what_describes_no_preparation_is_refused(change: dict[str, Any]) -> None:
    sound = Preparation((Number("a", 1.0, False), Category("b", ("x", "y"), True))).as_dict()
    assert Preparation.from_dict(sound).as_dict() == sound
    with pytest.raises(DataError, match="preparation"):
        Preparation.from_dict(sound | change)


def test_the_training_part_alone_teaches(tmp_path: Path) -> None:
    frame = PEOPLE.assign(part=np.resize(["train", "test", "Valid", "train"], N))
    is_train = frame["part"] == "train"
    frame.loc[~is_train, "age"] = 1000.0
    frame.loc[~is_train, "town"] = "Cairo"
    path = tmp_path / "people.csv"
    frame.to_csv(path, index=False)
    train, valid, test = own.load(path, OwnOptions(label="paid", part="part"))
    assert (len(train), len(valid), len(test)) == (100, 50, 50)
    median = frame.loc[is_train, "age"].median()
    assert train.preparation is not None
    assert train.preparation.columns[0] == Number("age", median, True)
    assert train.preparation.columns[1] == Category("town", ("Lima", "Oslo", "Rome"), True)
    assert features(test)["age"].tolist() == [1000.0] * 50
    assert not any(column.any() for name, column in features(test).items() if "town" in name)
    np.testing.assert_array_equal(test.labels, frame["paid"][frame["part"] == "test"] == "yes")


def test_unknown_categories_and_unexpected_gaps_are_counted() -> None:
    data = Dataset.from_table(PEOPLE, "paid")
    assert data.preparation is not None
    other = people(1)
    other.loc[:2, "town"] = ["Bonn", None, "Bonn"]
    other["plan"] = "c"
    other["children"] = other["children"].astype(float)
    other.loc[4, "children"] = np.nan
    found, notes = data.preparation.apply(other)
    assert [note[:40] for note in notes] == [
        "column 'town': 2 values, such as 'Bonn',",
        "column 'children': 1 values are missing,",
        f"column 'plan': {N} values, such as 'c', ",
    ]
    names = dict(zip(data.preparation.features, found.T, strict=True))
    assert [names[f"town = {town}"][:3].sum() for town in ("Rome", "Oslo", "Lima")] == [0, 0, 0]
    assert names["town is missing"][:3].tolist() == [0, 1, 0]
    assert names["children"][4] == PEOPLE["children"].median()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.drop(columns="age"), "X: found no column 'age'"),
        (lambda frame: frame.rename(columns={"town": "Town"}), "'town'.*did you mean Town"),
        (lambda frame: frame.assign(age="old"), "column 'age': found 'old' at row 0"),
        (lambda frame: frame.assign(age=-np.inf), "column 'age': found -inf at row 0"),
        (lambda frame: frame.assign(age=pd.Timestamp("2020")), "column 'age': found dates"),
        (lambda frame: frame.assign(town=[[1]] * N), "column 'town': found list at row 0"),
        (lambda frame: pd.concat([frame, frame], axis=1), "X: found the column 'age' twice"),
        (lambda frame: frame.to_numpy(), "X: found ndarray, expected a table"),
    ],
)
def test_a_table_that_does_not_fit_is_named(change: Any, words: str) -> None:
    data = Dataset.from_table(PEOPLE, "paid")
    assert data.preparation is not None
    with pytest.raises(DataError, match=words):
        data.preparation.apply(change(PEOPLE), "X")


def test_missing_values_are_refused_if_the_training_did() -> None:
    whole = PEOPLE.dropna()
    data = Dataset.from_table(whole, "paid", missing="error")
    assert data.preparation is not None
    with pytest.raises(DataError, match=r"'age': found \d+ missing values, the first at row"):
        data.preparation.apply(PEOPLE)
    with pytest.raises(DataError, match=r"'age': found \d+ missing values, the first at row"):
        Dataset.from_table(PEOPLE, "paid", missing="error")


def test_another_table_like_the_first() -> None:
    train = Dataset.from_table(PEOPLE, "paid")
    other = people(1).query("paid == 'yes'")
    test = Dataset.from_table(other, like=train)
    assert (test.classes, test.preparation) == (train.classes, train.preparation)
    assert set(test.labels.tolist()) == {1}
    with pytest.raises(DataError, match="column 'paid': found 'maybe' at row 0"):
        Dataset.from_table(other.assign(paid="maybe"), like=train)
    rows = Dataset.from_arrays(np.eye(3), [0, 1, 0])
    with pytest.raises(DataError, match="trained on none"):
        Dataset.from_table(other, like=rows)


LABELS: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "texts": (np.resize(["b", "a"], N), "classification", ("a", "b")),
    "truth": (np.resize([True, False], N), "classification", ("False", "True")),
    "truth as objects": (
        np.resize([True, False], N).astype(object),
        "classification",
        ("False", "True"),
    ),
    "integers": (np.resize([10, 9, -1], N), "classification", ("-1", "9", "10")),
    "large integers": (
        np.resize([2**60, 2**60 + 1], N),
        "classification",
        (str(2**60), str(2**60 + 1)),
    ),
    "many integers": (np.arange(N), "regression", ("y",)),
    "fractions": (np.resize([0.5, 1], N), "regression", ("y",)),
    "categories": (pd.Categorical(np.resize(["b", "a"], N)), "classification", ("a", "b")),
}


@pytest.mark.parametrize("name", LABELS)
def test_the_type_of_a_label_chooses_the_task(name: str) -> None:
    values, task, classes = LABELS[name]
    data = Dataset.from_table(PEOPLE.assign(y=values), "y")
    assert (data.task, data.classes) == (task, classes)
    if task == "regression":
        np.testing.assert_array_equal(data.labels[:, 0], values)
    else:
        assert [classes[label] for label in data.labels] == [str(one) for one in values]


def test_several_labels() -> None:
    frame = PEOPLE.assign(a=np.resize([0, 1], N), b=np.resize([True, False, True], N))
    data = Dataset.from_table(frame, "a,b")
    assert (data.task, data.classes, data.labels.dtype) == ("multilabel", ("a", "b"), np.uint8)
    np.testing.assert_array_equal(data.labels, frame[["a", "b"]])
    data = Dataset.from_table(frame.fillna({"age": 1.5}), ["age", "children"])
    assert (data.task, data.labels.shape) == ("regression", (N, 2))
    comma = frame.rename(columns={"a": "a,b"}).drop(columns="b")
    assert Dataset.from_table(comma, "a,b").task == "classification"


def test_weights_groups_and_tasks_that_are_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = PEOPLE.assign(w=rng.random(N), g=np.resize(["p", "q", "r", "s"], N))
    path = tmp_path / "people.parquet"
    frame.to_parquet(path)
    options = OwnOptions(label="children", task="regression", weight="w", group="g")
    parts = own.load(path, options)
    assert [part.task for part in parts] == ["regression"] * 3
    assert sorted(map(len, parts)) == [50, 50, 100]
    weights = np.concatenate([part.weights for part in parts])  # type: ignore[list-item]
    np.testing.assert_array_equal(np.sort(weights), np.sort(frame["w"]))
    assert not {"w", "g", "children"} & set(features(parts.train))


def test_parts_in_a_file_are_those_of_a_column(tmp_path: Path) -> None:
    parts = pd.Series(np.resize(["train", "test", "valid", "train"], N), name="part")
    PEOPLE.to_csv(tmp_path / "people.csv")
    PEOPLE.assign(part=parts).to_csv(tmp_path / "both.csv")
    parts.to_frame().to_csv(tmp_path / "parts.csv", index=False)
    options = OwnOptions(label="paid", part=str(tmp_path / "parts.csv"))
    found = own.load(tmp_path / "people.csv", options)
    expected = own.load(tmp_path / "both.csv", OwnOptions(label="paid", part="part"))
    for one, other in zip(found, expected, strict=True):
        assert one.checksum == other.checksum


def test_shares_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    PEOPLE.to_csv(path)
    parts = own.load(path, OwnOptions(label="paid", split=(0.5, 0.25, 0.1)))
    assert [len(part) for part in parts] == [100, 50, 20]


def test_spellings_of_numbers_among_categories_agree(tmp_path: Path) -> None:
    frame = PEOPLE.assign(code=np.resize(["1", "2", "x"], N))
    data = Dataset.from_table(frame, "paid")
    assert data.preparation is not None
    expected = features(data)["code = 1"][:2]
    path = tmp_path / "two.csv"
    frame.head(2).to_csv(path, index=False)  # whose codes look like numbers
    for table in (path, frame.head(2).assign(code=[1, 2]), frame.head(2).assign(code=[1.0, 2.0])):
        found = features(Dataset.from_table(table, like=data))["code = 1"]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("most", [2**63, 2**64, 10**25])
@pytest.mark.parametrize("gap", ["", "3"], ids=["a gap", "no gap"])
def test_whole_numbers_of_more_than_64_bits_are_numbers(
    tmp_path: Path, most: int, gap: str
) -> None:
    texts = [gap, *(str(most * one // 40) for one in range(41)), str(-most)]
    lines = [f"{text},{row % 2}" for row, text in enumerate(texts)]
    (tmp_path / "t.csv").write_text("\n".join(["x,y", *lines]), encoding="utf-8")
    found = features(Dataset.from_table(tmp_path / "t.csv", label="y"))
    np.testing.assert_array_equal(found["x"][1:], [float(text) for text in texts[1:]])
    assert ("x is missing" in found) == (gap == "")


def test_what_looks_like_dates_and_is_none() -> None:
    texts = {"version": ["1.2.3", "1.2.4", "2.0.0"], "code": ["1-2", "2-3", "9-1"]}
    frame = PEOPLE.assign(**{name: np.resize(values, N) for name, values in texts.items()})
    assert {"version = 1.2.3", "code = 9-1"} <= set(features(Dataset.from_table(frame, "paid")))


def test_a_table_without_rows_has_features_without_rows() -> None:
    data = Dataset.from_table(PEOPLE, "paid")
    assert data.preparation is not None
    found, notes = data.preparation.apply(PEOPLE.head(0))
    assert (found.shape, notes) == ((0, data.images.shape[1]), ())


def test_a_wide_table_takes_no_longer_than_a_long_one() -> None:
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2000))).assign(y=[0, 1] * 30)
    start = time.process_time()
    data = Dataset.from_table(wide, "y")
    assert data.images.shape == (60, 2000)
    assert time.process_time() - start < 5


def test_names_and_tickets_are_left_out() -> None:
    frame = PEOPLE.assign(name=[f"Person {number}" for number in range(N)], cabin=None)
    frame.loc[: N // 2, "cabin"] = [f"C{number}" for number in range(N // 2 + 1)]
    data = Dataset.from_table(frame, "paid")
    assert "cabin is missing" in features(data)
    assert not [name for name in features(data) if "name" in name or "cabin =" in name]
    assert data.preparation is not None
    lines = data.preparation.lines()
    assert "left out, because nearly all values differ: name, cabin" in lines
    assert data.preparation.spans["name"] == slice(10, 10)


def test_categories_that_are_numbers_may_be_missing() -> None:
    frame = PEOPLE.assign(code=np.resize([1, 2, 3], N), flag=np.resize([True, False], N))
    data = Dataset.from_table(frame, "paid")
    assert data.preparation is not None
    for name in ("code", "flag"):
        as_numbers = frame.assign(**{name: frame[name].astype(float)})
        as_categories = frame.assign(**{name: frame[name].astype("category")})
        for one in (as_numbers, as_categories):
            one.loc[[3, 5], name] = None
        found, notes = data.preparation.apply(as_categories)
        np.testing.assert_array_equal(found, data.preparation.apply(as_numbers)[0])
        assert [note[:30] for note in notes] == [f"column {name!r}: 2 values are missing"[:30]]


def test_lists_of_arrow_are_refused() -> None:
    import pyarrow

    lists = pd.array([[1, 2]] * N, dtype=pd.ArrowDtype(pyarrow.list_(pyarrow.int64())))
    with pytest.raises(DataError, match=r"column 'cells': found .* at row 0"):
        Dataset.from_table(PEOPLE.assign(cells=lists), "paid")


def test_several_labels_like_one_are_refused() -> None:
    data = Dataset.from_table(PEOPLE, "paid")
    with pytest.raises(DataError, match="label: found 2 columns, expected one for a class"):
        Dataset.from_table(PEOPLE, ["paid", "plan"], like=data)


def test_columns_may_have_numbers_as_names() -> None:
    frame = PEOPLE.set_axis(range(len(PEOPLE.columns)), axis=1)
    label = len(PEOPLE.columns) - 1
    data = Dataset.from_table(frame, label)  # type: ignore[arg-type]
    assert data.classes == ("no", "yes")
    assert Dataset.from_table(frame, [label], like=data).checksum == data.checksum  # type: ignore[list-item]


def test_features_of_another_table_are_refused_everywhere() -> None:
    data = Dataset.from_table(PEOPLE, "paid")
    other = PEOPLE.assign(town=PEOPLE["town"].replace("Rome", "Bonn"))
    unlike, like = Dataset.from_table(other, "paid"), Dataset.from_table(other, "paid", like=data)
    assert unlike.shape == data.shape
    config = fastmlp.TrainConfig(hidden=(4,), epochs=1, threads=1)
    network = fastmlp.train(config, data, like).network
    fastmlp.evaluate(network, like)
    for call in (
        lambda: fastmlp.train(config, data, unlike),
        lambda: fastmlp.evaluate(network, unlike),
        lambda: network.predict(unlike),
    ):
        words = "found the feature 'town = Bonn', expected 'town = Lima' as in the training; Data"
        with pytest.raises(DataError, match=words):
            call()


def test_columns_of_a_table_are_not_mirrored() -> None:
    config = fastmlp.TrainConfig(hidden=(4,), epochs=1, threads=1, flip=True)
    with pytest.raises(fastmlp.ConfigError, match="flip: found True with a table, whose columns"):
        fastmlp.train(config, Dataset.from_table(PEOPLE, "paid"))
