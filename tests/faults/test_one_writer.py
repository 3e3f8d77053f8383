import ast
from pathlib import Path

import pytest

from tests.faults.warm import ROOT
from tests.faults.writers import writes

PACKAGES = ("storage", "flows", "curation", "learners")
DOOR = "storage/files.py"
"""The one module through which everything in a store is written."""

ALLOWED = {
    "storage/catalog_file.py: ATTACH": "DuckDB writes the catalogue, called inside native_write",
    "storage/objects.py: mkdir": "the directory of local copies of an object store, outside every store",
    "storage/objects.py: os.utime": "marks a local copy, outside every store, as checked",
    "storage/query.py: TemporaryDirectory": "where DuckDB puts what does not fit in memory, outside the store",
    "learners/memory.py: TemporaryFile": "a nameless file for memories of examples that are not to fill the RAM; the "
    "system removes it with the process, and what outlives it is in a checkpoint, which passes the door",
    "flows/cli.py: os.open": "the null device takes the rest of the output when a pipe is closed",
    "flows/orchestrate.py: mkdtemp": "Prefect's own place where none is set, outside the store",
    "flows/reproduce_version.py: TemporaryDirectory": "a scratch store, which is written through its own door",
    "flows/report/answers.py: open w": "--output, a file that the user names",
    "flows/report/answers.py: write_csv": "--output, a file that the user names",
    "flows/report/answers.py: write_ndjson": "--output, a file that the user names",
    "flows/report/answers.py: ParquetWriter": "--output, a file that the user names",
    "flows/report/answers.py: write_table": "--output, a file that the user names",
    "flows/report/answers.py: replace": "--output, a file that the user names, takes its place once it is whole",
    "flows/report/answers.py: unlink": "--output, the half of a file that was not finished",
}
"""What else may write, by module and call, and why."""

ALLOWED_FOLDERS = {"storage/export/": "`tamis export`: a place that the user names"}
"""Whole folders that may write, and why."""


def sources() -> dict[str, str]:
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}


def found_in(texts: dict[str, str]) -> set[str]:
    checked = {
        path: text for path, text in texts.items() if path != DOOR and not path.startswith(tuple(ALLOWED_FOLDERS))
    }
    return {f"{path}: {call.partition(': ')[2]}" for path, text in checked.items() for call in writes(text)}


def test_nothing_writes_but_the_one_door_and_what_is_listed_with_its_reason():
    found = found_in(sources())
    assert found - set(ALLOWED) == set(), "pass these writes through storage/files.py, or list them with the reason"
    assert set(ALLOWED) - found == set(), "these write no more; take them off the list"


def test_only_one_module_speaks_to_object_stores():
    speakers = {
        path
        for path, text in sources().items()
        for node in ast.walk(ast.parse(text))
        if (isinstance(node, ast.Import) and any(one.name.split(".")[0] == "obstore" for one in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "obstore")
    }
    assert speakers <= {"storage/bucket.py"}


@pytest.mark.parametrize(
    "offence",
    [
        "open(path, 'w').write('x')",
        "open(path, mode='xb')",
        "open(path, mode)",
        "path.open('a')",
        "path.write_text('x')",
        "path.write_bytes(b'x')",
        "frame.write_parquet(path)",
        "frame.write_ndjson(path)",
        "frame.lazy().sink_parquet(path)",
        "pq.write_table(table, path)",
        "pq.ParquetWriter(path, schema)",
        "np.save(path, array)",
        "open_memmap(path, mode='w+', shape=(1,))",
        "array.tofile(path)",
        "torch.save(model, path)",
        "json.dump(value, stream)",
        "save_file(arrays, path)",
        "os.rename(old, new)",
        "os.remove(path)",
        "os.link(old, new)",
        "path.rename(new)",
        "path.replace(new)",
        "path.unlink()",
        "path.mkdir(parents=True)",
        "path.touch()",
        "shutil.copytree(old, new)",
        "shutil.rmtree(path)",
        "tempfile.mkdtemp()",
        "tempfile.NamedTemporaryFile()",
        "zipfile.ZipFile(path, 'w')",
        "connection.execute(\"COPY t TO 'x.parquet'\")",
        "connection.execute(f\"ATTACH '{path}' AS x\")",
    ],
)
def test_a_planted_writer_is_found(offence):
    planted = f"def save(path):\n    for one in path:\n        {offence}\n"
    assert len(writes(planted)) >= 1
    assert found_in({"curation/planted.py": planted}) - set(ALLOWED)


@pytest.mark.parametrize(
    "reading",
    [
        "path.open('rb')",
        "open(path)",
        "path.open(encoding='utf-8')",
        "zipfile.ZipFile(path)",
        "text.replace('a', 'b')",
        "replace(record, files=())",
        "frame.rename({'a': 'b'})",
        "frame.write_csv()",
        "Store.open(root)",
        "archive.open(name)",
    ],
)
def test_what_only_reads_is_no_writer(reading):
    assert writes(reading) == []


def test_a_native_library_may_write_where_the_watch_is_told_before_and_after():
    inside = "with draft.writing('x.parquet') as path:\n    frame.write_parquet(path)\n"
    assert writes(inside) == []
    assert writes(inside + "frame.write_parquet(path)\n") == ["3: write_parquet"]


def test_the_door_itself_would_be_found():
    assert len(writes(Path(ROOT / DOOR).read_text())) >= 8
