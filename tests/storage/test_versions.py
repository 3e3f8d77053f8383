import threading

import pytest

from storage.errors import ConflictError, NotFoundError
from storage.files import Files
from storage.versions import Versions, parse_reference


def test_numbers_count_up_and_the_newest_is_not_published_twice(tmp_path):
    versions = Versions(Files(tmp_path))
    assert str(versions.publish("subset", "clean", "selection-1")) == "clean@1"
    assert str(versions.publish("subset", "clean", "selection-1")) == "clean@1"
    assert str(versions.publish("subset", "clean", "selection-2", {"seed": 1})) == "clean@2"
    assert str(versions.publish("subset", "clean", "selection-1")) == "clean@3"
    assert [one.artifact for one in versions.all("subset", "clean")] == ["selection-1", "selection-2", "selection-1"]
    assert versions.find("subset", "clean").number == 3
    assert versions.find("subset", "clean@latest").number == 3
    assert versions.find("subset", "clean@2").recipe == {"seed": 1}


def test_a_missing_version_lists_those_there_are(tmp_path):
    versions = Versions(Files(tmp_path))
    with pytest.raises(NotFoundError, match="no subset named 'clean'; the store has none yet"):
        versions.find("subset", "clean")
    versions.publish("subset", "clean", "selection-1")
    with pytest.raises(NotFoundError, match=r"no subset named 'clear'; did you mean 'clean'\? the store has clean"):
        versions.find("subset", "clear")
    with pytest.raises(NotFoundError, match="'clean' has no version 9; it has clean@1"):
        versions.find("subset", "clean@9")
    versions.publish("subset", "clean", "selection-2")
    with pytest.raises(NotFoundError, match="it has clean@1 to clean@2"):
        versions.find("subset", "clean@0")


@pytest.mark.parametrize("reference", ["../x", "a@b", "a@-1", "@1", "", "a/b@1", "a@1@2"])
def test_a_reference_has_one_form(reference):
    with pytest.raises(ValueError, match="is not a version: write name, name@latest or name@3"):
        parse_reference(reference)


def test_racing_publishers_get_consecutive_numbers(tmp_path):
    versions = Versions(Files(tmp_path))

    def publish(worker: int) -> None:
        for number in range(8):
            versions.publish("subset", "clean", f"selection-{worker}-{number}")

    threads = [threading.Thread(target=publish, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    published = versions.all("subset", "clean")
    assert [one.number for one in published] == list(range(1, 49))
    assert len({one.artifact for one in published}) == 48


def test_a_name_that_stays_contested_is_an_error(tmp_path, monkeypatch):
    files = Files(tmp_path)
    monkeypatch.setattr(files, "create", lambda *_: False)
    monkeypatch.setattr("storage.numbered.time.sleep", lambda _: None)
    with pytest.raises(ConflictError, match="could not publish 'clean'"):
        Versions(files).publish("subset", "clean", "selection-1")


def test_names_that_could_leave_the_store_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be a name"):
        Versions(Files(tmp_path)).publish("subset", "../evil", "selection-1")
