"""Neural embedders of texts, each behind a package of its own that is imported where it is used.

`sentence_transformers`: Reimers, Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", EMNLP
2019. https://arxiv.org/abs/1908.10084 `model2vec`: static embeddings distilled from such a model, as the package of
that name makes them. https://github.com/MinishLab/model2vec

An embedder's class, in lower case with underscores, is its name in recipes. The weights are those that the package
finds under a name or in a directory; a name whose weights are exchanged stays the same name.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
"""From N texts to (N, D) finite numbers, a row for each text in the order given."""


class Embedder(ABC):
    """A frozen dataclass of settings that loads a network which embeds texts."""

    revision: ClassVar[int] = 1
    """Raised whenever the numbers change: stored embeddings of older revisions are not reused."""

    @abstractmethod
    def load(self) -> Encode:
        """The network, ready to embed; on a GPU where the package finds one.

        Raises:
            ValueError: the package is not installed, or finds no such network.
        """


@dataclass(frozen=True, kw_only=True)
class SentenceTransformers(Embedder):
    """A transformer that reads a whole text; minutes for some ten thousand texts without a GPU."""

    column: str
    """Text column to embed."""
    name: str
    """Name or directory of the network, such as `all-MiniLM-L6-v2`."""
    batch_size: int = 32
    """Texts that go through the network at once, at least 1."""

    def __post_init__(self) -> None:
        _check(self.name, self.batch_size)

    def load(self) -> Encode:
        """The network in evaluation mode."""
        package = _imported("sentence_transformers")
        network = _loaded(self.name, lambda: package.SentenceTransformer(self.name))
        return lambda texts: _checked(
            network.encode(list(texts), batch_size=self.batch_size, show_progress_bar=False, convert_to_numpy=True),
            len(texts),
            self.name,
        )


@dataclass(frozen=True, kw_only=True)
class Model2vec(Embedder):
    """The weighted mean of one stored vector for each token; seconds for some ten thousand texts."""

    column: str
    """Text column to embed."""
    name: str
    """Name or directory of the vectors, such as `minishlab/potion-base-8M`."""
    batch_size: int = 1024
    """Texts whose tokens are looked up at once, at least 1."""

    def __post_init__(self) -> None:
        _check(self.name, self.batch_size)

    def load(self) -> Encode:
        """The vectors, in this process alone."""
        package = _imported("model2vec")
        vectors = _loaded(self.name, lambda: package.StaticModel.from_pretrained(self.name))
        return lambda texts: _checked(
            vectors.encode(list(texts), batch_size=self.batch_size, show_progress_bar=False, use_multiprocessing=False),
            len(texts),
            self.name,
        )


def _check(name: str, batch_size: int) -> None:
    if not name:
        raise ValueError("name must be that of a network or its directory, got ''")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


def _imported(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError:
        raise ValueError(f"this embedder needs the package {package}: pip install 'tamis[embed]'") from None


def _loaded(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (OSError, ValueError, SafetensorError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"the embedder {name!r} cannot be loaded: {told}") from error


def _checked(found: Any, num_texts: int, name: str) -> NDArray[np.float32]:
    """What a package gives, as an array of the promised form."""
    embedding: NDArray[np.float32] = np.asarray(found, dtype=np.float32)
    if embedding.ndim != 2 or len(embedding) != num_texts:
        raise ValueError(f"the embedder {name!r} gave an array of shape {embedding.shape} for {num_texts} texts")
    broken = np.flatnonzero(~np.isfinite(embedding).all(axis=1))
    if len(broken):
        raise ValueError(f"the embedder {name!r} gave numbers that are not finite for {len(broken)} texts")
    return embedding
