import dataclasses
import hashlib
import json
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.contract import Contract
from storage.errors import ContractError, SourceError
from storage.files import Files
from storage.ingest import ahead, identity, parts, tally
from storage.ingest.formats import parquet as parquet_format
from storage.ingest.source import Source, fingerprint
from storage.schemas import SPLITS, Feature, Roles
from storage.splits import SplitFractions
from tests.storage.sources import XY, csv_file, ingest, parquet_file

TOYS = pl.DataFrame(
    {
        "id": [10, 11, 12, 13],
        "x": [1.0, 2.0, 3.0, 4.0],
        "y": ["cat", "dog", "cat", "dog"],
        "true_y": ["cat", "cat", None, "dog"],
        "part": ["train", "Dev", "TEST", "val"],
        "where": ["web", "book", "web", "book"],
    }
)
ROLES = Roles(features=("x",), label="y", key="id", clean_label="true_y", split="part", group="where")


def test_every_role_lands_in_its_own_column(tmp_path):
    found = ingest(tmp_path, parquet_file(tmp_path, TOYS), ROLES)
    assert found.examples.rows() == [
        ("toys:10", "cat", "cat", "train", "web", 1.0),
        ("toys:11", "dog", "cat", "validation", "book", 2.0),
        ("toys:12", "cat", None, "test", "web", 3.0),
        ("toys:13", "dog", "dog", "validation", "book", 4.0),
    ]
    assert found.examples.columns == ["example_id", "label", "clean_label", "split", "group", "x"]
    assert found.counts["by_split"] == {"train": 1, "validation": 2, "test": 1}
    assert found.schema.classes == ("cat", "dog")
    assert found.schema.groups == ("book", "web")
    assert found.schema.has_clean_label


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceError, match=re.escape(f"there is no file {tmp_path}/none.csv")):
        ingest(tmp_path, tmp_path / "none.csv")
    with pytest.raises(SourceError, match=re.escape(f"there is no file {tmp_path}/none.parquet")):
        fingerprint(Source(location=f"{tmp_path}/none.parquet"))


def test_an_unknown_format_lists_the_known_ones(tmp_path):
    path = csv_file(tmp_path, "x,y\n1,2\n", "toys.xlsx")
    with pytest.raises(
        SourceError, match="format 'xlsx'; known formats are arrow, csv, huggingface, images, jsonl, npz"
    ):
        ingest(tmp_path, path)
    with pytest.raises(SourceError, match="format 'feather'; known formats are"):
        fingerprint(Source(location="toys.csv", format="feather"))
    with pytest.raises(SourceError, match="no format can be seen from the name; known formats are"):
        Source(location="toys").kind()


def test_a_file_that_is_not_parquet_is_refused(tmp_path):
    with pytest.raises(SourceError, match="is not a Parquet file, or it is damaged"):
        ingest(tmp_path, csv_file(tmp_path, "x,y\n1,2\n", "toys.parquet"))


def test_a_truncated_or_damaged_parquet_file_is_refused(tmp_path):
    path = parquet_file(tmp_path, pl.DataFrame({"x": np.arange(20000.0), "y": np.arange(20000) % 5}))
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="is not a Parquet file, or it is damaged"):
        ingest(tmp_path, path)
    data[60:20000] = b"\xff" * (20000 - 60)
    path.write_bytes(data)
    with pytest.raises(SourceError, match="is damaged after row"):
        ingest(tmp_path, path)


def test_an_empty_source_is_refused(tmp_path):
    with pytest.raises(SourceError, match="has columns but no rows"):
        ingest(tmp_path, parquet_file(tmp_path, TOYS.clear()), ROLES)


@pytest.mark.parametrize("role", ["label", "key", "split", "group", "clean_label"])
def test_a_role_column_that_is_absent_is_named_with_those_there_are(tmp_path, role):
    path = parquet_file(tmp_path, TOYS)
    with pytest.raises(SourceError) as caught:
        ingest(tmp_path, path, dataclasses.replace(ROLES, **{role: "target"}))
    assert str(caught.value) == f"{role} column 'target' is not in {path}; it has id, x, y, true_y, part, where"


@pytest.mark.parametrize(
    ("roles", "sentence"),
    [
        (Roles(features=("pixel_*",), label="y"), "feature column 'pixel_*' is not in"),
        (Roles(features=(), label="y"), "no feature columns of"),
        (Roles(features=("x", "y"), label="y"), "column 'y' of"),
        (Roles(features=("x",), label="y", key="y"), "column 'y' of"),
        (Roles(features=("x",), label="y", text=("where",)), "text column 'where' of"),
        (Roles(features=("x",), label="y", image_shape=(2, 2)), "image_shape is (2, 2), but no feature column"),
        (Roles(features=("x",), clean_label="y"), "{path} has a clean_label column declared but no label column"),
        (Roles(features=("day",), label="y"), "feature column 'day' of {path} is of type Date, which no model reads"),
        (Roles(features=("pixels",), label="y"), "feature column 'pixels' of {path} holds lists"),
        (Roles(features=("pixels",), label="y", image_shape=(3, 3)), "image column 'pixels' of {path} has 4 values"),
        (Roles(features=("lists",), label="y", image_shape=(1, 1)), "image column 'lists' of {path} holds Float64"),
        (Roles(features=("group",), label="y"), "feature column 'group' of {path} has a name that tamis uses itself"),
        (Roles(features=("x",), label="day"), "label column 'day' of {path} is Date; labels are whole numbers or text"),
        (Roles(features=("y",), key="x"), "key column 'x' of {path} is Float64; keys are whole numbers or text"),
    ],
)
def test_roles_that_do_not_fit_the_columns_are_refused(tmp_path, roles, sentence):
    frame = TOYS.with_columns(
        day=pl.date(2020, 1, 1),
        pixels=pl.Series([[1, 2, 3, 4]] * 4, dtype=pl.Array(pl.UInt8, 4)),
        lists=pl.Series([[0.5]] * 4),
        group=pl.lit("a"),
    )
    path = parquet_file(tmp_path, frame)
    with pytest.raises(SourceError) as caught:
        ingest(tmp_path, path, roles)
    assert str(caught.value).startswith(sentence.format(path=path))


def test_a_pattern_takes_the_columns_without_a_role_in_the_source_order(tmp_path):
    frame = pl.DataFrame({"b_2": [1], "y": ["a"], "b_1": [2], "c": [3]})
    path = parquet_file(tmp_path, frame)
    assert [one.name for one in ingest(tmp_path, path, Roles(features=("b_*",), label="y")).schema.features] == [
        "b_2",
        "b_1",
    ]
    everything = ingest(tmp_path, path, Roles(features=("*",), label="y"))
    assert [one.name for one in everything.schema.features] == ["b_2", "b_1", "c"]
    assert everything.schema.metadata == ()


def test_metadata_with_a_reserved_name_gets_a_suffix(tmp_path):
    frame = pl.DataFrame({"x": [1.0], "y": ["a"], "split": ["mine"], "label": [5]})
    found = ingest(tmp_path, parquet_file(tmp_path, frame))
    assert found.schema.metadata == ("split_original", "label_original")
    assert found.examples.select("label", "label_original", "split_original").row(0) == ("a", 5, "mine")


def test_a_pool_without_labels_has_no_label_column_and_no_classes(tmp_path):
    frame = pl.DataFrame({"body": ["one", "two"], "rating": [1, 2]})
    found = ingest(tmp_path, parquet_file(tmp_path, frame), Roles(features=("body",), text=("body",)))
    assert "label" not in found.examples.columns
    assert found.schema.classes == ()
    assert found.schema.features == (Feature(name="body", kind="text"),)


def test_labels_that_are_all_null_are_refused_whatever_the_action(tmp_path):
    path = parquet_file(tmp_path, TOYS.with_columns(y=pl.lit(None)))
    for action in ("quarantine", "fail"):
        with pytest.raises(SourceError, match=r"label column 'y' of .* is null in all 4 rows"):
            ingest(tmp_path, path, ROLES, Contract(action=action))


def test_too_many_classes_or_categories_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tally, "MOST_CLASSES", 3)
    monkeypatch.setattr(tally, "MOST_CATEGORIES", 3)
    frame = pl.DataFrame({"x": [1.0] * 4, "y": [1, 2, 3, 4], "c": ["a", "b", "c", "d"], "z": ["a"] * 4})
    path = parquet_file(tmp_path, frame)
    with pytest.raises(SourceError, match="more than 3 distinct labels, which looks like regression"):
        ingest(tmp_path, path)
    with pytest.raises(SourceError, match=r"category column 'c' of .* has more than 3 distinct values"):
        ingest(tmp_path, path, Roles(features=("c",), label="z"), splits=SplitFractions(train=1, validation=0, test=0))


def test_fractional_labels_look_like_regression(tmp_path):
    path = parquet_file(tmp_path, pl.DataFrame({"x": [1.0, 2.0], "y": [0.5, 1.0]}))
    with pytest.raises(SourceError, match="looks like regression; tamis handles single-label classification"):
        ingest(tmp_path, path)


def test_every_rule_sends_its_row_to_quarantine_with_its_place(tmp_path):
    frame = pl.DataFrame(
        {
            "id": ["a", None, "", "b", "c", "d", "e", "f", "g", "a"],
            "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, float("nan"), None, 9.0, 10.0],
            "y": ["cat", "cat", "cat", None, "cow", "cat", "cat", "cat", "cat", "cat"],
            "part": ["train"] * 5 + ["holdout"] + ["train"] * 4,
            "where": ["web"] * 8 + [None, "web"],
        }
    )
    roles = Roles(features=("x",), label="y", key="id", split="part", group="where")
    found = ingest(tmp_path, parquet_file(tmp_path, frame), roles, Contract(labels=("cat", "dog")))
    assert found.bad() == [
        (2, "null key"),
        (3, "null key"),
        (4, "null label"),
        (5, "unknown label"),
        (6, "unknown split"),
        (7, "non-finite number"),
        (8, "missing value"),
        (9, "null group"),
        (10, "duplicate key"),
    ]
    assert found.bad_rows()[3]["y"] == "cow"
    assert found.bad_rows()[5]["x"] == "nan"
    assert found.bad_rows()[8] == {"id": "a", "x": 10.0, "y": "cat", "part": "train", "where": "web"}
    assert found.examples["x"].to_list() == [1.0]


def test_a_contract_that_fails_counts_every_rule_and_names_the_first_rows(tmp_path):
    frame = pl.DataFrame({"id": [1, 1, 2, 3], "x": [1.0, 2.0, 3.0, float("inf")], "y": ["a", "b", None, None]})
    path = parquet_file(tmp_path, frame)
    with pytest.raises(ContractError) as caught:
        ingest(tmp_path, path, Roles(features=("x",), label="y", key="id"), Contract(action="fail"))
    assert str(caught.value) == (
        f"3 of 4 rows of {path} break the contract: 2 null label (first: row 3), 1 duplicate key (row 2); "
        "correct them, or set the contract's action to 'quarantine'"
    )


def test_of_rows_with_one_key_the_first_good_one_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_format, "BLOCK_ROWS", 2)
    frame = pl.DataFrame(
        {"id": [1, 2, 1, 3, 2, 1], "x": [float("nan"), 1.0, 2.0, 3.0, 4.0, 5.0], "y": ["a", "b", "c", "d", "e", "f"]}
    )
    found = ingest(tmp_path, parquet_file(tmp_path, frame), Roles(features=("x",), label="y", key="id"))
    assert found.examples["example_id"].to_list() == ["toys:2", "toys:1", "toys:3"]
    assert found.bad() == [(1, "non-finite number"), (5, "duplicate key"), (6, "duplicate key")]
    assert found.schema.classes == ("b", "c", "d")


def test_equal_hashes_of_different_keys_never_merge_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "_id_hashes", lambda ids: np.zeros(len(ids), dtype=np.uint64))
    frame = pl.DataFrame({"id": [1, 2, 3, 2], "x": [1.0, 2.0, 3.0, 4.0], "y": ["a", "b", "a", "b"]})
    found = ingest(tmp_path, parquet_file(tmp_path, frame), Roles(features=("x",), label="y", key="id"))
    assert found.examples["example_id"].to_list() == ["toys:1", "toys:2", "toys:3"]
    assert found.bad() == [(4, "duplicate key")]


def test_equal_digests_of_different_content_never_merge_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "_DIGEST_BYTES", 1)
    frame = pl.DataFrame({"x": np.arange(1000.0), "y": ["a"] * 1000})
    found = ingest(tmp_path, parquet_file(tmp_path, frame))
    assert sorted(found.examples["x"]) == frame["x"].to_list()


def test_exact_twins_get_occurrence_numbers_and_share_a_split(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_format, "BLOCK_ROWS", 2)
    frame = pl.DataFrame({"x": [1.0, 2.0, 1.0, 1.0, 1.0], "y": ["a", "a", "a", "b", "a"]})
    found = ingest(tmp_path, parquet_file(tmp_path, frame))
    ids = found.examples["example_id"].to_list()
    assert ids[2] == ids[0] + "#2"
    assert ids[4] == ids[0] + "#3"
    assert len(set(ids)) == 5
    assert found.examples.filter(x=1.0)["split"].n_unique() == 1
    assert found.bad() == []


def test_a_content_id_is_a_hash_of_the_features_by_name_and_of_the_label(tmp_path):
    frame = pl.DataFrame({"b": [2], "a": ["é"], "y": [3]})
    found = ingest(tmp_path, parquet_file(tmp_path, frame), Roles(features=("b", "a"), label="y"))
    texts = b"".join(len(text).to_bytes(8, "little") + text for text in ("é".encode(), b"3"))
    expected = hashlib.blake2b(np.array([2.0], dtype="<f8").tobytes() + texts, digest_size=10).hexdigest()
    assert found.examples["example_id"].to_list() == [f"toys:{expected}"]


def test_an_id_and_a_split_survive_other_rows_other_columns_and_another_format(tmp_path):
    one = pl.DataFrame({"a": [1, 2], "c": ["u", "v"], "y": [0, 1]})
    more = pl.DataFrame({"y": [5.0, 1.0, 0.0], "c": ["w", "v", "u"], "extra": [1, 2, 3], "a": [9.5, 2.0, 1.0]})
    roles = Roles(features=("a", "c"), label="y")
    first = ingest(tmp_path, parquet_file(tmp_path, one), roles).examples.select("a", "example_id", "split")
    (tmp_path / "more.csv").write_text(more.write_csv())
    second = ingest(tmp_path, tmp_path / "more.csv", roles).examples.select("a", "example_id", "split")
    assert second.rows()[1:] == [(2.0, *first.row(1)[1:]), (1.0, *first.row(0)[1:])]


def test_categories_are_those_of_the_training_split_alone(tmp_path):
    frame = pl.DataFrame({"c": ["b", "a", "z", "b"], "y": ["k"] * 4, "part": ["train", "train", "test", "validation"]})
    found = ingest(tmp_path, parquet_file(tmp_path, frame), Roles(features=("c",), label="y", split="part"))
    assert found.schema.features[0].categories == ("a", "b")


def test_whole_numbers_truth_values_and_categoricals_take_their_plain_types(tmp_path):
    frame = pl.DataFrame(
        {
            "n": pl.Series([1, 2], dtype=pl.UInt8),
            "t": [True, False],
            "c": pl.Series(["u", "v"], dtype=pl.Categorical),
            "d": pl.Series(["1.5", "2.5"]).cast(pl.Decimal(5, 2)),
            "y": pl.Series([True, False]),
        }
    )
    found = ingest(tmp_path, parquet_file(tmp_path, frame), Roles(features=("*",), label="y"))
    kinds = [pl.Int64, pl.UInt8, pl.UInt8, pl.String, pl.Float64]
    assert list(found.examples.select("label", "n", "t", "c", "d").schema.values()) == kinds
    assert found.schema.classes == ("0", "1")


def test_images_of_wrong_length_or_with_values_that_are_no_bytes_are_quarantined(tmp_path):
    images = [[0, 255, 3, 4], [1, 2, 3], [1, 2, 3, 256], [1, 2, None, 4], None, [-1, 0, 0, 0], []]
    frame = pl.DataFrame({"image": pl.Series(images, dtype=pl.List(pl.Int64)), "y": list("abcdefg")})
    roles = Roles(features=("image",), label="y", image_shape=(2, 2))
    found = ingest(tmp_path, parquet_file(tmp_path, frame), roles)
    assert found.examples.schema["image"] == pl.Array(pl.UInt8, 4)
    assert found.examples["image"].to_list() == [[0, 255, 3, 4]]
    assert found.bad() == [
        (2, "wrong shape"),
        (3, "not a byte"),
        (4, "not a byte"),
        (5, "missing value"),
        (6, "not a byte"),
        (7, "wrong shape"),
    ]
    assert found.schema.features == (Feature(name="image", kind="image", shape=(2, 2)),)


def test_digits_keep_their_raw_values_as_bytes(tmp_path):
    from sklearn.datasets import load_digits

    roles = Roles(features=("image",), label="label", image_shape=(8, 8))
    found = ingest(tmp_path, "sklearn:digits", roles, name="digits")
    digits = load_digits()
    assert np.array_equal(found.examples["image"].to_numpy(), digits.data)
    assert np.array_equal(found.examples["label"].to_numpy(), digits.target)
    assert found.schema.classes == tuple("0123456789")
    assert found.counts["read"] == found.counts["kept"] == 1797
    assert all(
        abs(found.counts["by_split"][split] / 1797 - share) < 0.03
        for split, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True)
    )


def test_the_other_bundled_sets_have_named_numbers_and_class_names(tmp_path):
    iris = ingest(tmp_path, "sklearn:iris", Roles(features=("*",), label="label"))
    assert iris.schema.features[0].name == "sepal_length_cm"
    assert iris.schema.classes == ("setosa", "versicolor", "virginica")
    wine = ingest(tmp_path, "sklearn:wine", Roles(features=("*",), label="label"))
    assert (wine.counts["kept"], len(wine.schema.features)) == (178, 13)
    cancer = ingest(tmp_path, "sklearn:breast_cancer", Roles(features=("*",), label="label"))
    assert (cancer.counts["kept"], cancer.schema.classes) == (569, ("benign", "malignant"))
    with pytest.raises(SourceError, match=r"no set 'faces'.* breast_cancer, digits, iris, wine"):
        ingest(tmp_path, "sklearn:faces")


def test_a_fingerprint_is_of_the_content_not_of_the_place(tmp_path):
    first, second = csv_file(tmp_path, "x,y\n1,2\n", "a.csv"), csv_file(tmp_path, "x,y\n1,2\n", "b.csv")
    assert fingerprint(Source(location=str(first))) == hashlib.sha256(b"x,y\n1,2\n").hexdigest()
    assert fingerprint(Source(location=str(first))) == fingerprint(Source(location=str(second)))
    digits, wine = (fingerprint(Source(location=f"sklearn:{name}")) for name in ("digits", "wine"))
    assert digits != wine
    assert digits == fingerprint(Source(location="digits", format="sklearn"))


def test_a_remembered_fingerprint_spares_reading_until_the_file_changes(tmp_path):
    files = Files(tmp_path / "store")
    path = csv_file(tmp_path, "x,y\n1,2\n")
    source = Source(location=str(path))
    first = fingerprint(source, files)
    memory = files.locate("fingerprints/" + files.names("fingerprints")[0])
    memory.write_text(json.dumps({**json.loads(memory.read_text()), "fingerprint": "remembered"}))
    assert fingerprint(source, files) == "remembered"
    path.write_text("x,y\n1,3\n4,5\n")
    assert fingerprint(source, files) == hashlib.sha256(path.read_bytes()).hexdigest() != first


def test_reading_ahead_keeps_order_passes_errors_on_and_stops_when_left():
    def numbers():
        yield from range(5)
        raise ValueError("spilt")

    seen = []
    with pytest.raises(ValueError, match="spilt"):
        for number in ahead.read_ahead(numbers(), 2):
            seen.append(number)
    assert seen == [0, 1, 2, 3, 4]
    endless = ahead.read_ahead(iter(lambda: 1, 0), 2)
    assert next(endless) == 1
    endless.close()


_CELLS = {
    "id": st.sampled_from([None, "", "a", "b", "c", "d"]),
    "x": st.sampled_from([None, float("nan"), float("inf"), -0.0, 0.0, 1.5, 1e300]),
    "c": st.sampled_from([None, "", "red", "blue"]),
    "y": st.sampled_from([None, "cat", "dog", "cow"]),
}


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries(_CELLS), min_size=1, max_size=12), keyed=st.booleans())
def test_read_is_kept_plus_quarantined_and_every_row_is_where_a_loop_says(tmp_path_factory, rows, keyed):
    tmp_path = tmp_path_factory.mktemp("toys")
    frame = pl.DataFrame(rows, schema={"id": pl.String, "x": pl.Float64, "c": pl.String, "y": pl.String})
    roles = Roles(features=("x", "c"), label="y", key="id" if keyed else None)
    kept, bad, keys = [], [], set()
    for place, row in enumerate(rows, start=1):
        finite = row["x"] is not None and np.isfinite(row["x"])
        good = row["y"] in ("cat", "dog") and finite and row["c"] is not None
        good = good and (not keyed or (bool(row["id"]) and row["id"] not in keys))
        (kept if good else bad).append(place)
        keys |= {row["id"]} if good else set()
    path = parquet_file(tmp_path, frame)
    if not kept:
        with pytest.raises(SourceError):
            ingest(tmp_path, path, roles, Contract(labels=("cat", "dog")))
        return
    found = ingest(tmp_path, path, roles, Contract(labels=("cat", "dog")))
    assert [place for place, _ in found.bad()] == bad
    assert found.examples["x"].to_list() == [rows[place - 1]["x"] for place in kept]
    assert found.examples["label"].to_list() == [rows[place - 1]["y"] for place in kept]


def test_nothing_is_published_when_an_ingest_fails(tmp_path):
    path = csv_file(tmp_path, "x,y\n1,a\n2\n")
    with pytest.raises(ContractError):
        ingest(tmp_path, path, XY, Contract(action="fail"))
    assert not list((tmp_path / "store").rglob("*.parquet"))
    assert not list((tmp_path / "store").rglob("record.json"))


def test_settings_without_sense_or_effect_are_refused(tmp_path):
    path = parquet_file(tmp_path, TOYS)
    with pytest.raises(ValueError, match="the contract lists labels, but no label column is declared"):
        ingest(tmp_path, path, Roles(features=("x",)), Contract(labels=("cat",)))
    with pytest.raises(ValueError, match="image_shape must be height, width and maybe channels"):
        ingest(tmp_path, path, Roles(features=("x",), image_shape=(64,)))
    with pytest.raises(ValueError, match=r"'\.\./toys' cannot be a name"):
        ingest(tmp_path, path, name="../toys")


def test_the_same_source_gives_the_same_bytes(tmp_path):
    path = csv_file(tmp_path, "x,c,y\n" + "".join(f"{row},{'abc'[row % 3]},{row % 2}\n1\n" for row in range(500)))
    digests = []
    for run in ("first", "second"):
        ingest(tmp_path / run, path, Roles(features=("x", "c"), label="y"))
        files = sorted((tmp_path / run).rglob("*.parquet"), key=lambda file: file.name)
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 2


def test_several_parquet_files_are_one_source(tmp_path):
    from storage.errors import SourceError
    from storage.ingest.formats import parquet
    from storage.ingest.source import Source, fingerprint

    rows = pl.DataFrame({"key": [1, 2, 3], "label": ["a", "b", "a"]})
    rows[:2].write_parquet(tmp_path / "part-0.parquet")
    rows[2:].write_parquet(tmp_path / "part-1.parquet")
    pattern = str(tmp_path / "part-*.parquet")
    blocks = list(parquet.read(pattern, parquet.columns(pattern).columns))
    assert pl.concat([block.frame for block in blocks]).equals(rows)
    assert [row for block in blocks for row in block.rows] == [1, 2, 3]
    assert blocks[-1].fraction == 1
    before = fingerprint(Source(location=pattern))
    rows[:1].write_parquet(tmp_path / "part-1.parquet")
    assert fingerprint(Source(location=pattern)) != before
    rows.rename({"label": "answer"}).write_parquet(tmp_path / "part-2.parquet")
    with pytest.raises(SourceError, match=r"part-2\.parquet has other columns or types than .*part-0\.parquet"):
        parquet.columns(pattern)


@pytest.mark.parametrize("said", [{"location": "s3://b/a.csv"}, {"location": "a.csv", "labels": "https://h/l.csv"}])
def test_a_url_is_no_source(said):
    with pytest.raises(SourceError, match=r"(s3://b/a.csv|https://h/l.csv) is a URL, .* download it first"):
        Source(**said, label_key="id" if "labels" in said else None)


def test_what_is_made_side_by_side_comes_in_order_and_an_error_in_its_place():
    def make(number: int) -> int:
        if number == 3:
            raise SourceError("three")
        return 10 * number

    assert list(ahead.made_ahead(make, iter([0, 1, 2]), 2)) == [0, 10, 20]
    made = ahead.made_ahead(make, iter(range(9)), 2)
    assert [next(made) for _ in range(3)] == [0, 10, 20]
    with pytest.raises(SourceError, match="three"):
        next(made)
