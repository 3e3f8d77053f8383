import numpy as np
import polars as pl
import pytest

from benchmarks.results import smote_table
from benchmarks.results.smote_table import area, check_parents, hull, main
from curation.rebalance.smote import SMOTE
from tests.curation.imbalanced import clouds


def test_area_and_hull_by_hand():
    # (0, 0), (0.2, 0.6), (0.6, 0.4), (0.5, 0.9), (1, 1), by false positives:
    # 0.2 * 0.3 + 0.3 * 0.75 + 0.1 * 0.65 + 0.4 * 0.7 = 0.06 + 0.225 + 0.065 + 0.28 = 0.63.
    points = np.array([[0.2, 0.6], [0.6, 0.4], [0.5, 0.9]])
    assert area(points) == pytest.approx(0.63)
    # The hull leaves (0.6, 0.4) out: 0.06 + 0.225 + 0.5 * 0.95 = 0.76.
    np.testing.assert_allclose(hull(points), [[0, 0], [0.2, 0.6], [0.5, 0.9], [1, 1]])
    assert area(hull(points)[1:-1]) == pytest.approx(0.76)


def test_rows_that_do_not_lie_between_their_parents_are_refused():
    rows = clouds(counts=(40, 12))
    made = SMOTE()(rows, np.random.default_rng(0))
    assert check_parents(rows, made) == 28
    made.features[3, 0] = np.nextafter(made.features[3, 0], np.inf)
    made.labels[5] = 1 - made.labels[5]
    with pytest.raises(ValueError, match="2 of 28 synthetic rows do not lie between their parents"):
        check_parents(rows, made)


def test_the_section_is_written_and_replaced(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    target = (np.arange(160) % 4 == 0).astype(np.int8)
    numbers = {f"x{column}": rng.normal(size=160) + target for column in range(3)}
    frame = pl.DataFrame({"id": np.arange(160), "label": target.astype(str), "target": target, **numbers})
    frame.write_parquet(tmp_path / "tab_pima.parquet")
    monkeypatch.setattr(smote_table, "CUTS", (25, 100, 200))
    document = tmp_path / "results.md"
    document.write_text("# Results\n", encoding="utf-8")
    arguments = [
        "--data",
        str(tmp_path),
        "--document",
        str(document),
        "--only",
        "pima",
        "--kept",
        str(tmp_path / "kept"),
    ]
    main(arguments)
    first = document.read_text(encoding="utf-8")
    monkeypatch.setattr(smote_table, "curves", None)
    main(arguments)
    assert document.read_text(encoding="utf-8") == first
    lines = [line.split(" | ") for line in first.splitlines() if line.startswith("| pima")]
    assert [line[0] for line in lines] == ["| pima, 120 / 40"] * 2
    # 36 rows of the small class in each of ten folds, and as many synthetic ones.
    assert lines[1][-1] == "360 |"
    assert 0.5 < float(lines[0][2]) < 1
    assert capsys.readouterr().out.count("| pima") == 4
