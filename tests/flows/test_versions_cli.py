import pytest

from storage.store import Store
from tests.flows.commands import tamis

ONE = "id,x,label\n1,1.5,a\n2,2.5,b\n3,3.5,a\n"
TWO = "id,x,label\n3,9.9,a\n4,4.5,c\n5,5.5,b\n"


@pytest.fixture
def store(tmp_path, monkeypatch, capsys) -> Store:
    """Data set `x` with three rows, in the store that the environment names."""
    monkeypatch.setenv("TAMIS_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.csv").write_text(ONE)
    (tmp_path / "two.csv").write_text(TWO)
    columns = ("--label", "label", "--key", "id", "--features", "x")
    assert tamis("ingest", "one.csv", "--name", "x", *columns, capsys=capsys)[0] == 0
    return Store.open(tmp_path / "store")


def test_appended_rows_join_the_old_ones_without_copying_them(store, capsys):
    before = store.record(store.version("dataset", "x@1").artifact).table("examples")
    splits = dict(store.sql("SELECT example_id, split FROM dataset.x").iter_rows())
    code, out, _ = tamis("ingest", "two.csv", "--name", "x", "--append", capsys=capsys)
    assert code == 0
    assert "x@2: 3 rows read = 2 kept + 1 quarantined, now 5 rows (duplicate key 1)" in out
    after = store.record(store.version("dataset", "x@2").artifact)
    assert after.table("examples")[: len(before)] == before
    assert store.dataset("x@2").schema.classes == ("a", "b", "c")
    rows = store.sql("SELECT example_id, split, x FROM dataset.x ORDER BY example_id")
    assert rows["example_id"].to_list() == [f"x:{number}" for number in range(1, 6)]
    assert rows["x"].to_list() == [1.5, 2.5, 3.5, 4.5, 5.5]
    assert {one: split for one, split, _ in rows.iter_rows() if one in splits} == splits
    assert len(store.dataset("x@1")) == 3


def test_a_correction_remembers_who_and_why(store, tmp_path, capsys):
    (tmp_path / "fix.csv").write_text("key,label\n1,b\n2,b\n")
    code, out, _ = tamis("relabel", "x", "fix.csv", "--by", "ada", "--why", "looked at it", capsys=capsys)
    assert (code, out) == (0, "x@2: 1 label corrected by ada: looked at it\n")
    rows = store.sql("SELECT label, relabelled_by, relabelled_why FROM dataset.x ORDER BY example_id")
    assert rows.rows() == [("b", "ada", "looked at it"), ("b", None, None), ("a", None, None)]
    assert store.sql('SELECT label FROM dataset."x@1" ORDER BY example_id')["label"].to_list() == ["a", "b", "a"]
    _, out, _ = tamis("log", "x", capsys=capsys)
    assert out.index("x@2") < out.index("x@1")
    assert "looked at it" in out


@pytest.mark.parametrize(
    ("rows", "sentence"), [("key,label\n9,b\n", "'x:9'"), ("key,label\n1,z\n", "'z'"), ("key,label\n1,a\n", "a")]
)
def test_a_correction_that_fits_nothing_is_one_sentence(store, tmp_path, capsys, rows, sentence):
    (tmp_path / "fix.csv").write_text(rows)
    code, out, err = tamis("relabel", "x", "fix.csv", "--by", "ada", "--why", "w", capsys=capsys)
    assert (code, out) == (1, "")
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert len(store.versions("dataset", "x")) == 1


def test_a_tag_moves_and_is_a_name_in_sql(store, capsys):
    tamis("ingest", "two.csv", "--name", "x", "--append", capsys=capsys)
    assert tamis("tag", "x@1", "production", capsys=capsys)[0] == 0
    assert store.sql("SELECT count(*) AS n FROM dataset.production")["n"][0] == 3
    assert tamis("tag", "x@2", "production", capsys=capsys)[0] == 0
    assert store.sql("SELECT count(*) AS n FROM dataset.production")["n"][0] == 5


def test_upkeep_finds_nothing_wrong_and_nothing_to_remove(store, capsys):
    tamis("ingest", "two.csv", "--name", "x", "--append", capsys=capsys)
    assert tamis("fsck", capsys=capsys)[:2] == (0, "The store is as its records say.\n")
    code, out, _ = tamis("gc", "--delete", "--grace-hours", "0", capsys=capsys)
    assert code == 0
    assert len(store.sql('SELECT * FROM dataset."x@1"')) == 3
    assert len(store.sql("SELECT * FROM dataset.x")) == 5
    (file, *_) = store.record(store.version("dataset", "x@1").artifact).table("examples")
    path = store.root / file.path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    code, out, _ = tamis("fsck", capsys=capsys)
    assert code == 1
    assert "damage" in out


def test_rows_of_a_file_that_was_read_before_are_not_appended_again(store, capsys):
    tamis("ingest", "two.csv", "--name", "x", "--append", capsys=capsys)
    for name in ("one.csv", "two.csv"):
        code, out, _ = tamis("ingest", name, "--name", "x", "--append", capsys=capsys)
        assert (code, out) == (0, f"x@2 has the rows of {name} already; nothing is appended\n")
    assert len(store.versions("dataset", "x")) == 2
