"""Predictions of a stored model for the rows of a file, block by block, so that a file need not fit in memory.

There is a row for every row of the file: one that breaks a rule of the features has no prediction and says which rule.
Confidence is the largest probability; where the model's card has a temperature, probabilities are softmax(logits / T).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import softmax

from flows import resolve
from flows.embed_examples import COLUMN, encoder
from learners.embed import Encode
from learners.stored import load_networks, predicted_logits
from storage.dataset import input_array
from storage.errors import SourceError
from storage.ingest.inputs import InputBlock, input_blocks
from storage.ingest.source import Source
from storage.schemas import DatasetSchema, Feature
from storage.store import Store
from storage.values import Array

Epoch = Literal["last", "best"]
NOT_FINITE = "non-finite logits"
"""The problem of a row whose features are so large that the network overflows."""


@dataclass(kw_only=True)
class Predictions:
    """Predictions that come as they are iterated, and what is known of them when they have ended."""

    classes: tuple[str, ...]
    temperature: float | None
    """What logits are divided by; None where none was fitted."""
    parts: Iterator[pl.DataFrame]
    """Frames with the same columns: `source_row`, `predicted`, `confidence`, `problem`, and, as far as there are,
    `source_file`, `key` and `probs_<class>`. Where every class is a whole number, `predicted` is one too."""
    rows: int = 0
    """Rows so far."""
    by_class: Counter[str | int] = field(default_factory=Counter)
    """Predictions so far, by class."""
    problems: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Rows without a prediction so far, by the rule that they break, and the place of the first."""

    @property
    def sentence(self) -> str:
        """How confidences are made."""
        if self.temperature is None:
            return "Confidences are not scaled: no temperature was fitted for these weights."
        return f"Confidences are scaled by the temperature {self.temperature:.3f}, fitted on the validation split."

    @property
    def problem_sentence(self) -> str:
        """How many rows have no prediction and why; empty where all have one."""
        told = [f"{count} {rule} ({'first: ' * (count > 1)}{place})" for rule, (count, place) in self.problems.items()]
        count = sum(one for one, _ in self.problems.values())
        return f"{count} of {self.rows} rows have no prediction: {', '.join(told)}" if told else ""


def predict_rows(
    store: Store,
    reference: str,
    source: Source,
    *,
    epoch: Epoch = "last",
    batch_size: int = 500,
    with_probabilities: bool = False,
) -> Predictions:
    """Read a file and predict each of its rows; nothing is written.

    Args:
        store: has the model.
        reference: the model's version.
        source: has the columns that the model's data set had as features.
        epoch: weights of the `last` epoch, or of the `best` on the validation split.
        batch_size: rows per forward pass, at least 1.
        with_probabilities: whether each class gets a column.

    Raises:
        NotFoundError: there is no such model, or it has no best epoch.
        SourceError: the file cannot be read, or lacks a column; while iterating, that no row could be predicted.
    """
    weights, card = store.model(str(store.version("model", reference)), epoch)
    networks = load_networks(weights, card)
    reader = _Reader(store, card)
    blocks = input_blocks(source, reader.columns, key=card["key"], image_fit=card["image_fit"])
    found = Predictions(classes=tuple(card["classes"]), temperature=card["temperature"], parts=iter(()))

    def parts() -> Iterator[pl.DataFrame]:
        for block in blocks:
            logits = np.zeros((0, len(found.classes)), dtype=np.float32)
            if len(block.frame):
                logits = predicted_logits(networks, reader.inputs(block.frame), batch_size=batch_size)
            part = _predicted(block, logits, found)
            _count(found, part)
            yield part if with_probabilities else part.drop(_columns_of(found.classes))
        if not found.by_class:
            what = found.problem_sentence if found.rows else "it has columns but no rows"
            raise SourceError(f"nothing in {source.location} can be predicted: {what}")

    found.parts = parts()
    return found


class _Reader:
    """Makes a model's inputs of the columns of a file: of a text its embedding, where the model's data set had that."""

    def __init__(self, store: Store, card: Mapping[str, Any]) -> None:
        self._store = store
        self._features = features_of(card)
        self._embedding = card.get("embedding")
        self._encode: Encode | None = None

    @property
    def columns(self) -> list[Feature]:
        """What the file must have."""
        kept = [one for one in self._features if self._embedding is None or one.name != COLUMN]
        return kept if self._embedding is None else [*kept, Feature(name=self._embedding["column"], kind="text")]

    def inputs(self, frame: pl.DataFrame) -> Array:
        """(N, ...) inputs of N at least 1 rows."""
        if self._embedding is not None:
            self._encode = self._encode or _encoder(self._store, self._embedding)
            vectors = self._encode(frame[self._embedding["column"]].to_list())
            frame = frame.with_columns(pl.Series(COLUMN, vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])))
        return input_array(frame, self._features)


def _encoder(store: Store, embedding: Mapping[str, Any]) -> Encode:
    """What embedded the texts that the model was trained on.

    Raises:
        ValueError: there is none like it any more.
    """
    settings = {name: value for name, value in embedding.items() if name not in ("revision", "map")}
    method = resolve.embedder(settings, "embedding")
    if method.revision != embedding["revision"]:
        raise ValueError(
            f"the model reads embeddings of {settings['method']} in revision {embedding['revision']}, and that has "
            f"revision {method.revision} now; embed the texts and train again"
        )
    return encoder(method, store.state(embedding["map"]) if "map" in embedding else None)


def features_of(card: Mapping[str, Any]) -> tuple[Feature, ...]:
    """The columns that a model reads, in its order."""
    nothing = {"classes": (), "groups": (), "has_clean_label": False, "metadata": ()}
    return DatasetSchema.from_json({**nothing, "features": card["features"]}).features


def _class_values(classes: tuple[str, ...]) -> pl.Series:
    """(K,) the classes as labels are stored: whole numbers where all are written as such."""
    names = pl.Series(classes, dtype=pl.String)
    return names.cast(pl.Int64) if DatasetSchema(features=(), classes=classes).has_whole_classes else names


def _columns_of(classes: tuple[str, ...]) -> list[str]:
    return [f"probs_{name}" for name in classes]


def _predicted(block: InputBlock, logits: NDArray[np.float32], found: Predictions) -> pl.DataFrame:
    """The block's rows with what the network says; null where a row has a problem."""
    finite = np.isfinite(logits).all(axis=1)
    problems = block.told["problem"].to_list()
    good = np.flatnonzero(block.told["problem"].is_null().to_numpy())
    for place in good[~finite]:
        problems[place] = NOT_FINITE
    probs = softmax(logits[finite].astype(np.float64) / (found.temperature or 1.0), axis=1)
    said = pl.DataFrame(
        {
            "place": good[finite].astype(np.int64),
            "predicted": _class_values(found.classes).gather(logits[finite].argmax(axis=1)),
            "confidence": probs.max(axis=1, initial=0.0),
            **{name: probs[:, column] for column, name in enumerate(_columns_of(found.classes))},
        }
    )
    told = block.told.with_columns(pl.Series("problem", problems, dtype=pl.String))
    places = pl.Series("place", np.arange(len(told)), dtype=pl.Int64)
    joined = told.with_columns(places).join(said, on="place", how="left", maintain_order="left")
    return joined.select(pl.exclude("place", "problem"), "problem")


def _count(found: Predictions, part: pl.DataFrame) -> None:
    found.rows += len(part)
    found.by_class.update(part["predicted"].drop_nulls().to_list())
    for row in part.filter(pl.col("problem").is_not_null()).iter_rows(named=True):
        file = f" of {row['source_file']}" if "source_file" in row else ""
        count, first = found.problems.get(row["problem"], (0, f"{row['source_row']}{file}"))
        found.problems[row["problem"]] = (count + 1, first)
