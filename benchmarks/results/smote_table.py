"""SMOTE with under-sampling beside under-sampling alone, on four tables of the paper and by its protocol.

    python -m benchmarks.results.smote_table --data $TAMIS_DATA [--document docs/results.md] [--only pima ...]
                                             [--kept FOLDER]

Chawla, Bowyer, Hall, Kegelmeyer, JAIR 16, 2002. https://doi.org/10.1613/jair.953

A decision tree is fitted to the training folds of 10-fold cross-validation, in which the small class grew by so many
per cent and the large class was cut to each of 18 sizes; a size that is more than there is leaves all. Each size is a
point: the rates of false and true positives, mean over folds. A curve goes from (0, 0) through the point of the rows as
they are and these points to (1, 1), and its area is taken by trapezoids; a gain has the standard error of its mean
over folds. The hull is the curve's convex hull; the last but one column counts points on the hull of all curves of
the table. Rows are cut in one drawn order, the same for all curves. Every synthetic row is made again from its parents
and must be equal to the last bit, and its parents must be rows of the small class in the training folds.

Differs from the paper: scikit-learn's tree by entropy, with at least 2 rows a leaf and no pruning, in place of C4.5;
bases of synthetic rows are drawn with replacement. Reads `tab_<name>.parquet`: `id`, `label`, `target` (1 for the small
class), and numbers.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from sklearn.tree import DecisionTreeClassifier

from benchmarks.results.document import markdown
from benchmarks.results.kept_rows import Row, digest, rows_of
from curation.rebalance.smote import SMOTE
from curation.rebalancer import Rebalanced, TrainingRows
from flows.seeding import derived_seed
from storage.index import ExampleIndex

Points = NDArray[np.float64]
"""(P, 2) rates of false and of true positives."""
Curves = dict[int, NDArray[np.float64]]
"""(F, P, 2) points in each fold by the per cent of synthetic rows."""

PUBLISHED: dict[str, dict[int, int]] = {
    "pima": {0: 7242, 100: 7307},
    "phoneme": {0: 8622, 100: 8644, 200: 8661},
    "satimage": {0: 8900, 100: 8957, 200: 8979, 300: 8963, 400: 8975, 500: 8960},
    "mammography": {0: 9260, 100: 9250, 200: 9265, 300: 9311, 400: 9330, 500: 9304},
}
"""The paper's areas times 10,000 by the per cent of synthetic rows; 0 is under-sampling alone."""
CUTS = (10, 15, 25, 50, 75, 100, 125, 150, 175, *range(200, 900, 100), 1000, 2000)
"""Rows of the small class, before it grew, in per cent of what is left of the large one."""
NUM_FOLDS = 10
SEED = 0
CLASSES = ("large", "small")
BEGIN, END = "<!-- smote_paper -->", "<!-- end of smote_paper -->"
COMMAND = "`make results-curation ONLY=smote`; seed 0."


def area(points: Points) -> float:
    """Area under a curve through (0, 0), the points by their false positives, and (1, 1)."""
    curve = np.vstack([np.zeros((1, 2)), points[np.lexsort((points[:, 1], points[:, 0]))], np.ones((1, 2))])
    return float(np.trapezoid(curve[:, 1], curve[:, 0]))


def hull(points: Points) -> Points:
    """The upper convex hull of the points with (0, 0) and (1, 1), by Graham's scan from the left."""
    every = np.unique(np.vstack([[(0.0, 0.0), (1.0, 1.0)], points]), axis=0)
    found: list[NDArray[np.float64]] = []
    for point in every:
        while len(found) > 1 and _turn(found[-2], found[-1], point) >= 0:
            found.pop()
        found.append(point)
    return np.array(found)


def _turn(first: Points, second: Points, third: Points) -> float:
    """Above 0 for a turn to the left."""
    one, other = second - first, third - first
    return float(one[0] * other[1] - one[1] * other[0])


def check_parents(rows: TrainingRows, made: Rebalanced) -> int:
    """How many synthetic rows there are, each of which is where its parents and gap say.

    Raises:
        ValueError: one is not, or a parent is of another class.
    """
    first, second = rows.features[made.parent_a], rows.features[made.parent_b]
    again = first + made.gap[:, None] * (second - first)
    own = (rows.labels[made.parent_a] == made.labels) & (rows.labels[made.parent_b] == made.labels)
    good = own & (again == made.features).all(axis=1) & (made.gap >= 0) & (made.gap < 1)
    if not good.all():
        raise ValueError(f"{int((~good).sum())} of {len(made)} synthetic rows do not lie between their parents")
    return len(made)


def curves(table: pl.DataFrame, name: str) -> tuple[Curves, dict[int, int]]:
    """The points of each curve, the first that of the rows as they are; and how many synthetic rows were checked."""
    labels = table["target"].to_numpy().astype(np.int64)
    features = table.drop("id", "label", "target").to_numpy().astype(np.float64)
    ids = np.array([f"{name}:{key}" for key in table["id"]])
    rates: dict[int, list[Points]] = {amount: [] for amount in PUBLISHED[name]}
    checked = dict.fromkeys(rates, 0)
    folds = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=derived_seed(SEED, "smote", name))
    for fold, (training, test) in enumerate(folds.split(features, labels)):
        index = ExampleIndex(ids[training].tolist())
        rows = TrainingRows(index=index, features=features[training], labels=labels[training], classes=CLASSES)
        large = np.random.default_rng(derived_seed(SEED, "cut", name, fold)).permutation(rows.members(0))
        held_out, num_small = (features[test], labels[test]), int(rows.counts[1])
        sizes = [min(len(large), num_small * 100 // cut) for cut in CUTS]
        plain = _rates(rows.features, rows.labels, *held_out)
        for amount, found in rates.items():
            small, count = _grown(rows, amount, np.random.default_rng(derived_seed(SEED, "smote", name, fold, amount)))
            checked[amount] += count
            points = {}
            for size in sizes:
                if size not in points:
                    both = np.concatenate([rows.features[large[:size]], small])
                    points[size] = _rates(both, np.arange(len(both)) >= size, *held_out)
            found.append(np.stack([plain, *(points[size] for size in sizes)]))
    return {amount: np.stack(found) for amount, found in rates.items()}, checked


def _grown(rows: TrainingRows, amount: int, rng: np.random.Generator) -> tuple[Points, int]:
    """Features of the small class after so many per cent were added, and how many were."""
    small = rows.features[rows.members(1)]
    if not amount:
        return small, 0
    made = SMOTE(balance={CLASSES[1]: len(small) * (100 + amount) // 100})(rows, rng)
    return np.concatenate([small, made.features]), check_parents(rows, made)


def _rates(features: Points, labels: NDArray[np.generic], held_out: Points, truth: NDArray[np.int64]) -> Points:
    """(2,) rates of false and true positives on rows that were held out."""
    tree = DecisionTreeClassifier(criterion="entropy", min_samples_leaf=2, random_state=SEED)
    said = tree.fit(features, labels.astype(np.int64)).predict(held_out)
    return np.array([said[truth == 0].mean(), said[truth == 1].mean()])


def rows(data: Path, names: Sequence[str] = tuple(PUBLISHED), kept: Path | None = None) -> Iterator[list[Row]]:
    """The rows of the document's table, a table of the paper at a time; from the folder where they are kept there."""
    for name in names:
        path = data / f"tab_{name}.parquet"
        yield rows_of(kept, f"smote_{name}", digest([path], name), partial(_rows_of_table, path, name))


def _rows_of_table(path: Path, name: str) -> list[Row]:
    table = pl.read_parquet(path)
    folds, checked = curves(table, name)
    points = {amount: curve.mean(axis=0) for amount, curve in folds.items()}
    best = {tuple(point) for point in hull(np.concatenate(list(points.values())))} - {(0.0, 0.0), (1.0, 1.0)}
    published = PUBLISHED[name]
    return [
        {
            "table": f"{name}, {(table['target'] == 0).sum():,} / {(table['target'] == 1).sum():,}",
            "synthetic": f"{amount} %" if amount else "none",
            "AUC": f"{area(curve):.4f}",
            "published": f"{published[amount] / 1e4:.4f}",
            "gain": gain(folds[amount], folds[0]) if amount else "",
            "published gain": f"{(published[amount] - published[0]) / 100:+.2f}" if amount else "",
            "hull": f"{area(hull(curve)[1:-1]):.4f}",
            "on the hull of all": str(len(best & {tuple(point) for point in curve})),
            "rows checked": f"{checked[amount]:,}" if amount else "",
        }
        for amount, curve in points.items()
    ]


def gain(curve: NDArray[np.float64], base: NDArray[np.float64]) -> str:
    """How many points of area a curve is above another, with the standard error over folds."""
    by_fold = [area(one) - area(other) for one, other in zip(curve, base, strict=True)]
    error = np.std(by_fold, ddof=1) / np.sqrt(len(by_fold))
    return f"{100 * (area(curve.mean(axis=0)) - area(base.mean(axis=0))):+.2f} ± {100 * error:.2f}"


def with_rows(text: str, found: Sequence[Row]) -> str:
    """The document with these rows in its section, which is added at the end where there is none."""
    section = f"{BEGIN}\n\n{markdown(found)}\n\n{COMMAND}\n\n{END}"
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: section, text)
    return f"{text.rstrip()}\n\n### SMOTE on tables of its paper\n\n{section}\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it to the document as it grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the tables' Parquet files")
    parser.add_argument("--document", type=Path, help="where the section is written; else it is printed alone")
    parser.add_argument("--only", nargs="+", choices=list(PUBLISHED), default=list(PUBLISHED))
    parser.add_argument("--kept", type=Path, help="folder with rows that need not be made again")
    chosen = parser.parse_args(arguments)
    found: list[Row] = []
    for more in rows(chosen.data, chosen.only, chosen.kept):
        found += more
        if chosen.document is not None:
            text = chosen.document.read_text(encoding="utf-8")
            chosen.document.write_text(with_rows(text, found), encoding="utf-8")
    print(markdown(found))


if __name__ == "__main__":
    main()
