"""Latent space: few dimensions that keep most of what tells weighted texts apart, found on a sample of documents.

Latent semantic analysis: Deerwester, Dumais, Furnas, Landauer, Harshman, "Indexing by Latent Semantic Analysis",
Journal of the American Society for Information Science 41, 1990,
https://doi.org/10.1002/(SICI)1097-4571(199009)41:6%3C391::AID-ASI1%3E3.0.CO;2-9, by scikit-learn's randomised
decomposition. The space is two arrays: whoever keeps them maps later texts as the earlier ones, each from itself alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from storage.values import Array

MOST_FITTED = 20_000
"""Documents on which directions are found at most, where a method does not say how many; of more, so many are drawn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentSpace:
    """D directions among weighted n-grams in B buckets, and how the n-grams are weighted."""

    rarity: NDArray[np.float64]
    """(B,) weight of each bucket, as `ngram_space.rarity` gives it."""
    directions: NDArray[np.float32]
    """(D, B) orthogonal directions of length 1, the one that explains most first."""

    @property
    def state(self) -> dict[str, Array]:
        """The arrays to keep: `from_state` makes the same space of them."""
        return {"rarity": self.rarity, "directions": self.directions}

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> "LatentSpace":
        """The space that `state` was taken from."""
        return cls(rarity=state["rarity"], directions=state["directions"])

    def coordinates(self, vectors: csr_array) -> NDArray[np.float32]:
        """(M, D) coordinates of weighted vectors (M, B): the same bits for a row whatever stands beside it."""
        found: NDArray[np.float32] = vectors.astype(np.float32) @ np.ascontiguousarray(self.directions.T)
        return found


def fitted_space(
    vectors: csr_array, rarity: NDArray[np.float64], num_dimensions: int, seed: int, num_passes: int = 5
) -> LatentSpace:
    """The main directions of some weighted vectors.

    Args:
        vectors: (M, B) weighted vectors of the documents to fit on.
        rarity: (B,) what they were weighted by.
        num_dimensions: D, in [1, B); fewer come out where M is smaller.
        seed: of the randomised decomposition, at least 0.
        num_passes: of the decomposition over the vectors, at least 1.

    Raises:
        ValueError: there are not more buckets than dimensions.
    """
    if num_dimensions >= vectors.shape[1]:
        raise ValueError(f"num_dimensions must be below the {vectors.shape[1]} buckets counted, got {num_dimensions}")
    from sklearn.decomposition import TruncatedSVD

    decomposition = TruncatedSVD(num_dimensions, n_iter=num_passes, random_state=seed)
    decomposition.fit(vectors.astype(np.float32))
    return LatentSpace(rarity=rarity, directions=decomposition.components_.astype(np.float32))
