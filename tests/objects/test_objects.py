import os
import sys
import threading
from pathlib import Path

import pytest

from storage.artifacts import Request
from storage.errors import CorruptError, NotFoundError, ObjectStoreError
from storage.objects import ObjectFiles
from storage.roots import absolute_root, files_at
from storage.store import Store


@pytest.mark.parametrize("path", ["../x", "a/../b", "/etc/passwd", "", "a//b", "a/.b", "a\\b", "ä", "a/..b"])
def test_a_path_cannot_leave_the_prefix(url, path):
    files = ObjectFiles(url)
    for act in (files.locate, files.read, files.exists, files.names, files.remove, files.size_bytes, files.private):
        with pytest.raises(ValueError, match="is not a path inside the store"):
            act(path)
    with pytest.raises(ValueError, match="is not a path inside the store"):
        files.create(path, b"x")


@pytest.mark.parametrize(
    "wrong",
    [
        "s3://",
        "s3:///a",
        "s3://bucket/../a",
        "s3://bucket//a",
        "s3://key:secret@bucket/a",
        "s3://bucket/a?b=c",
        "s3://bucket/a%2e%2e/b",
        "s3://bucket/a b",
        "ftp://bucket/a",
        "https://bucket.s3.amazonaws.com/a",
        "S3://bucket/a",
    ],
)
def test_a_url_of_another_form_is_refused(wrong):
    with pytest.raises(ValueError, match="cannot be a store"):
        files_at(wrong)


@pytest.mark.parametrize("prefix", ["", "/", "/a", "/a/b/", "/day=1/a+b@c.d_e-f"])
def test_a_prefix_has_plain_characters(url, prefix):
    bucket = "/".join(url.split("/")[:3])
    files = ObjectFiles(f"{bucket}{prefix}")
    assert files.location == f"{bucket}{prefix}".rstrip("/")
    files.replace("a/b.json", b"x")
    assert files.below("a") == ["a/b.json"]
    assert files.top() == ["a"]
    assert files.names("a") == ["b.json"]


@pytest.mark.parametrize("root", [Path("s3://bucket/a"), "s3:/bucket/a", "gs:bucket"])
def test_a_url_that_lost_a_slash_makes_no_directory(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="write an address as text, such as s3://bucket/prefix"):
        Store.create(root)
    assert list(tmp_path.iterdir()) == []


def test_a_url_stays_as_it_is_and_a_directory_becomes_absolute():
    assert absolute_root("s3://bucket/a") == "s3://bucket/a"
    assert absolute_root("a") == str(Path.cwd() / "a")


def test_create_happens_once(url):
    files = ObjectFiles(url)
    assert files.create("a/b.json", b"first")
    assert not files.create("a/b.json", b"second")
    assert files.read("a/b.json") == b"first"


def test_one_of_many_creators_wins(url):
    won: list[int] = []

    def create(number: int) -> None:
        if ObjectFiles(url).create("race/one", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert ObjectFiles(url).read("race/one") == str(won[0]).encode()


def test_a_create_whose_answer_got_lost_counts_as_done(url, server):
    losses = iter([503])
    server.lose = lambda asked: next(losses, None) if asked.method == "PUT" else None
    assert ObjectFiles(url).create("a", b"mine")
    assert server.count("PUT", "/a") == 2
    assert ObjectFiles(url).read("a") == b"mine"


def test_a_conflict_over_an_object_that_is_not_there_is_tried_again(url, server):
    refusals = iter([409])
    server.refuse = lambda asked: next(refusals, None) if asked.method == "PUT" else None
    assert ObjectFiles(url).create("a", b"mine")
    assert ObjectFiles(url).read("a") == b"mine"


def test_conflicts_without_end_are_an_error(url, server):
    server.refuse = lambda asked: 409 if asked.method == "PUT" else None
    with pytest.raises(ObjectStoreError, match="5 conflicts without end; run it again"):
        ObjectFiles(url).create("a", b"mine")


def test_replace_takes_the_place_of_what_was_there(url):
    files = ObjectFiles(url)
    files.replace("note", b"old")
    files.replace("note", b"new")
    assert files.read("note") == b"new"


def test_listings_know_names_sizes_and_ages(url):
    files = ObjectFiles(url)
    files.replace("a/b/c.json", b"123")
    files.replace("a/b-2/c.json", b"1")
    files.replace("a/d.json", b"")
    for one in (files, files.snapshot()):
        assert one.top() == ["a"]
        assert one.names("a") == ["b", "b-2", "d.json"]
        assert one.children("a") == ["a/b", "a/b-2", "a/d.json"]
        assert one.names("a/b") == ["c.json"]
        assert one.names("b") == []
        assert list(one.walk("a")) == ["a/b-2/c.json", "a/b/c.json", "a/d.json"]
        assert list(one.walk("a/d.json")) == ["a/d.json"]
        assert list(one.walk("a/b")) == ["a/b/c.json"]
        assert [one.size_bytes(path) for path in ("a/b/c.json", "a/d.json", "a")] == [3, 0, 0]
        assert one.exists("a/d.json")
        assert not one.exists("a/d")
        now = 4e9
        assert one.age_seconds("a", now) == min(one.age_seconds(path, now) for path in one.walk("a"))
        with pytest.raises(FileNotFoundError):
            one.age_seconds("b", now)


def test_a_snapshot_asks_once(url, server):
    files = ObjectFiles(url)
    for number in range(5):
        files.replace(f"a/{number}", b"1")
    server.asked.clear()
    still = files.snapshot()
    assert sum(still.size_bytes(path) for path in still.walk("a")) == 5
    assert len(server.asked) == 1
    files.replace("a/5", b"1")
    assert still.exists("a/5")
    assert len(still.names("a")) == 5


@pytest.mark.slow
def test_a_listing_of_many_pages_is_whole(url):
    files = ObjectFiles(url)
    for number in range(1005):
        files.replace(f"a/{number:04d}", b"")
    assert files.names("a") == [f"{number:04d}" for number in range(1005)]
    assert len(files.below("a")) == 1005


def test_remove_takes_a_file_or_all_that_is_below(url):
    files = ObjectFiles(url)
    for path in ("a/b", "a/c/d", "ab", "x"):
        files.replace(path, b"1")
    files.remove("a")
    files.remove("x")
    files.remove("never")
    assert files.top() == ["ab"]


def test_a_private_place_is_seen_by_nobody_until_it_is_sealed(url, server):
    files = ObjectFiles(url)
    place = files.private("a")
    files.locate(f"{place}/x").write_bytes(b"abc")
    assert ObjectFiles(url).top() == []
    assert files.sealed(f"{place}/x") == (3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    assert ObjectFiles(url).below("a") == [f"{place}/x"]
    assert ObjectFiles(url).is_held(place)
    files.release(place)
    assert not ObjectFiles(url).is_held(place)


def test_what_killed_writers_staged_goes_with_the_next_private_place(url):
    left, live = ObjectFiles(url), ObjectFiles(url)
    dead, kept = left.private("a"), live.private("a")
    for files, place in ((left, dead), (live, kept)):
        files.locate(f"{place}/x").write_bytes(b"abc")
    folder = left.locate(f"{dead}/x").parent
    left._cache.release(left._staged[dead])
    ObjectFiles(url).private("a")
    assert not folder.exists()
    assert live.locate(f"{kept}/x").read_bytes() == b"abc"


def test_open_reads_and_create_makes(url):
    with pytest.raises(NotFoundError, match="there is no store at s3://"):
        Store.open(url)
    assert Store.create(url).location == url
    assert repr(Store.open(url)) == f"Store('{url}')"


def test_create_refuses_a_prefix_that_holds_something_else(url):
    ObjectFiles(url).replace("notes.txt", b"mine")
    with pytest.raises(ValueError, match="is not empty and not a tamis store"):
        Store.create(url)


def test_a_server_that_would_let_two_writers_take_one_number_is_refused(url, server):
    server.is_deaf = True
    with pytest.raises(ObjectStoreError, match="overwrites what a put with If-None-Match must leave alone"):
        Store.create(url)
    assert ObjectFiles(url).top() == []
    server.is_deaf = False
    assert Store.create(url).names("dataset") == []


def test_a_missing_bucket_is_named(server):
    for enter in (Store.open, Store.create):
        with pytest.raises(ObjectStoreError, match="there is no bucket 'no-such-bucket'; make it first"):
            enter("s3://no-such-bucket/a")
    for act in (ObjectFiles.create, ObjectFiles.replace):
        with pytest.raises(ObjectStoreError, match="there is no bucket 'no-such-bucket'"):
            act(ObjectFiles("s3://no-such-bucket/a"), "a", b"1")
    with pytest.raises(ObjectStoreError, match="there is no bucket 'no-such-bucket'"):
        ObjectFiles("s3://no-such-bucket/a").names("a")


def test_refused_credentials_are_told_from_a_missing_store(url, server):
    server.refuse = lambda asked: 403
    with pytest.raises(ObjectStoreError, match="the server refuses these credentials; check AWS_ACCESS_KEY_ID"):
        Store.open(url)


@pytest.mark.parametrize("missing", [["AWS_ACCESS_KEY_ID"], ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]])
def test_missing_credentials_are_told(url, monkeypatch, missing):
    for name in missing:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ObjectStoreError, match="there are no credentials; set AWS_ACCESS_KEY_ID"):
        Store.open(url)


def test_a_server_that_is_away_is_told_after_a_few_tries(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ObjectStoreError, match=r"http://127\.0\.0\.1:9 does not answer; check the network"):
        Store.open("s3://bucket/a")


def test_a_server_that_is_busy_is_asked_again(url, server):
    refusals = iter([503, 500])
    server.refuse = lambda asked: next(refusals, None)
    with pytest.raises(NotFoundError):
        Store.open(url)
    assert server.count("GET", "store.json") == 3


@pytest.mark.slow
def test_a_server_that_stays_busy_is_told_after_a_few_tries(url, server):
    server.refuse = lambda asked: 503
    with pytest.raises(ObjectStoreError, match=r"is busy or broken \(it answers with 503\); run it again later"):
        Store.open(url)
    assert len(server.asked) == 7


def test_plain_http_has_to_be_allowed(url, monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(ObjectStoreError, match="a plain http:// one needs AWS_ALLOW_HTTP=true"):
        Store.open(url)


def test_without_obstore_the_error_says_what_to_install(url, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ObjectStoreError, match=r"needs obstore: pip install 'tamis\[objects\]'"):
        Store.open(url)


def test_a_cache_that_cannot_be_written_is_told(url, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ObjectStoreError, match=r"cannot keep local copies of .* set TAMIS_CACHE"):
        Store.open(url)


def test_a_forked_process_is_told_to_be_spawned(url):
    store = Store.create(url)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store.names("dataset")
        except ObjectStoreError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        assert b"start it with the method 'spawn' instead" in stream.read()


def test_a_record_that_lists_a_lost_object_is_damage(url, elsewhere):
    store = Store.create(url)
    request = Request(kind="model", settings={})
    with store.write(request) as draft:
        draft.add_bytes("model", "model.bin", b"abc")
    (file,) = store.record(request.id).files
    store.files.remove(file.path)
    elsewhere()
    with pytest.raises(CorruptError, match="lacks the file artifacts/model-"):
        Store.open(url).files.local([file])
