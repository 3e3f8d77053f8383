"""N-gram buckets: how often the n-grams of a text fall into each of a fixed number of buckets, by their hashes.

Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009, https://arxiv.org/abs/0902.2206,
without signs, as Xie et al., "Data Selection for Language Models via Importance Resampling", NeurIPS 2023,
https://arxiv.org/abs/2302.03169, use it. Case, width of letters and white space are disregarded.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curation.shingles import Unit, check_sizes, normalized, shingles
from storage.index import ExampleIndex

TEXTS_AT_ONCE = 1024
"""Texts that are counted together."""
MOST = np.iinfo(np.uint16).max


def check_counting(unit: Unit, sizes: Sequence[int], num_buckets: int) -> None:
    """Refuse what `check_sizes` refuses, and fewer than two buckets."""
    check_sizes(unit, sizes)
    if num_buckets < 2:
        raise ValueError(f"num_buckets must be at least 2, got {num_buckets}")


def bucket_counts(
    index: ExampleIndex, texts: Sequence[str], unit: Unit, sizes: Sequence[int], num_buckets: int
) -> NDArray[np.uint16]:
    """(N, num_buckets) counts, each row of its text alone.

    Args:
        index: N examples, for messages alone.
        texts: N texts.
        unit: what an n-gram is a run of.
        sizes: units in an n-gram.
        num_buckets: at least 2.

    Raises:
        ValueError: a bucket counts more than 16 bits hold.
    """
    cells = [normalized(text) for text in texts]
    counts = np.zeros((len(cells), num_buckets), dtype=np.uint16)
    for first in range(0, len(cells), TEXTS_AT_ONCE):
        block = cells[first : first + TEXTS_AT_ONCE]
        sums = np.zeros(len(block) * num_buckets, dtype=np.int64)
        for size in sizes:
            found = shingles(block, unit, size)
            rows = np.repeat(np.arange(len(block)), np.diff(found.offsets))
            buckets = (found.hashes % np.uint64(num_buckets)).astype(np.int64)
            sums += np.bincount(rows * num_buckets + buckets, minlength=len(sums))
        if len(sums) and sums.max() > MOST:
            broken = index[first + int(sums.argmax()) // num_buckets]
            raise ValueError(f"{broken!r} has {sums.max()} n-grams in one bucket, above {MOST}; part such a text")
        counts[first : first + len(block)] = sums.reshape(len(block), num_buckets)
    return counts
