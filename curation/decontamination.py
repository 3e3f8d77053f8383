"""Decontamination check: which documents of a pool share long n-grams of words with evaluation sets, and how many.

The recipe of Brown et al., "Language Models are Few-Shot Learners", NeurIPS 2020, appendix C,
https://arxiv.org/abs/2005.14165, with runs of 13 words, without case and punctuation; as in Mizrahi et al., 2025,
https://arxiv.org/abs/2507.12466, runs that occur more than 10,000 times in the pool are ignored.

Differs from the papers: documents are reported, and nothing is cut out of them.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from curation.shingles import normalized, shingles

Hashes = NDArray[np.uint64]
Counts = NDArray[np.int64]
Blocks = Callable[[], Iterable[Sequence[str]]]
"""Gives the texts of a pool block by block, anew at each call: the pool is read twice."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationNgrams:
    """The distinct n-grams of evaluation texts."""

    size: int
    """Words in an n-gram."""
    hashes: Hashes
    """(H,) their hashes, ascending."""
    owners: Counts
    """(H,) the first evaluation text that has each."""
    num_short: int
    """Evaluation texts of fewer words, which cannot be looked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedNgrams:
    """What the N documents of a pool share with the evaluation texts."""

    num_shared: Counts
    """(N,) n-grams of each document, repeats included, that an evaluation text has too."""
    num_ngrams: Counts
    """(N,) n-grams of each document, repeats included."""
    evaluation: Counts
    """(N,) the evaluation text that has the first shared n-gram; -1 where none is shared."""
    num_ignored: int
    """Distinct evaluation n-grams that were ignored because the pool has them too often."""


def evaluation_ngrams(texts: Sequence[str], size: int = 13) -> EvaluationNgrams:
    """The n-grams to look for.

    Args:
        texts: evaluation texts, in their order.
        size: words in an n-gram, at least 1.
    """
    hashes, owners = word_ngrams(texts, size)
    distinct, firsts = np.unique(hashes, return_index=True)
    num_short = sum(len(_words(text).split()) < size for text in texts)
    return EvaluationNgrams(size=size, hashes=distinct, owners=owners[firsts], num_short=num_short)


def shared_ngrams(pool: Blocks, known: EvaluationNgrams, most_in_pool: int = 10_000) -> SharedNgrams:
    """How many n-grams each document of a pool shares with the evaluation texts.

    Args:
        pool: gives the documents; memory is that of a block and of the evaluation n-grams.
        known: what to look for.
        most_in_pool: n-grams that occur more often in the pool are ignored; at least 1.
    """
    if most_in_pool < 1:
        raise ValueError(f"most_in_pool must be at least 1, got {most_in_pool}")
    occurrences = np.zeros(len(known.hashes), dtype=np.int64)
    for block in pool():
        hashes, _ = word_ngrams(block, known.size)
        occurrences += np.bincount(found_among(hashes, known.hashes)[1], minlength=len(occurrences))
    wanted = occurrences <= most_in_pool
    parts = [_shared(block, known, wanted) for block in chain([()], pool())]
    shared, ngrams, evaluation = (np.concatenate(column) for column in zip(*parts, strict=True))
    return SharedNgrams(
        num_shared=shared, num_ngrams=ngrams, evaluation=evaluation, num_ignored=int(np.count_nonzero(~wanted))
    )


def found_among(hashes: Hashes, known: Hashes) -> tuple[Counts, Counts]:
    """Positions of the hashes that are known, ascending, and the entry of each among the known ones, themselves so."""
    if not len(known):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    entries = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    places = np.flatnonzero(known[entries] == hashes)
    return places.astype(np.int64), entries[places].astype(np.int64)


def word_ngrams(texts: Sequence[str], size: int) -> tuple[Hashes, Counts]:
    """Hashes of all n-grams of words in the order of the texts, and the text of each; shorter texts have none.

    Args:
        texts: as they are; case and punctuation are disregarded.
        size: words in an n-gram, at least 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    cells = [_words(text) for text in texts]
    found = shingles([cell if cell.count(" ") + 1 >= size else "" for cell in cells], "word", size)
    return found.hashes, np.repeat(np.arange(len(texts)), np.diff(found.offsets)).astype(np.int64)


def _shared(texts: Sequence[str], known: EvaluationNgrams, wanted: NDArray[np.bool_]) -> tuple[Counts, Counts, Counts]:
    hashes, documents = word_ngrams(texts, known.size)
    places, entries = found_among(hashes, known.hashes)
    kept = wanted[entries]
    places, entries = places[kept], entries[kept]
    evaluation = np.full(len(texts), -1, dtype=np.int64)
    owners, firsts = np.unique(documents[places], return_index=True)
    evaluation[owners] = known.owners[entries[firsts]]
    num_shared = np.bincount(documents[places], minlength=len(texts))
    return num_shared, np.bincount(documents, minlength=len(texts)), evaluation


def _words(text: str) -> str:
    """The words of a text, in lower case and without punctuation, parted by single spaces."""
    return " ".join(_WORD.findall(normalized(text)))
