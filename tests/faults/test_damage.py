import json
import shutil

import pytest

from tests.faults.houses import House
from tests.faults.warm import commands_on, one_sentence

READING = (
    ("sql", "SELECT * FROM dataset.toys"),
    ("sql", "SELECT * FROM scored.toys"),
    ("sql", 'SELECT * FROM subset."toys-clean"'),
    ("sql", "SELECT * FROM quarantine.toys"),
    ("sql", "SELECT * FROM catalog.artifacts"),
    ("show",),
    ("show", "toys-clean@1"),
    ("why", "toys:0"),
    ("diff", "toys@1", "toys@3"),
    ("log", "toys"),
    ("gc",),
)


def copied(house: House, place) -> list[str]:
    shutil.copytree(house.place, place)
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())


@pytest.fixture
def extended(houses) -> House:
    return houses["extend"]


def broken(data: bytes) -> dict[str, bytes]:
    """The same bytes cut in half, emptied, and with one bit in the middle turned over."""
    middle = len(data) // 2
    return {
        "cut": data[:middle],
        "emptied": b"",
        "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
    }


def owner_of(path: str) -> str:
    """What a finding about a file is about: the file itself, or the record, version or tag that it is."""
    parts = path.split("/")
    if parts[-1] == "record.json":
        return parts[1]
    if parts[0] in ("versions", "tags"):
        return f"{parts[2]}@{int(parts[3][:8])} of {parts[1]}"
    return path


def check_damage(warm, house: House, folder, paths, kinds) -> None:
    for path in paths:
        for kind in kinds:
            place = folder / "store"
            copied(house, place)
            (place / path).write_bytes(broken((place / path).read_bytes())[kind])
            *reading, found = commands_on(warm, place, [*READING, ("fsck",)])
            assert found["result"]["code"] == 1, (path, kind)
            lines = found["result"]["out"].splitlines()
            assert owner_of(path) in lines[0], (path, kind, lines)
            assert all(line.startswith("damage: ") for line in lines[:-1])
            assert all("; " in line for line in lines[:-1]), "a finding says what to do"
            for command, end in zip(READING, reading, strict=True):
                assert "result" in end, (path, kind, command, end.get("trace"))
                if end["result"]["code"]:
                    one_sentence(end, names="cannot be read")
            shutil.rmtree(place)


def damageable(house: House) -> list[str]:
    """All files but the catalogue, which is made anew by every run and read by other programs."""
    files = (path.relative_to(house.place).as_posix() for path in house.place.rglob("*") if path.is_file())
    return sorted(path for path in files if not path.startswith("published/"))


def test_a_broken_table_record_and_version_are_each_found_and_told_in_one_sentence(warm, extended, tmp_path):
    paths = damageable(extended)
    examples = next(path for path in paths if path.endswith("examples-00000.parquet"))
    version = next(path for path in paths if path.startswith("versions/scored"))
    check_damage(warm, extended, tmp_path, [examples], ("cut", "flipped"))
    check_damage(warm, extended, tmp_path, [version], ("emptied",))


@pytest.mark.slow
def test_damage_to_any_file_is_found_and_told_in_one_sentence(warm, extended, tmp_path):
    paths = damageable(extended)
    assert len(paths) > 25
    check_damage(warm, extended, tmp_path, paths, ("flipped",))
    check_damage(warm, extended, tmp_path, paths[::2], ("cut",))
    check_damage(warm, extended, tmp_path, paths[1::2], ("emptied",))


def test_writing_on_damaged_examples_is_one_sentence_and_publishes_nothing(warm, extended, sources, tmp_path):
    (sources / "later.csv").write_text("id,x,label,split\n900,1.5,a,train\n")
    (sources / "later-fix.csv").write_text("key,label\n5,a\n")
    paths = [path for path in damageable(extended) if path.endswith("examples-00000.parquet")]
    for kind in ("cut", "flipped"):
        place = tmp_path / kind
        copied(extended, place)
        for path in paths:
            (place / path).write_bytes(broken((place / path).read_bytes())[kind])
        ends = commands_on(
            warm,
            place,
            [
                ("ingest", str(sources / "later.csv"), "--name", "toys", "--append"),
                ("relabel", "toys", str(sources / "later-fix.csv"), "--by", "ada", "--why", "w"),
            ],
        )
        for end in ends:
            one_sentence(end, names="cannot be read")
        assert not (place / "versions" / "dataset" / "toys" / "00000004.json").exists()


def test_what_a_newer_tamis_wrote_is_one_sentence_that_says_to_install_it(warm, extended, tmp_path):
    place = tmp_path / "store"
    paths = copied(extended, place)
    record = place / next(path for path in paths if path.startswith("artifacts/selection-"))
    record = record.parent.parent / "record.json" if record.name != "record.json" else record
    record.write_text(json.dumps({**json.loads(record.read_text()), "schema_version": 99}))
    asked = commands_on(warm, place, [("sql", 'SELECT * FROM subset."toys-clean"'), ("show", "toys-clean@1"), ("gc",)])
    for end in asked:
        one_sentence(
            end, names="was written by a newer tamis (schema 99, this one reads up to 1); install that version"
        )
    (found,) = commands_on(warm, place, [("fsck",)])
    assert found["result"]["out"].count("damage: ") == 1
    (others,) = commands_on(warm, place, [("sql", "SELECT * FROM dataset.toys")])
    assert others["result"]["code"] == 0
    (place / "store.json").write_text(json.dumps({"format": "tamis store", "schema_version": 99}))
    for end in commands_on(warm, place, [("show",), ("tag", "toys@1", "old"), ("gc",)]):
        one_sentence(end, names="was made by a newer tamis (schema 99, this one reads up to 1); install that version")
