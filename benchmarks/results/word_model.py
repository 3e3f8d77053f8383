"""Word model: a trigram language model of words, small enough to train on millions of words in seconds.

Interpolated Kneser-Ney smoothing with one discount for each order, from how many n-grams occur once and twice: Chen,
Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling", Computer Speech and Language 13, 1999,
https://doi.org/10.1006/csla.1999.0128, sections 2.7 and 3.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.int64]
Reals = NDArray[np.float64]

UNKNOWN, BEGIN = 0, 1
"""Numbers of all words outside the vocabulary, and of the mark that stands twice before each text."""
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, kw_only=True, eq=False)
class Vocabulary:
    """Numbers for words; the same one for models that are to be compared."""

    numbers: dict[str, int]
    """From 2 on."""

    def __len__(self) -> int:
        return len(self.numbers) + 2

    @classmethod
    def of(cls, texts: Sequence[str], least: int = 2) -> "Vocabulary":
        """Words that occur at least so often in the texts."""
        counts: dict[str, int] = {}
        for text in texts:
            for word in _WORD.findall(text.casefold()):
                counts[word] = counts.get(word, 0) + 1
        known = sorted(word for word, count in counts.items() if count >= least)
        return cls(numbers={word: number for number, word in enumerate(known, start=2)})

    def trigrams(self, texts: Sequence[str]) -> Words:
        """(L, 3) each word of the texts behind the two before it."""
        parts = [np.zeros((0, 3), dtype=np.int64)]
        for text in texts:
            words = [BEGIN, BEGIN, *(self.numbers.get(word, UNKNOWN) for word in _WORD.findall(text.casefold()))]
            row = np.array(words, dtype=np.int64)
            parts.append(np.stack([row[:-2], row[1:-1], row[2:]], axis=1))
        return np.concatenate(parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Order:
    """How often each word follows each context, and what is left for the order below."""

    keys: Words
    """Context and word of each distinct n-gram as one number, ascending."""
    shares: Reals
    """Discounted share of each among all that follows its context."""
    contexts: Words
    """Distinct contexts, ascending."""
    left: Reals
    """Share of each context that is left for the order below."""

    @classmethod
    def counted(cls, contexts: Words, words: Words, num_words: int) -> "_Order":
        """From the context and the word of every n-gram that counts."""
        keys, counts = np.unique(contexts * num_words + words, return_counts=True)
        once, twice = (int(np.count_nonzero(counts == often)) for often in (1, 2))
        discount = once / (once + 2 * twice) if once else 0.5
        owners, begins = np.unique(keys // num_words, return_index=True)
        totals = np.add.reduceat(counts, begins)
        kinds = np.diff(np.append(begins, len(keys)))
        shares = np.maximum(counts - discount, 0.0) / np.repeat(totals, kinds)
        return cls(keys=keys, shares=shares, contexts=owners, left=discount * kinds / totals)

    def blended(self, contexts: Words, words: Words, num_words: int, below: Reals) -> Reals:
        """(L,) probabilities: the discounted share, and what is left by the order below."""
        found = _at(self.keys, self.shares, contexts * num_words + words, 0.0)
        left = _at(self.contexts, self.left, contexts, 1.0)
        return found + left * below


@dataclass(frozen=True, kw_only=True, eq=False)
class WordModel:
    """Probabilities of words behind the two before them."""

    vocabulary: Vocabulary
    orders: tuple[_Order, _Order, _Order]
    """Of one, two and three words."""

    @classmethod
    def trained(cls, texts: Sequence[str], vocabulary: Vocabulary) -> "WordModel":
        """Count the n-grams of some texts; the lower orders count how many contexts an n-gram has, as Kneser-Ney do."""
        size, rows = len(vocabulary), vocabulary.trigrams(texts)
        contexts = rows[:, 0] * size + rows[:, 1]
        latter = np.unique(contexts * size + rows[:, 2]) % (size * size)
        lasts = np.unique(latter) % size
        orders = (
            _Order.counted(np.zeros(len(lasts), dtype=np.int64), lasts, size),
            _Order.counted(latter // size, latter % size, size),
            _Order.counted(contexts, rows[:, 2], size),
        )
        return cls(vocabulary=vocabulary, orders=orders)

    def probabilities(self, rows: Words) -> Reals:
        """(L,) of the last word of each row (L, 3), all words of the vocabulary being possible."""
        size = len(self.vocabulary)
        contexts = (np.zeros(len(rows), dtype=np.int64), rows[:, 1], rows[:, 0] * size + rows[:, 1])
        found = np.full(len(rows), 1.0 / size)
        for order, context in zip(self.orders, contexts, strict=True):
            found = order.blended(context, rows[:, 2], size, found)
        return found

    def perplexity(self, texts: Sequence[str]) -> float:
        """2 to the mean bits a word of the texts takes; words outside the vocabulary are left out of the mean."""
        rows = self.vocabulary.trigrams(texts)
        known = rows[rows[:, 2] != UNKNOWN]
        return float(np.exp(-np.log(self.probabilities(known)).mean()))


def _at(keys: Words, values: Reals, wanted: Words, otherwise: float) -> Reals:
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: Reals = np.where(keys[places] == wanted, values[places], otherwise)
    return found
