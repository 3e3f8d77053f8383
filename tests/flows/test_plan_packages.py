import sys

import polars as pl
import pytest

import curation.neighborhood
import curation.neighbors
from tests.flows.commands import tamis

RECIPE = """name = "rows"
[source]
location = "{folder}/rows.csv"
[columns]
features = ["x"]
label = "kind"
key = "row"
split = "part"
[signals.plane]
method = "features"
"""
MEDOIDS = """[selection]
subset = "middle"
method = "prototypes"
kind = "medoids"
signals = "plane"
num_prototypes = 2
fraction = 0.5
"""
NEAR = """[scorers.near]
method = "knn_distance"
signals = "plane"
num_neighbors = 3
{search}
"""
CLEANED = """[rebalance]
subset = "even"
method = "smote_enn"
"""
USEARCH = (
    "tamis: an approximate search for neighbours (search = 'exact' compares all pairs instead) needs usearch: "
    "pip install 'tamis[neighbors]'"
)


@pytest.fixture
def run(tmp_path, capsys):
    """The exit code, the last line on stderr, and how many artifacts there are after a run."""
    rows = {"row": range(20), "x": [float(row) for row in range(20)], "kind": ["a", "b"] * 10, "part": ["train"] * 20}
    pl.DataFrame(rows).write_csv(tmp_path / "rows.csv")

    def run(sections: str) -> tuple[int, str, int]:
        (tmp_path / "rows.toml").write_text(RECIPE.format(folder=tmp_path) + sections, encoding="utf-8")
        store = str(tmp_path / "store")
        code, _, err = tamis("run", str(tmp_path / "rows.toml"), "--store", store, "--no-prefect", capsys=capsys)
        return code, (err.splitlines() or [""])[-1], len(list((tmp_path / "store" / "artifacts").glob("*")))

    return run


@pytest.mark.parametrize(
    ("package", "sections", "told"),
    [
        ("kmedoids", MEDOIDS, "tamis: kind = 'medoids' needs kmedoids: pip install 'tamis[prototypes]'"),
        ("usearch", NEAR.format(search='search = "approximate"'), USEARCH),
        ("imblearn", CLEANED, "tamis: smote_enn needs imbalanced-learn: pip install 'tamis[rebalance]'"),
    ],
)
def test_a_package_that_is_missing_is_told_before_any_work(run, monkeypatch, package, sections, told):
    monkeypatch.setitem(sys.modules, package, None)
    assert run(sections) == (1, told, 0)


def test_packages_that_these_settings_do_without_are_not_asked_for(run, monkeypatch):
    for package in ("kmedoids", "usearch", "imblearn"):
        monkeypatch.setitem(sys.modules, package, None)
    code, told, _ = run(NEAR.format(search="") + MEDOIDS.replace('kind = "medoids"', 'kind = "centroids"'))
    assert code == 0, told


def test_what_is_done_already_needs_no_package(run, monkeypatch):
    sections = NEAR.format(search='search = "approximate"')
    assert run(sections)[0] == 0
    monkeypatch.setitem(sys.modules, "usearch", None)
    assert run(sections)[0] == 0


def test_a_graph_that_only_the_number_of_rows_asks_for_is_told_once_that_is_known(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch", None)
    monkeypatch.setattr(curation.neighbors, "EXACT_AT_MOST", 10)
    monkeypatch.setattr(curation.neighborhood, "_last", {})
    sections = NEAR.format(search="")
    code, told, made = run(sections)
    assert (code, told) == (1, USEARCH)
    assert made > 0
    assert run(sections) == (1, USEARCH, made)
