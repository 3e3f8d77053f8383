import subprocess
import sys

IMPORTS = """
import importlib, pkgutil, sys
import learners
for found in pkgutil.walk_packages(learners.__path__, "learners."):
    importlib.import_module(found.name)
print(sorted({name.split(".")[0] for name in sys.modules} & {"duckdb", "prefect", "curation", "flows", "ray"}))
print(sum(name.startswith("learners.") for name in sys.modules))
"""


def test_learners_load_neither_duckdb_nor_prefect_nor_curation():
    found = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    loaded, count = found.stdout.split("\n")[:2]
    assert loaded == "[]"
    assert int(count) >= 15
