import json

import pytest

from storage.artifacts import Request
from storage.fsck import check_store
from tests.storage.houses import DATASET, toy_selection, toy_store


@pytest.fixture
def store(tmp_path):
    made = toy_store(tmp_path / "store")
    toy_selection(made, [1, 0, 1, 1])
    toy_selection(made, [1, 1, 1, 1])
    made.tag("subset", "production", "toys-clean@1")
    return made


def findings(store, quick: bool = False) -> list[tuple[str, str]]:
    return [(one.severity, f"{one.place} {one.problem}") for one in check_store(store.files, quick=quick)]


def only_finding(store, quick: bool = False) -> str:
    ((severity, told),) = findings(store, quick)
    assert severity == "damage"
    return told


def examples_path(store):
    (file,) = store.record(DATASET.id).table("examples")
    return store.root / file.path


def test_a_store_as_it_should_be_has_no_findings(store):
    assert findings(store) == []


def test_a_flipped_byte_is_found_unless_one_is_in_a_hurry(store):
    path = examples_path(store)
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    assert "has other content than its record says" in only_finding(store)
    assert findings(store, quick=True) == []


def test_a_truncated_and_a_missing_file_are_found_at_once(store):
    path = examples_path(store)
    path.write_bytes(path.read_bytes()[:-7])
    assert "bytes, its record says" in only_finding(store, quick=True)
    path.unlink()
    assert "is missing" in only_finding(store, quick=True)


def edit_record(store, artifact: str, **changes) -> None:
    path = store.root / "artifacts" / artifact / "record.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, **changes}))


def test_an_id_that_its_request_does_not_hash_to_is_found(store):
    request = json.loads((store.root / "artifacts" / DATASET.id / "record.json").read_text())["request"]
    changed = {**request, "settings": {"name": "forged"}}
    edit_record(store, DATASET.id, request=changed)
    assert f"holds the record of {Request(**changed).id}: it was changed or moved" in only_finding(store)


def test_row_counts_that_differ_are_found(store):
    raw = json.loads((store.root / "artifacts" / DATASET.id / "record.json").read_text())
    edit_record(store, DATASET.id, files=[{**raw["files"][0], "rows": 6}])
    assert "has 5 rows, its record says 6" in only_finding(store)


def test_a_record_that_cannot_be_read_or_is_of_the_future_is_found(store):
    path = store.root / "artifacts" / DATASET.id / "record.json"
    text = path.read_text()
    path.write_text(text[:50])
    assert "cannot be read" in only_finding(store)
    path.write_text(text)
    edit_record(store, DATASET.id, schema_version=99)
    assert "was written by a newer tamis" in only_finding(store)


def test_a_version_of_nothing_and_a_gap_in_the_numbers_are_found(store):
    (store.root / "artifacts" / store.version("subset", "toys-clean@2").artifact / "record.json").unlink()
    found = findings(store)
    assert (found[-1][0], found[-1][1][:40]) == ("damage", "version toys-clean@2 of subset points to")
    assert {severity for severity, _ in found[:-1]} == {"leftover"}


def test_a_gap_in_the_numbers_is_found(store):
    (store.root / "versions" / "subset" / "toys-clean" / "00000001.json").unlink()
    told = [text for _, text in findings(store)]
    assert told[0].startswith("version toys-clean@1 of subset cannot be read")
    assert told[1].startswith("tag production@1 of subset cannot be used")


def test_a_missing_input_is_found(store):
    (store.root / "artifacts" / DATASET.id / "record.json").rename(store.root / "elsewhere.json")
    told = [text for severity, text in findings(store) if severity == "damage"]
    assert sum(f"was made from {DATASET.id} (dataset), which is not in the store" in text for text in told) == 2


def test_foreign_files_are_found_wherever_they_lie(store):
    places = ["notes.txt", f"artifacts/{DATASET.id}/.DS_Store", "artifacts/x.txt", "versions/subset/toys-clean/3.json"]
    for place in places:
        (store.root / place).write_text("mine")
    assert findings(store) == [
        ("foreign", f"{place} is none of the store's files") for place in places[:1] + sorted(places[1:])
    ]


def test_a_swapped_version_file_is_found(store):
    folder = store.root / "versions" / "subset" / "toys-clean"
    (folder / "00000002.json").write_text((folder / "00000001.json").read_text())
    assert "says that it is toys-clean@1 of subset" in only_finding(store)


def test_a_name_that_hides_a_tag_is_found(store):
    store.tag("dataset", "live", "toys@1")
    raw = json.loads((store.root / "versions" / "dataset" / "toys" / "00000001.json").read_text())
    (store.root / "versions" / "dataset" / "live").mkdir()
    (store.root / "versions" / "dataset" / "live" / "00000001.json").write_text(json.dumps({**raw, "name": "live"}))
    assert "tag live of dataset is hidden by a dataset of that name" in only_finding(store)


def test_broken_and_outlived_checkpoints_are_told_apart(store):
    folder = store.root / "checkpoints"
    folder.mkdir()
    (folder / "training-1.safetensors").write_bytes(b"half")
    (folder / f"{DATASET.id}.safetensors").write_bytes(b"whatever")
    assert [severity for severity, _ in findings(store)] == ["leftover", "damage"]
    assert [severity for severity, _ in findings(store, quick=True)] == ["leftover"]


@pytest.mark.parametrize("place", ["runs/abc.json", "fingerprints/abc.json"])
def test_a_note_that_was_changed_or_cut_is_found(store, place):
    directory, name = place.split("/")
    store.remember(directory, name.removesuffix(".json"), {"artifacts": [DATASET.id], "published": []})
    assert findings(store) == []
    path = store.root / place
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"published", b"pubLished"))
    assert only_finding(store) == f"{place} cannot be read: it is not what the hash at its end says"
    path.write_bytes(whole[:20])
    assert only_finding(store).startswith(f"{place} cannot be read: ")


def test_a_changed_letter_in_a_record_or_a_version_is_found(store):
    version = store.version("subset", "toys-clean@2")
    for path, letter in (
        (store.root / "versions" / "subset" / "toys-clean" / "00000002.json", b"created_at"),
        (store.root / "artifacts" / version.artifact / "record.json", b"peak_memory_bytes"),
    ):
        whole = path.read_bytes()
        changed = whole.replace(letter + b'": ', letter + b'":  ')
        assert changed != whole
        path.write_bytes(changed)
        assert "it is not what the hash at its end says" in only_finding(store, quick=True)
        path.write_bytes(whole)
    assert findings(store) == []


def test_a_mark_with_a_changed_letter_is_found(store):
    path = store.root / "store.json"
    path.write_text(path.read_text().replace("schema_version", "schemb_version"))
    assert only_finding(store) == "store.json cannot be read: it is of another format"


def test_a_store_without_its_mark_is_told_how_to_get_it_back(store):
    (store.root / "store.json").write_text("[]")
    (finding,) = check_store(store.files)
    assert str(finding).startswith("damage: store.json cannot be read")
    assert str(finding).endswith("; copy it from another store; all are equal")


def test_every_finding_is_one_line_that_says_what_to_do(store):
    examples_path(store).unlink()
    (store.root / "notes.txt").write_text("mine")
    for finding in check_store(store.files):
        assert "\n" not in str(finding)
        assert finding.remedy
