"""Step: the classes of a training split evened out, published as a subset with its synthetic rows.

Read are the rows of the training split that a selection keeps, under the labels it corrects; or all of them. No other
split is opened, so nothing of it can lie in a synthetic row, and synthetic rows are of the training split themselves.
"""

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.rebalancer import Rebalanced, Rebalancer, TrainingRows
from flows import resolve
from flows.step import Progress, Step
from storage.dataset import Dataset, places_in
from storage.index import ExampleIndex
from storage.schemas import Feature
from storage.store import Store
from storage.values import Selection, SyntheticRows

ROWS_AT_A_TIME = 8192
"""Rows that are read at a time, before those that are not kept are let go."""
_DIGEST_BYTES = 10


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Hand the kept rows to the rebalancer, and publish the selection with the rows it leaves out and those it adds."""
    began = time.perf_counter()
    request = step.request
    dataset = store.dataset(request.inputs["dataset"])
    before = store.selection(request.inputs["selection"]) if "selection" in request.inputs else _everything(dataset)
    method = str(request.settings["rebalancer"]["method"])
    rebalancer: Rebalancer = resolve.method("rebalancer", request.settings["rebalancer"], "rebalance")
    _check_features(dataset, rebalancer, method)
    table = _kept_table(dataset, before)
    rows = _training_rows(dataset, before, table, () if rebalancer.only_copies else dataset.schema.features)
    made = rebalancer(rows, np.random.default_rng(request.seed))
    after = _left(before, made, method)
    if len(made):
        copied = table.drop("example_id")[made.parent_a]
        features = copied if rebalancer.only_copies else _features(dataset, rows, made, table)
        after = replace(after, synthetic=_synthetic_rows(dataset, made, features, method))
    described = {"rebalancer": request.settings["rebalancer"], "classes": _counts(rows, made)}
    store.write_selection(request, after, described, seconds=time.perf_counter() - began)
    yield Progress(done=len(after), total=len(after), unit="examples", note=f"{len(made)} synthetic rows")


def _everything(dataset: Dataset) -> Selection:
    """The whole training split."""
    index = dataset.index("train")
    reasons = np.full(len(index), "everything", dtype=object)
    return Selection(index=index, weights=np.ones(len(index), dtype=np.float32), reasons=reasons)


def _check_features(dataset: Dataset, rebalancer: Rebalancer, method: str) -> None:
    """Refuse a data set without labels, and columns between whose values nothing lies."""
    if not dataset.schema.classes:
        raise ValueError(f"rebalancing evens out classes, and {dataset.id} has no labels; see columns.label")
    for feature in dataset.schema.features:
        if feature.kind in ("image", "text") and not rebalancer.only_copies:
            remedy = (
                "embed it first, by [embedding]" if feature.kind == "text" else "store embeddings as a vector column"
            )
            raise ValueError(
                f"{method} works in feature space, and column {feature.name!r} holds {feature.kind}s, between which "
                f"nothing lies: {remedy}, or use random_over or training.class_weights"
            )


def _kept_table(dataset: Dataset, selection: Selection) -> pl.DataFrame:
    """(N,) ids and features of the kept rows as they are stored, but numbers as float64."""
    features = dataset.schema.features
    first, kept = 0, []
    for block in dataset.blocks("train", [feature.name for feature in features], ROWS_AT_A_TIME):
        kept.append(block.filter(pl.Series(selection.kept[first : first + len(block)])))
        first += len(block)
    if not first:
        raise ValueError(f"{dataset.id} has no examples in its training split to rebalance")
    numbers = [feature.name for feature in features if feature.kind == "number"]
    table = pl.concat(kept).select("example_id", *(feature.name for feature in features))
    return table.with_columns(pl.col(numbers).cast(pl.Float64))


def _training_rows(
    dataset: Dataset, selection: Selection, table: pl.DataFrame, features: tuple[Feature, ...]
) -> TrainingRows:
    """The kept rows as a rebalancer reads them: numbers and vectors side by side, categories as codes."""
    labels = dataset.labels("train") if selection.labels is None else selection.labels
    assert labels is not None
    numeric = [_numbers(table[feature.name], feature) for feature in features if feature.kind != "category"]
    codes = [places_in(table[one.name].cast(pl.String), one.categories) for one in features if one.kind == "category"]
    return TrainingRows(
        index=ExampleIndex(table["example_id"]),
        features=np.concatenate(numeric, axis=1) if numeric else np.empty((len(table), 0)),
        labels=labels[selection.kept],
        classes=dataset.schema.classes,
        categories=np.stack(codes, axis=1) if codes else None,
    )


def _numbers(values: pl.Series, feature: Feature) -> NDArray[np.floating[Any]]:
    """(N, D) vectors as float32, or (N, 1) float64 with NaN for null."""
    if feature.kind == "vector":
        vectors: NDArray[np.floating[Any]] = values.to_numpy().reshape(len(values), *feature.shape)
        return vectors
    numbers: NDArray[np.floating[Any]] = values.fill_null(float("nan")).to_numpy().reshape(-1, 1)
    return numbers


def _left(before: Selection, made: Rebalanced, method: str) -> Selection:
    """The selection without the rows that the rebalancer leaves out; those that were dropped keep their reasons."""
    kept = np.zeros(len(before), dtype=np.bool_)
    kept[np.flatnonzero(before.kept)] = made.kept
    reasons = before.reasons.copy()
    reasons[before.kept & ~kept] = f"left out by {method}"
    return replace(before, weights=np.where(kept, before.weights, np.float32(0)), reasons=reasons)


def _features(dataset: Dataset, rows: TrainingRows, made: Rebalanced, table: pl.DataFrame) -> pl.DataFrame:
    """(M,) the features of synthetic rows, in columns of the types of the kept rows' own."""
    columns: list[pl.Series] = []
    place = code = 0
    for feature in dataset.schema.features:
        if feature.kind == "category":
            assert rows.categories is not None
            assert made.categories is not None
            columns.append(_named(table[feature.name], rows.categories[:, code], made.categories[:, code]))
            code += 1
            continue
        width = math.prod(feature.shape)
        block = np.ascontiguousarray(made.features[:, place : place + width])
        values = block[:, 0] if feature.kind == "number" else block.astype(np.float32)
        columns.append(pl.Series(feature.name, values))
        place += width
    return pl.DataFrame(columns)


def _named(stored: pl.Series, given: NDArray[np.integer[Any]], wanted: NDArray[np.integer[Any]]) -> pl.Series:
    """(M,) values of a category column for codes, found at the first row that has each code."""
    codes, first = np.unique(given, return_index=True)
    return stored.gather(first[np.searchsorted(codes, wanted)])


def _synthetic_rows(dataset: Dataset, made: Rebalanced, features: pl.DataFrame, method: str) -> SyntheticRows:
    """What the rebalancer made, whole: the values of every feature, the class, and the ids of its parents."""
    ids, groups = made.index.ids, dataset.groups("train")
    parent_a, parent_b = ids.gather(made.parent_a), ids.gather(made.parent_b)
    nobody = np.empty((len(made), 0), dtype=np.int64)
    listed = np.array(ids.to_list(), dtype=object)[nobody if made.voters is None else made.voters].tolist()
    voters = pl.Series(listed, dtype=pl.List(pl.String))
    names = [dataset.schema.classes[label] for label in made.labels]
    return SyntheticRows(
        index=_identified(names, parent_a, parent_b, made.gap, listed),
        features=features,
        labels=made.labels,
        parent_a=parent_a,
        parent_b=parent_b,
        gap=made.gap,
        voters=voters,
        method=method,
        groups=None if groups is None else groups[dataset.index("train").positions(parent_a)],
    )


def _identified(
    classes: list[str], parent_a: pl.Series, parent_b: pl.Series, gap: NDArray[np.float64], voters: list[list[str]]
) -> ExampleIndex:
    """Ids `<data set>:synthetic-<hash>` of class, parents and gap, so that the same row has the same id in any subset.

    Exact twins get a number behind the hash: the second is `...-2`.
    """
    keys = []
    for name, first, second, step, others in zip(classes, parent_a, parent_b, gap.tolist(), voters, strict=True):
        text = "\0".join((name, first, second, step.hex(), *others))
        digest = hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()
        keys.append(f"{first.partition(':')[0]}:synthetic-{digest}")
    number = pl.int_range(1, pl.len() + 1).over("key")
    behind = pl.when(number > 1).then(pl.format("{}-{}", "key", number)).otherwise("key")
    return ExampleIndex(pl.DataFrame({"key": keys}).select(behind)["key"])


def _counts(rows: TrainingRows, made: Rebalanced) -> list[dict[str, Any]]:
    """By class: how many rows there were, how many stay, and how many are synthetic."""
    num_classes = len(rows.classes)
    kept, synthetic = (
        np.bincount(labels, minlength=num_classes).tolist() for labels in (rows.labels[made.kept], made.labels)
    )
    return [
        {"class": name, "before": int(rows.counts[place]), "kept": kept[place], "synthetic": synthetic[place]}
        for place, name in enumerate(rows.classes)
    ]
