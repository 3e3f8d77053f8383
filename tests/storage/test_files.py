import os
import threading

import pytest

from storage.files import Files, check_name


@pytest.mark.parametrize("path", ["../x", "a/../b", "/etc/passwd", "", "a//b", "a/.b", "a\\b", "a/b\n", "ä", "a/..b"])
def test_a_path_cannot_leave_the_root(tmp_path, path):
    with pytest.raises(ValueError, match="is not a path inside the store"):
        Files(tmp_path).locate(path)


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "a b", "a@1", "x" * 101, "-x", "a..b", "naïve"])
def test_a_name_has_plain_characters(name):
    with pytest.raises(ValueError, match="cannot be a name: use 1 to 100 letters"):
        check_name(name)


def test_good_names_pass():
    assert [check_name(name) for name in ("fashion-clean", "a", "Set_2.1")] == ["fashion-clean", "a", "Set_2.1"]


def test_create_happens_once(tmp_path):
    files = Files(tmp_path)
    assert files.create("a/b.json", b"first")
    assert not files.create("a/b.json", b"second")
    assert files.read("a/b.json") == b"first"


def test_one_of_many_creators_wins(tmp_path):
    files = Files(tmp_path)
    won: list[int] = []

    def create(number: int) -> None:
        if files.create("race/one", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert files.read("race/one") == str(won[0]).encode()


def test_replace_leaves_the_old_or_the_new_bytes(tmp_path, monkeypatch):
    files = Files(tmp_path)
    files.replace("note", b"old")

    def broken(*_: object) -> None:
        raise OSError("disk gone")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk gone"):
        files.replace("note", b"new")
    assert files.read("note") == b"old"
    assert files.names("_tmp") == []


def test_private_places_differ(tmp_path):
    files = Files(tmp_path)
    assert files.private("p") != files.private("p")
