"""Contamination n-grams: the long n-grams of words in a text, by their hashes, to be looked for in other texts.

Runs of 13 words without case and punctuation, as in Brown et al., "Language Models are Few-Shot Learners", NeurIPS
2020, appendix C, https://arxiv.org/abs/2005.14165.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curation.decontamination import word_ngrams
from curation.examiner import Examiner, check_column, texts
from storage.index import ExampleIndex
from storage.values import Array

TEXTS_AT_ONCE = 4096
"""Texts whose n-grams are hashed together."""


@dataclass(frozen=True, kw_only=True)
class ContaminationNgrams(Examiner):
    """Hash each n-gram of a text: `ngram_hashes` (N, most), 8 bytes an entry, 0 behind the last.

    A text of fewer words than an n-gram has none.
    """

    gives: ClassVar[tuple[str, ...]] = ("ngram_hashes",)

    column: str
    """Text column to read."""
    size: int = 13
    """Words in an n-gram, at least 1; 13 in the paper."""
    most: int = 1024
    """N-grams that a text has at most, at least 1; a longer text is an error, and each takes as much memory."""

    def __post_init__(self) -> None:
        check_column(self.column)
        for name, value in (("size", self.size), ("most", self.most)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def __call__(self, index: ExampleIndex, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Hashes in the order of the text.

        Raises:
            ValueError: a text has more n-grams than `most`.
        """
        cells = texts(index, columns, self.column)
        found = np.zeros((len(cells), self.most), dtype=np.uint64)
        for first in range(0, len(cells), TEXTS_AT_ONCE):
            block = cells[first : first + TEXTS_AT_ONCE]
            hashes, owners = word_ngrams(block, self.size)
            counts = np.bincount(owners, minlength=len(block))
            if counts.max() > self.most:
                broken = index[first + int(counts.argmax())]
                raise ValueError(f"{broken!r} has {counts.max()} n-grams, above {self.most}; part it or raise 'most'")
            slots = np.arange(len(hashes)) - np.repeat(np.cumsum(counts) - counts, counts)
            # 0 marks the end, so the one n-gram in 2^64 that has this hash is given another.
            found[first + owners, slots] = np.maximum(hashes, np.uint64(1))
        return {"ngram_hashes": found}
