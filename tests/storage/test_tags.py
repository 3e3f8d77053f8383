import pytest

from storage.errors import ConflictError, CorruptError, NotFoundError
from storage.files import Files
from storage.tags import Tags
from tests.storage.houses import toy_selection, toy_store


@pytest.fixture
def store(tmp_path):
    made = toy_store(tmp_path)
    toy_selection(made, [1, 0, 1, 1])
    toy_selection(made, [1, 1, 0.5, 1])
    return made


def test_a_tag_stands_wherever_a_version_can(store):
    assert store.tag("subset", "production", "toys-clean@1").reference == "toys-clean@1"
    assert str(store.version("subset", "production")) == "toys-clean@1"
    assert len(store.subset("production")) == 3
    assert store.sql("SELECT sum(weight) AS w FROM subset.production")["w"].to_list() == [3.0]
    assert store.sql('SELECT sum(weight) AS w FROM subset."production@1"')["w"].to_list() == [3.0]
    assert store.diff("production", "toys-clean@2").counts["added"] == 1


def test_a_tag_moves_and_remembers_what_it_stood_for(store):
    store.tag("subset", "production", "toys-clean@1")
    moved = store.tag("subset", "production", "toys-clean")
    assert (moved.number, moved.reference) == (2, "toys-clean@2")
    assert store.tag("subset", "production", "toys-clean@2") == moved
    assert [tag.reference for tag in store.tag_moves("subset", "production")] == ["toys-clean@1", "toys-clean@2"]
    assert str(store.version("subset", "production@latest")) == "toys-clean@2"
    assert str(store.version("subset", "production@1")) == "toys-clean@1"
    with pytest.raises(
        NotFoundError, match="the tag 'production' has no number 3; it has production@1 to production@2"
    ):
        store.version("subset", "production@3")
    assert store.tags("subset") == [moved]


def test_a_tag_can_be_set_to_what_another_stands_for(store):
    store.tag("subset", "staging", "toys-clean@1")
    store.tag("subset", "production", "staging")
    store.tag("subset", "staging", "toys-clean@2")
    assert str(store.version("subset", "production")) == "toys-clean@1"


def test_names_and_tags_of_a_kind_do_not_mix(store):
    with pytest.raises(ValueError, match="'toys-clean' is the name of a subset, so it cannot be a tag of one"):
        store.tag("subset", "toys-clean", "toys-clean@1")
    store.tag("subset", "production", "toys-clean@1")
    artifact = store.version("subset", "toys-clean@2").artifact
    with pytest.raises(ValueError, match="'production' is a tag, now of toys-clean@1; publish under another name"):
        store.publish("subset", "production", artifact)
    store.tag("dataset", "production", "toys")
    assert len(store.dataset("production")) == 5


def test_a_wrong_tag_is_one_clear_error_and_leaves_none(store):
    with pytest.raises(NotFoundError, match="'toys-clean' has no version 9"):
        store.tag("subset", "production", "toys-clean@9")
    with pytest.raises(ValueError, match="cannot be a name"):
        store.tag("subset", "a/b", "toys-clean")
    assert store.tags("subset") == []
    assert not store.knows("subset", "production")
    with pytest.raises(NotFoundError, match="there is no subset named 'nothing'; the store has toys-clean"):
        store.version("subset", "nothing")


def test_a_damaged_tag_is_one_clear_error(store):
    store.tag("subset", "production", "toys-clean@1")
    (store.root / "tags" / "subset" / "production" / "00000001.json").write_text("{")
    with pytest.raises(CorruptError, match="number 1 of the tag 'production' cannot be read"):
        store.version("subset", "production")


def test_a_lost_move_of_a_tag_is_one_clear_error(store):
    store.tag("subset", "production", "toys-clean@1")
    store.tag("subset", "production", "toys-clean@2")
    (store.root / "tags" / "subset" / "production" / "00000001.json").unlink()
    with pytest.raises(CorruptError, match="number 1 of the tag 'production' is missing from subsets; `tamis fsck`"):
        store.tag_moves("subset", "production")


def test_a_tag_that_stays_contested_is_an_error(tmp_path, monkeypatch):
    files = Files(tmp_path)
    monkeypatch.setattr(files, "create", lambda *_: False)
    monkeypatch.setattr("storage.numbered.time.sleep", lambda _: None)
    with pytest.raises(ConflictError, match="could not move the tag 'production': 200 tries lost to other writers"):
        Tags(files).move("subset", "production", "toys-clean", 1)
