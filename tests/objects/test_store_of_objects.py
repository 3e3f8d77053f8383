import json
import threading

import numpy as np
import pytest
from click.testing import CliRunner

from flows.cli import tamis
from storage.artifacts import Request
from storage.errors import ConflictError, CorruptError
from storage.fsck import check_store
from storage.objects import ObjectFiles
from storage.store import Store
from storage.sweep import Sweep
from tests.flows.recipes import SMALL
from tests.storage.houses import DATASET, ROWS, toy_selection, toy_store


def run(*arguments: str) -> str:
    result = CliRunner().invoke(tamis, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_store_of_objects_answers_as_a_directory_does(url, tmp_path, elsewhere):
    stores = [toy_store(url), toy_store(tmp_path / "store")]
    for store in stores:
        toy_selection(store, [1.0, 0.0, 2.0, 0.0])
        toy_selection(store, [1.0, 1.0, 0.0, 0.0])
        store.tag("subset", "production", "toys-clean@1")
    elsewhere()
    there, here = Store.open(url), stores[1]
    assert there.table(DATASET.id, "examples").equals(ROWS)
    assert there.dataset("toys").scan().collect().equals(ROWS)
    assert there.names("subset") == here.names("subset") == ["toys-clean"]
    for query in (
        "SELECT * FROM subset.production ORDER BY example_id",
        'SELECT * FROM subset."toys-clean@2" ORDER BY example_id',
        "SELECT count(*), sum(size) FROM dataset.toys",
        "SELECT * FROM quarantine.toys",
        "SELECT kind, name, number, version, artifact FROM catalog.versions",
        "SELECT * FROM catalog.lineage ORDER BY ALL",
        "SELECT * FROM why('toys:2')",
        "SELECT * FROM diff('toys-clean@1', 'toys-clean@2') ORDER BY ALL",
    ):
        assert there.sql(query).equals(here.sql(query)), query
    assert len(there.subset("toys-clean@1")) == 2
    assert [str(finding) for finding in check_store(there.files)] == []


def test_a_second_read_fetches_nothing(url, server, elsewhere):
    toy_selection(toy_store(url), [1.0, 0.0, 1.0, 0.0])
    query = 'SELECT * FROM subset."toys-clean"'
    assert server.count("GET", ".parquet") == 0
    elsewhere()
    first = Store.open(url).sql(query)
    assert server.count("GET", ".parquet") == 2
    assert Store.open(url).sql(query).equals(first)
    assert server.count("GET", ".parquet") == 2


@pytest.mark.parametrize(
    "harm", [lambda data: data[:-7], lambda data: data[:40] + b"\xff" + data[41:], lambda data: b""]
)
def test_a_local_copy_that_was_changed_is_fetched_again(url, server, harm):
    store = toy_store(url)
    (path,) = store.files.local(store.record(DATASET.id).files)
    path.write_bytes(harm(path.read_bytes()))
    assert Store.open(url).table(DATASET.id, "examples").equals(ROWS)
    assert server.count("GET", ".parquet") == 1
    assert Store.open(url).table(DATASET.id, "examples").equals(ROWS)
    assert server.count("GET", ".parquet") == 1


def test_a_local_copy_with_another_time_but_its_own_content_stays(url, server):
    store = toy_store(url)
    (path,) = store.files.local(store.record(DATASET.id).files)
    path.write_bytes(path.read_bytes())
    assert Store.open(url).table(DATASET.id, "examples").equals(ROWS)
    assert server.count("GET", ".parquet") == 0


def test_a_changed_object_is_noticed_and_nothing_of_it_is_kept(url, elsewhere):
    store = toy_store(url)
    (file,) = store.record(DATASET.id).files
    data = store.files.read(file.path)
    store.files.replace(file.path, data[:40] + b"\xff" + data[41:])
    elsewhere()
    store = Store.open(url)
    with pytest.raises(CorruptError, match="has other content than its record says; `tamis fsck` says what to do"):
        store.table(DATASET.id, "examples")
    assert not store.files.locate(file.path).exists()
    (finding,) = check_store(store.files)
    assert (finding.severity, finding.place) == ("damage", file.path)
    assert "has other content than its record says" in finding.problem
    assert [*check_store(store.files, quick=True)] == []


def test_fsck_names_lost_foreign_and_left_objects(url):
    store = toy_store(url)
    (file,) = store.record(DATASET.id).files
    store.files.remove(file.path)
    for path in ("notes.txt", "artifacts/x y", "versions/dataset/toys/odd.json"):
        store.files._bucket.put(path, b"1")
    store.files.replace(f"artifacts/{DATASET.id}/w{'0' * 16}/examples-00000.parquet", b"half")
    found = {finding.place: finding for finding in check_store(store.files)}
    assert found.pop(file.path).problem.endswith("is missing")
    assert found.pop(f"artifacts/{DATASET.id}/w{'0' * 16}").severity == "leftover"
    assert {place: one.severity for place, one in found.items()} == {
        "notes.txt": "foreign",
        "artifacts/x y": "foreign",
        "versions/dataset/toys/odd.json": "foreign",
    }


def test_gc_keeps_what_is_reached_or_young_and_removes_the_rest(url):
    store = toy_store(url)
    kept = toy_selection(store, [1.0, 0.0, 1.0, 0.0])
    unreached = Request(kind="scores", settings={"method": "none"})
    with store.write(unreached) as draft:
        draft.add_bytes("model", "model.bin", b"abc")
    left = f"artifacts/{kept}/w{'0' * 16}/selection-00000.parquet"
    store.files.replace(left, b"half")
    assert Sweep(store.files, grace_seconds=3600).find() == []
    waste = Sweep(store.files, grace_seconds=0)
    assert {one.what: len(one.files) for one in waste.find()} == {"artifact": 2, "leftover": 1}
    assert len(list(waste.remove())) == 2
    assert store.artifacts.ids() == sorted([DATASET.id, kept])
    assert store.files.below(f"artifacts/{unreached.id}") == []
    assert not store.files.exists(left)
    assert [*check_store(store.files)] == []
    assert waste.find() == []


def test_gc_leaves_alone_what_a_process_of_this_machine_is_writing(url):
    store = toy_store(url)
    request = Request(kind="scores", settings={"method": "none"})
    with store.write(request) as draft:
        draft.add_bytes("model", "model.bin", b"abc")
        assert Sweep(ObjectFiles(url), grace_seconds=0).find() == []
    assert Store.open(url).has(request.id)


def test_a_failed_draft_leaves_nothing(url):
    store = Store.create(url)
    with pytest.raises(RuntimeError), store.write(DATASET) as draft:
        draft.add_table("examples", ROWS)
        raise RuntimeError("out of luck")
    assert store.files.below("artifacts") == []
    assert [one for one in store.files.root.rglob("*") if one.is_file()] == []


def test_the_second_writer_of_an_artifact_discards_its_own(url):
    first, second = Store.create(url), Store.create(url)
    with first.write(DATASET) as one, second.write(DATASET) as other:
        for draft in (one, other):
            draft.add_table("examples", ROWS)
    record = Store.open(url).record(DATASET.id)
    assert {file.path for file in record.files} < set(first.files.below("artifacts"))
    assert len(first.files.below("artifacts")) == 2


def test_of_two_publishers_that_want_one_number_each_gets_its_own(url):
    toy_store(url)
    ids = []
    for number in range(2):
        request = Request(kind="selection", settings={"number": number}, inputs={"dataset": DATASET.id})
        with Store.open(url).write(request) as draft:
            draft.add_bytes("note", "note.txt", b"1")
        ids.append(request.id)
    together = threading.Barrier(2, timeout=30)
    waited: set[int] = set()

    def wait(operation: str, path: str) -> None:
        if operation == "put" and path.startswith("versions/") and threading.get_ident() not in waited:
            waited.add(threading.get_ident())
            together.wait()

    published = {}

    def publish(artifact: str) -> None:
        published[artifact] = Store.create(ObjectFiles(url, wait)).publish("subset", "race", artifact).number

    threads = [threading.Thread(target=publish, args=(artifact,)) for artifact in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(published.values()) == [1, 2]
    assert {one.artifact: one.number for one in Store.open(url).versions("subset", "race")} == published


def test_a_publisher_that_stands_on_an_old_version_is_told(url):
    store = toy_store(url)
    first = store.version("dataset", "toys")
    request = Request(kind="dataset", settings={"name": "others"})
    with store.write(request) as draft:
        draft.add_table("examples", ROWS)
    store.publish("dataset", "toys", request.id, after=first)
    with pytest.raises(ConflictError, match="is no longer the newest version"):
        store.publish("dataset", "toys", DATASET.id, after=first)


def test_notes_and_checkpoints_are_replaced(url):
    store = Store.create(url)
    for number in range(2):
        store.remember("runs", "one", {"number": number})
        store.checkpoints.save("training-1", {"weights": np.full(3, number)}, {"epoch": number})
    arrays, card = Store.open(url).checkpoints.load("training-1")
    assert (Store.open(url).remembered("runs", "one"), card) == ({"number": 1}, {"epoch": 1})
    assert arrays["weights"].tolist() == [1, 1, 1]
    store.checkpoints.remove("training-1")
    assert store.checkpoints.load("training-1") is None


def test_a_file_of_many_parts_arrives_whole(url, server, elsewhere):
    store = Store.create(url)
    request = Request(kind="model", settings={})
    data = bytes(range(256)) * (70 * 1024)  # 17.5 MiB: three parts
    with store.write(request) as draft:
        draft.add_bytes("model", "model.bin", data)
    assert sum("partNumber" in one.query for one in server.asked) == 3
    elsewhere()
    store = Store.open(url)
    assert store.files.local(store.record(request.id).files)[0].read_bytes() == data
    assert [*check_store(store.files)] == []


def test_no_catalogue_file_is_published_since_it_would_name_local_copies(url):
    store = toy_store(url)
    assert store.publish_catalog() == 0
    assert store.files.below("published") == []


def test_the_command_line_takes_a_url(url, tmp_path, monkeypatch):
    source = tmp_path / "flowers.csv"
    source.write_text("id,length,kind\n1,5.1,a\n2,6.2,b\n3,inf,a\n4,5.0,\n5,4.0,b\n")
    more, fixes = tmp_path / "more.csv", tmp_path / "fixes.csv"
    more.write_text("id,length,kind\n6,1.5,a\n")
    fixes.write_text("key,label\n1,b\n")
    monkeypatch.setenv("TAMIS_STORE", url)
    run("ingest", str(source), "--name", "flowers", "--label", "kind", "--key", "id", "--features", "length")
    assert "3 rows" in run("log", "flowers")
    run("ingest", str(more), "--name", "flowers", "--append")
    run("relabel", "flowers", str(fixes), "--by", "me", "--why", "seen")
    run("tag", "flowers@3", "best", "--kind", "dataset")
    answer = run("sql", "SELECT label FROM dataset.best ORDER BY example_id", "--format", "json")
    assert [row["label"] for row in json.loads(answer)] == ["b", "b", "b", "a"]
    assert "relabelled" in run("diff", "flowers@2", "flowers@3")
    assert "flowers:1" in run("why", "flowers:1")
    assert "No lock reaches other machines" in run("gc")
    assert "The store is as its records say" in run("fsck", "--store", url)
    assert "flowers@3" in run("log", "flowers", "--store", url)


@pytest.mark.slow
def test_the_demo_runs_over_objects_and_the_second_time_has_nothing_to_do(url, elsewhere):
    settings = [word for one in SMALL for word in ("--set", one)]
    first = run("run", "digits", "--no-prefect", "--store", url, *settings)
    assert f"--store {url}" in first
    assert "reused 0" in first
    elsewhere()
    assert "Nothing to compute" in run("run", "digits", "--no-prefect", "--store", url, *settings)
    kept = Store.open(url).sql('SELECT count(*) AS n FROM subset."digits-clean" WHERE weight > 0')
    assert kept["n"][0] == len(Store.open(url).subset("digits-clean"))
    assert "every hash equal" in run("reproduce", "digits-clean@1", "--store", url)


def test_opening_and_log_ask_as_often_as_the_page_on_object_stores_says(url, server):
    store = toy_store(url)
    for number in range(1, 4):
        toy_selection(store, [float(number), 0.0, 1.0, 0.0])
    server.asked.clear()
    Store.open(url)
    assert len(server.asked) == 1
    server.asked.clear()
    run("log", "toys-clean", "--store", url)
    assert len(server.asked) == 14 + 3 + 3
    server.asked.clear()
    run("log", "toys-clean", "--last", "1", "--store", url)
    assert len(server.asked) == 14 + 3 + 2
    server.asked.clear()
    run("sql", 'SELECT * FROM subset."toys-clean"', "--store", url)
    assert len(server.asked) == 6
