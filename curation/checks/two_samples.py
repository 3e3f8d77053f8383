"""Two samples: whether a classifier tells two sets of examples apart, such as those kept and those dropped.

Lopez-Paz, Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017. https://arxiv.org/abs/1610.06545 On texts by
their words alone, as in Meeus, Shilov, Jain, Faysse, Rei, de Montjoye, "SoK: Membership Inference Attacks on LLMs
are Rushing Nowhere (and How to Fix It)", 2024. https://arxiv.org/abs/2406.17975 The interval is that of LeDell,
Petersen, van der Laan, "Computationally efficient confidence intervals for cross-validated area under the ROC curve
estimates", Electronic Journal of Statistics 9, 2015. https://doi.org/10.1214/15-EJS1035

Differs from the papers: the area under the ROC curve in place of accuracy, because the samples differ in size; a
linear classifier, on numbers of each column and its square, which sees different means and spreads and not, say, the
middles of clumps; and a variance twice as large, which makes the interval hold where the samples do not differ. There
the classifier never settles, as the interval's authors suppose: what part the samples by chance in two folds agrees or
not, and both folds' areas rise or fall with it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from scipy.stats import rankdata

from curation.shingles import normalized, shingles

Mask = NDArray[np.bool_]
Numbers = NDArray[np.floating]
Matrix: TypeAlias = NDArray[np.floating] | csr_array

NUM_FOLDS = 5
"""Parts of the rows; each is scored by a classifier fitted on the others."""
MIN_ROWS = 4 * NUM_FOLDS
"""Distinct rows that a sample needs: four in every fold."""
MAX_ROWS = 10_000
"""Rows of a sample that are compared at most; with so many the interval is about 0.01 wide on either side."""
Z_95 = 1.959963984540054
"""Quantile of the normal distribution for intervals of 95 %."""


@dataclass(frozen=True, kw_only=True)
class TwoSamples:
    """How well two samples can be told apart."""

    auroc: float
    """Probability that the classifier puts a row of the first sample above one of the second, in [0, 1]; 0.5 is
    chance."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end of it."""
    num_first: int
    """Rows of the first sample."""
    num_second: int
    """Rows of the second sample."""

    @property
    def is_distinguishable(self) -> bool:
        """Whether the whole interval lies above chance."""
        return self.low > 0.5

    def sentence(self, first: str, second: str) -> str:
        """The verdict in words; `first` and `second` name the samples."""
        verdict = "distinguishable" if self.is_distinguishable else "not shown to be distinguishable"
        found = f"AUROC {self.auroc:.2f} [{self.low:.2f}, {self.high:.2f}]"
        return f"{first} is {verdict} from {second} by a linear classifier: {found}"


def are_enough(belongs: Mask, contents: NDArray[np.int64]) -> bool:
    """Whether both samples have at least `MIN_ROWS` rows of different content."""
    return all(len(np.unique(contents[side])) >= MIN_ROWS for side in (belongs, ~belongs))


def two_samples(rows: Matrix, belongs: Mask, contents: NDArray[np.int64], generator: np.random.Generator) -> TwoSamples:
    """Whether a linear classifier, fitted on other rows, tells two samples apart.

    Args:
        rows: (N, D) finite numbers, whose columns and their squares are brought to one scale; or sparse rows, taken as
            they are.
        belongs: (N,) which rows are of the first sample; the others are of the second.
        contents: (N,) equal numbers for rows of equal content: these are never fitted and scored apart.
        generator: deals the rows out to folds.

    Returns:
        The mean over folds of the area under the ROC curve, with the interval that the rows within them leave.

    Raises:
        ValueError: a sample has fewer than `MIN_ROWS` rows of different content.
    """
    if not are_enough(belongs, contents):
        raise ValueError(
            f"both samples need at least {MIN_ROWS} rows of different content, got {int(belongs.sum())} and "
            f"{int((~belongs).sum())} rows"
        )
    fold_of = folds(belongs, contents, generator)
    found = []
    for fold in range(NUM_FOLDS):
        asked = fold_of == fold
        margins = _margins(rows, belongs, ~asked, asked)
        found.append(auroc_with_variance(margins[belongs[asked]], margins[~belongs[asked]]))
    auroc = float(np.mean([one[0] for one in found]))
    reach = Z_95 * math.sqrt(2 * sum(one[1] for one in found)) / NUM_FOLDS
    return TwoSamples(
        auroc=auroc,
        low=max(0.0, auroc - reach),
        high=min(1.0, auroc + reach),
        num_first=int(belongs.sum()),
        num_second=int((~belongs).sum()),
    )


def auroc_with_variance(first: NDArray[np.floating], second: NDArray[np.floating]) -> tuple[float, float]:
    """Area under the ROC curve, and the variance of that estimate.

    DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves", Biometrics 44, 1988. https://doi.org/10.2307/2531595 It is 0 where nothing overlaps.

    Args:
        first: (N,) numbers that should be high, N at least 2.
        second: (M,) numbers that should be low, M at least 2.
    """
    ranks = rankdata(np.concatenate([first, second]))
    below = (ranks[: len(first)] - rankdata(first)) / len(second)
    above = 1 - (ranks[len(first) :] - rankdata(second)) / len(first)
    variance = below.var(ddof=1) / len(first) + above.var(ddof=1) / len(second)
    return float(below.mean()), float(variance)


def folds(belongs: Mask, contents: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """(N,) fold of each row in [0, NUM_FOLDS): equal contents in one, both samples spread evenly over all."""
    _, content = np.unique(contents, return_inverse=True)
    shares = np.bincount(content, weights=belongs) / np.bincount(content)
    order = np.lexsort((generator.permutation(len(shares)), shares))
    fold = np.empty(len(shares), dtype=np.int64)
    fold[order] = np.arange(len(shares)) % NUM_FOLDS
    dealt: NDArray[np.int64] = fold[content]
    return dealt


def bag_of_words(texts: Sequence[str]) -> csr_array:
    """(N, W) rows of length 1, a column a word: the logarithm of one more than how often it occurs in the text."""
    found = shingles([normalized(text) for text in texts], "word", 1)
    words, columns = np.unique(found.hashes, return_inverse=True)
    counts = csr_array((np.ones(len(columns)), columns, found.offsets), shape=(len(texts), max(len(words), 1)))
    counts.sum_duplicates()
    counts.data = np.log1p(counts.data)
    row = np.repeat(np.arange(len(texts)), np.diff(counts.indptr))
    lengths = np.sqrt(np.bincount(row, weights=counts.data**2, minlength=len(texts)))
    counts.data /= lengths[row]
    return counts


def _scaled(known: Numbers, new: Numbers) -> tuple[Numbers, Numbers]:
    """Columns less their mean, divided by their deviation, both of the known rows."""
    middle, spread = known.mean(axis=0, dtype=np.float64), known.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 0, spread, 1.0)
    return (known - middle) / scale, (new - middle) / scale


def _margins(rows: Matrix, belongs: Mask, fitted: Mask, asked: Mask) -> NDArray[np.float64]:
    """How far each row asked for lies on the first sample's side of a plane fitted on others."""
    from sklearn.linear_model import LogisticRegression

    known, new = rows[np.flatnonzero(fitted)], rows[np.flatnonzero(asked)]
    if not issparse(rows):
        known, new = _scaled(known, new)
        known, new = (np.hstack(pair) for pair in zip((known, new), _scaled(known**2, new**2), strict=True))
        # Rows of length about 1, whatever the number of columns, so that one penalty fits all.
        known, new = (one / math.sqrt(known.shape[1]) for one in (known, new))
    model = LogisticRegression(class_weight="balanced", max_iter=1000).fit(known, belongs[fitted])
    margins: NDArray[np.float64] = model.decision_function(new)
    return margins
