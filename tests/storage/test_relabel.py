import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.artifacts import Request
from storage.errors import ConflictError, SourceError
from storage.fsck import check_store
from storage.ingest.source import Source
from storage.relabel import Corrections, read_corrections, relabel
from storage.store import Store
from tests.storage.houses import DATASET, ROWS, SCHEMA, toy_store


def corrections(labels: dict[str, str], by: str = "ada", why: str = "looked") -> Corrections:
    rows = pl.DataFrame({"example_id": list(labels), "label": list(labels.values())}, schema_overrides={"label": str})
    return Corrections(rows=rows, by=by, why=why)


def correct(store: Store, given_labels: Corrections, reference: str = "toys") -> int:
    before = store.version("dataset", reference)
    dataset = store.dataset(str(before))
    settings_ = {"rows": given_labels.rows.rows(), "by": given_labels.by, "why": given_labels.why}
    request = Request(kind="dataset", settings=settings_, inputs={"dataset": dataset.id})
    with store.write(request) as draft:
        count = relabel(draft, dataset, given_labels)
    store.publish("dataset", "toys", request.id, after=before)
    return count


def layer(store: Store, reference: str = "toys") -> list[tuple]:
    rows = store.dataset(reference).scan().select("example_id", "label", "relabelled_by", "relabelled_why")
    return rows.sort("example_id").collect().rows()


def test_the_layer_says_who_and_why_of_what_changed_and_nothing_of_the_rest(tmp_path):
    store = toy_store(tmp_path)
    assert correct(store, corrections({"toys:0": "dog", "toys:1": "dog", "toys:2": "dog"})) == 2
    assert layer(store) == [
        ("toys:0", "dog", "ada", "looked"),
        ("toys:1", "dog", None, None),
        ("toys:2", "dog", "ada", "looked"),
        ("toys:3", "dog", None, None),
        ("toys:4", "dog", None, None),
    ]
    assert store.record(store.dataset("toys").id).meta["relabelled"] == {"labels": 2, "by": "ada", "why": "looked"}
    assert store.dataset("toys@1").scan().collect().equals(ROWS)


def test_rows_are_shared_and_the_layer_alone_is_written(tmp_path):
    store = toy_store(tmp_path)
    correct(store, corrections({"toys:0": "dog"}))
    before, after = store.dataset("toys@1").record, store.dataset("toys@2").record
    assert after.table("examples") == before.table("examples")
    assert [file.table for file in after.files if after.id in file.path] == ["labels"]
    assert store.dataset("toys@2").schema == SCHEMA
    assert list(check_store(store.files)) == []


def test_a_later_correction_overrides_and_the_others_keep_what_was_said_of_them(tmp_path):
    store = toy_store(tmp_path)
    correct(store, corrections({"toys:0": "dog", "toys:1": "cat"}))
    assert correct(store, corrections({"toys:1": "dog", "toys:2": "dog"}, by="bob", why="second look")) == 2
    assert layer(store)[:3] == [
        ("toys:0", "dog", "ada", "looked"),
        ("toys:1", "dog", "bob", "second look"),
        ("toys:2", "dog", "bob", "second look"),
    ]
    assert layer(store, "toys@2")[1] == ("toys:1", "cat", "ada", "looked")


def test_a_correction_back_to_the_first_label_is_remembered_as_one(tmp_path):
    store = toy_store(tmp_path)
    correct(store, corrections({"toys:0": "dog"}))
    assert correct(store, corrections({"toys:0": "cat"}, by="bob", why="it was right")) == 1
    assert layer(store)[0] == ("toys:0", "cat", "bob", "it was right")


def test_ids_that_are_not_there_are_counted_and_the_first_is_named(tmp_path):
    store = toy_store(tmp_path)
    with pytest.raises(ValueError, match=r"2 of 3 ids are not in the data set \(first: 'toys:8'\)"):
        correct(store, corrections({"toys:0": "dog", "toys:8": "dog", "toys:9": "cat"}))
    assert len(store.versions("dataset", "toys")) == 1
    assert list(check_store(store.files)) == []


def test_labels_that_are_no_class_are_counted_and_the_classes_named(tmp_path):
    store = toy_store(tmp_path)
    with pytest.raises(ValueError, match=r"1 of 2 labels are not among the classes cat, dog \(first: 'cow'\)"):
        correct(store, corrections({"toys:0": "dog", "toys:1": "cow"}))


def test_corrections_that_change_nothing_are_an_error(tmp_path):
    store = toy_store(tmp_path)
    with pytest.raises(ValueError, match="nothing changes: all 2 examples have these labels already"):
        correct(store, corrections({"toys:0": "cat", "toys:1": "dog"}))


def test_a_pool_without_labels_cannot_be_corrected(tmp_path):
    from dataclasses import replace

    store = toy_store(tmp_path, ROWS.drop("label"), replace(SCHEMA, classes=()))
    with pytest.raises(ValueError, match="the data set has no labels that could be corrected"):
        correct(store, corrections({"toys:0": "dog"}))


def test_a_column_of_the_layers_name_is_not_overwritten(tmp_path):
    store = toy_store(tmp_path, ROWS.with_columns(relabelled_by=pl.lit("me")))
    with pytest.raises(ValueError, match="has a column 'relabelled_by' or 'relabelled_why' of its own"):
        correct(store, corrections({"toys:0": "dog"}))


def test_a_change_in_between_is_a_conflict(tmp_path):
    store = toy_store(tmp_path)
    first = store.version("dataset", "toys")
    correct(store, corrections({"toys:0": "dog"}))
    request = Request(kind="dataset", settings={"late": True}, inputs={"dataset": DATASET.id})
    with store.write(request) as draft:
        relabel(draft, store.dataset("toys@1"), corrections({"toys:1": "cat"}))
    with pytest.raises(ConflictError, match="toys@1 is no longer the newest version"):
        store.publish("dataset", "toys", request.id, after=first)
    assert layer(store)[1] == ("toys:1", "dog", None, None)


def test_labels_that_are_numbers_keep_their_type(tmp_path):
    from dataclasses import replace

    rows = ROWS.with_columns(label=pl.Series([0, 1, 0, 1, 1], dtype=pl.Int64))
    store = toy_store(tmp_path, rows, replace(SCHEMA, classes=("0", "1")))
    correct(store, corrections({"toys:0": "1"}))
    labels = store.dataset("toys").scan().collect()["label"]
    assert (labels.dtype, labels.to_list()) == (pl.Int64, [1, 1, 0, 1, 1])


@pytest.mark.parametrize("empty", ["by", "why"])
def test_who_and_why_cannot_be_left_out(empty):
    said = {"by": "ada", "why": "looked", empty: "  "}
    with pytest.raises(ValueError, match=f"{empty} must not be empty"):
        corrections({"toys:0": "dog"}, **said)


def read(folder, text: str, name: str = "fix.csv") -> Corrections:
    (folder / name).write_text(text)
    return read_corrections(Source(location=str(folder / name)), "toys", own_key="row", by="ada", why="looked")


def test_a_file_of_keys_and_one_of_ids_say_the_same(tmp_path):
    keys = read(tmp_path, "key,label,note\n0,dog,x\n007,cat,y\n")
    ids = read(tmp_path, "example_id,label\ntoys:0,dog\ntoys:007,cat\n")
    own = read(tmp_path, "row,label\n0,dog\n007,cat\n")
    assert keys.rows.rows() == own.rows.rows() == ids.rows.rows() == [("toys:0", "dog"), ("toys:007", "cat")]
    lines = read(tmp_path, '{"key": 5, "label": 1}\n', "fix.jsonl")
    assert lines.rows.rows() == [("toys:5", "1")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("key,truth\n0,dog\n", "has the columns key, truth; corrections need 'label' and 'example_id'"),
        (
            "id,label\n0,dog\n",
            "has the columns id, label; corrections need 'label' and 'example_id' .or 'key', or 'row'",
        ),
        ("key,label\n0,dog\n0,cat\n", "has 'toys:0' more than once; give each example one label"),
        ("key,label\n0,\n1,dog\n", "1 of 2 rows of .* have no label; fill or drop them"),
        ("key,label\n,dog\n", "1 of 1 rows of .* have no key; fill or drop them"),
        ("key,label\n0,dog,cat\n1,dog\n", "line 2 of .* is broken: ragged row; correct it"),
    ],
)
def test_a_file_that_says_no_clear_thing_is_refused(tmp_path, text, sentence):
    with pytest.raises(SourceError, match=sentence):
        read(tmp_path, text)


@settings(deadline=None, max_examples=15)
@given(rounds=st.lists(st.dictionaries(st.integers(0, 4), st.sampled_from(["cat", "dog"]), min_size=1), max_size=3))
def test_the_last_word_on_a_row_holds(tmp_path_factory, rounds):
    store = toy_store(tmp_path_factory.mktemp("toys"))
    truth = dict(zip(ROWS["example_id"], ROWS["label"], strict=True))
    said: dict[str, str] = {}
    for number, labels in enumerate(rounds):
        wanted = {f"toys:{key}": label for key, label in labels.items()}
        changed = {one for one, label in wanted.items() if truth[one] != label}
        if not changed:
            continue
        assert correct(store, corrections(wanted, why=f"round {number}")) == len(changed)
        truth |= wanted
        said |= dict.fromkeys(changed, f"round {number}")
    rows = store.dataset("toys").scan().collect()
    assert dict(zip(rows["example_id"], rows["label"], strict=True)) == truth
    if "relabelled_why" in rows.columns:
        remembered = dict(rows.select("example_id", "relabelled_why").iter_rows())
        assert {one: why for one, why in remembered.items() if why} == said
