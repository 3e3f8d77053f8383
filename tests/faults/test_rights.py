import os
import shutil

import pytest

from tests.faults.houses import House
from tests.faults.warm import commands_on, one_sentence

NOBODY = 65534


@pytest.fixture
def foreign(houses, tmp_path):
    """A copy of a whole store that belongs to somebody else, in a place that everybody may enter."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    house: House = houses["extend"]
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o5 != 0o5:
            folder.chmod(folder.stat().st_mode | 0o5)
    place = tmp_path / "store"
    shutil.copytree(house.place, place)
    return place


def as_nobody(warm, place, *arguments: str) -> dict:
    return warm.end("tamis", arguments=[*arguments, "--store", str(place)], user=NOBODY)


@pytest.fixture
def files(sources, tmp_path) -> dict[str, str]:
    for name, text in {
        "later.csv": "id,x,label,split\n900,1.5,a,train\n",
        "fix.csv": "key,label\n5,a\n",
    }.items():
        (tmp_path / name).write_text(text)
    return {name: str(tmp_path / name) for name in ("later.csv", "fix.csv")}


def test_who_may_not_write_is_told_so_in_one_sentence_and_can_read(warm, foreign, files, houses):
    for arguments in (
        ("ingest", files["later.csv"], "--name", "toys", "--append"),
        ("ingest", files["later.csv"], "--name", "others", "--label", "label", "--features", "x"),
        ("relabel", "toys", files["fix.csv"], "--by", "ada", "--why", "w"),
        ("tag", "toys@1", "old"),
    ):
        end = as_nobody(warm, foreign, *arguments)
        one_sentence(end, names=f"of the store {foreign}: Permission denied; have this user given the right to write")
    for arguments in (("sql", "SELECT count(*) FROM scored.toys"), ("show", "toys-clean@1"), ("fsck",), ("gc",)):
        end = as_nobody(warm, foreign, *arguments)
        assert end["result"]["code"] == 0, end
    state = warm.result("state", root=str(foreign))
    assert state == {"versions": houses["extend"].versions, "findings": []}


def test_who_may_not_sweep_removes_nothing(warm, foreign, houses):
    spare = foreign / "artifacts" / "scores-00000000000000000000" / "w0123456789abcdef"
    spare.mkdir(parents=True)
    (spare / "x.parquet").write_bytes(b"half")
    end = as_nobody(warm, foreign, "gc", "--delete", "--grace-hours", "0")
    one_sentence(end, names="Permission denied")
    assert (spare / "x.parquet").exists()
    assert warm.result("state", root=str(foreign))["versions"] == houses["extend"].versions


def test_who_may_not_read_is_told_so_in_one_sentence(warm, foreign):
    (foreign / "versions").chmod(0o700)
    one_sentence(as_nobody(warm, foreign, "show"), names="cannot read versions")
    (foreign / "versions").chmod(0o755)
    for path in foreign.rglob("*.parquet"):
        path.chmod(0o600)
    for arguments in (("sql", "SELECT * FROM dataset.toys"), ("why", "toys:0"), ("diff", "toys@1", "toys@3")):
        one_sentence(as_nobody(warm, foreign, *arguments), names="ermission denied")
    foreign.chmod(0o700)
    one_sentence(as_nobody(warm, foreign, "show"), names="cannot read store.json of the store")


def test_a_place_where_no_store_can_be_made_is_one_sentence(warm, foreign, files):
    arguments = ("ingest", files["later.csv"], "--name", "x", "--features", "x")
    end = as_nobody(warm, foreign.parent / "new", *arguments)
    one_sentence(end, names="Permission denied; have this user given the right to write there, or name another store")


def test_a_store_below_a_file_is_one_sentence(warm, tmp_path, files):
    (tmp_path / "file").write_text("not a directory")
    place = tmp_path / "file" / "store"
    (end,) = commands_on(warm, place, [("ingest", files["later.csv"], "--name", "x", "--features", "x")])
    one_sentence(end, names="Not a directory")
