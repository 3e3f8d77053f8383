"""Folds: every example in exactly one of K parts, so that a model can judge rows that it never saw."""

import numpy as np
from numpy.typing import NDArray


def fold_numbers(
    contents: NDArray[np.unsignedinteger],
    labels: NDArray[np.integer],
    num_folds: int,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """The fold of each example: stratified by label, and the same for rows of equal content.

    Contents are dealt out like cards, class by class and within a class those of most rows first, otherwise in an
    order that the generator draws from the contents, however the rows are sorted. So folds differ by at most one
    content in their numbers of contents of a class that have so many rows. A class of fewer than K contents is in as
    many folds; where it has one, the model that judges it has never seen the class.

    Args:
        contents: (N,) or (N, W) whole numbers that are equal where the content is, such as hashes.
        labels: (N,) given classes; a content of several counts as its commonest, of equally common ones the smallest.
        num_folds: K, at least 2.
        generator: draws the order.

    Returns:
        (N,) folds in [0, K).

    Raises:
        ValueError: fewer than two folds, or fewer contents than folds.
    """
    if num_folds < 2:
        raise ValueError(f"num_folds must be at least 2, got {num_folds}")
    _, content_of, sizes = np.unique(contents, axis=0, return_inverse=True, return_counts=True)
    content_of = content_of.reshape(-1)
    if len(sizes) < num_folds:
        raise ValueError(
            f"{num_folds} folds need as many examples of differing content, and there are {len(sizes)}; "
            "ask for fewer folds"
        )
    drawn = generator.permutation(len(sizes))
    order = np.lexsort((drawn, -sizes, _commonest_labels(content_of, labels)))
    folds = np.empty(len(sizes), dtype=np.int64)
    folds[order] = np.arange(len(sizes)) % num_folds
    return folds[content_of]


def _commonest_labels(content_of: NDArray[np.integer], labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """The commonest label of each content, the smallest of equally common ones."""
    (contents, found), counts = np.unique(np.stack([content_of, labels]), axis=1, return_counts=True)
    order = np.lexsort((found, -counts, contents))
    _, firsts = np.unique(contents[order], return_index=True)
    commonest: NDArray[np.integer] = found[order][firsts]
    return commonest
