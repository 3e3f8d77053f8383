import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import curation
names = [found.name for found in pkgutil.walk_packages(curation.__path__, "curation.")]
for name in names:
    importlib.import_module(name)
print(len(names))
print(sorted({"torch", "duckdb", "prefect"} & set(sys.modules)))
"""


def run(code: str) -> list[str]:
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120
    )
    return finished.stdout.split("\n")


def test_no_module_of_curation_loads_torch_duckdb_or_prefect():
    count, loaded, _ = run(IMPORT_EVERYTHING)
    assert int(count) >= 14
    assert loaded == "[]"


def test_importing_curation_loads_no_array_library():
    heavy = run("import sys, curation; print(sorted({'numpy', 'polars', 'sklearn', 'scipy'} & set(sys.modules)))")
    assert heavy[0] == "[]"
