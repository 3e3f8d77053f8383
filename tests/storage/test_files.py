import errno
import os
import threading
from dataclasses import dataclass

import polars as pl
import pytest

from storage.errors import CorruptError, DiskError
from storage.files import Files, check_name, native_write


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
    with pytest.raises(DiskError, match=r"cannot write note of the store .*: disk gone; check the disk"):
        files.replace("note", b"new")
    assert files.read("note") == b"old"
    assert files.names("_tmp") == []


def test_private_places_differ(tmp_path):
    files = Files(tmp_path)
    assert files.private("p") != files.private("p")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "No space left on device; free some space and run the same command again"),
        (errno.EDQUOT, "free some space or have the quota raised"),
        (errno.EROFS, "mount the file system for writing, or name another store with --store"),
        (errno.EACCES, "have this user given the right to write there, or name another store with --store"),
        (errno.EIO, "check the disk and the rights to it"),
    ],
)
@pytest.mark.parametrize("write", ["create", "replace", "private", "remove"])
def test_every_refusal_is_one_sentence_with_its_remedy(tmp_path, number, remedy, write):
    def refuse(operation: str, path: str) -> None:
        raise OSError(number, os.strerror(number))

    files = Files(tmp_path / "store", refuse)
    write_it = getattr(files, write)
    with pytest.raises(DiskError) as told:
        write_it("a/b") if write in ("private", "remove") else write_it("a/b", b"x")
    assert str(told.value).startswith("cannot write a/b")
    assert f"of the store {tmp_path / 'store'}: " in str(told.value)
    assert remedy in str(told.value)
    assert str(told.value).endswith("; what was published before is untouched")
    assert told.value.errno == number


def test_the_watch_is_told_before_and_after_a_native_library_writes(tmp_path):
    told: list[tuple[str, str]] = []
    files = Files(tmp_path, lambda operation, path: told.append((operation, path)))
    with native_write(files, "x.parquet", pl.exceptions.PolarsError) as path:
        assert told == [("native write", "x.parquet")]
        pl.DataFrame({"a": [1]}).write_parquet(path)
    assert told[1:] == [("native written", "x.parquet")]


@pytest.mark.parametrize(
    "words",
    [
        "parquet: File out of specification: underlying IO error: No space left on device (os error 28)",
        'IO Error: Could not write file "/s/x.duckdb": No space left on device',
    ],
)
def test_a_native_library_that_runs_out_of_space_is_understood(tmp_path, words):
    with (
        pytest.raises(DiskError, match=r"cannot write x of the store .*: No space left on device; free some space"),
        native_write(Files(tmp_path), "x", RuntimeError),
    ):
        raise RuntimeError(words)


def test_what_a_native_library_says_of_other_things_stays_its_own_error(tmp_path):
    with pytest.raises(RuntimeError, match="the schema is wrong"), native_write(Files(tmp_path), "x", RuntimeError):
        raise RuntimeError("the schema is wrong")


@dataclass(frozen=True)
class Listed:
    path: str
    size_bytes: int
    sha256: str = ""


def test_listed_files_must_be_there_in_their_size(tmp_path):
    files = Files(tmp_path)
    files.create("a/b", b"1234")
    assert files.local([Listed("a/b", 4)]) == [tmp_path / "a" / "b"]
    with pytest.raises(CorruptError, match=r"a/b of the store .* cannot be read: it has 4 bytes and its record says 5"):
        files.local([Listed("a/b", 5)])
    with pytest.raises(CorruptError, match="lacks its file a/c; `tamis fsck` says what to do"):
        files.local([Listed("a/c", 4)])


def test_new_directories_are_made_durable_from_the_top(tmp_path, monkeypatch):
    flushed: list[str] = []
    monkeypatch.setattr(
        "storage.files.flush_directory", lambda path: flushed.append(path.relative_to(tmp_path).as_posix())
    )
    Files(tmp_path).create("a/b/c", b"x")
    assert {".", "a", "a/b"} <= set(flushed)
    flushed.clear()
    Files(tmp_path).create("a/b/d", b"x")
    assert flushed == ["a/b"]
