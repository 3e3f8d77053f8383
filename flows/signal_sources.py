"""Signals as a scorer wants them: from what learners recorded, examiners computed or a user brought."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from curation.scorer import joined_index
from curation.softmax import softmax
from flows.fold_trainings import OUT_OF_FOLD, out_of_fold_probs
from storage.artifacts import Record, Request
from storage.dataset import Dataset
from storage.store import Store
from storage.values import Array, Signals

LABELS = ("label", "group", "benchmark")
"""What scorers read that the data set itself has, or the targets beside it."""

RECORDED = ("logits", "train_logits", "elr_targets", "feature_norm", "grad_norm")
"""Signals that scorers read at epochs; those not recorded by a learner are taken to be of one, the first."""

LEAST_PROBABILITY = 1e-30
"""What a probability of 0 counts as where its logarithm is taken: a loss of 69 nats."""


def read_signals(store: Store, request: Request, names: tuple[str, ...]) -> Signals:
    """Everything of these names that an artifact's inputs have of its data set's training split.

    Args:
        store: has the inputs.
        request: names a data set, trainings or signals by `signals.*`, and `names`, if any, among its settings.
        names: the signals wanted, such as `logits`; `label` and `group` come with the data set.
    """
    dataset = store.dataset(request.inputs["dataset"])
    if "score" in request.inputs:
        return unrecorded_signals(store, dataset, request, names, None)
    if "targets" in request.inputs:
        return _beside_targets(store, dataset, request, names)
    sources = {role: request.inputs[role] for role in sorted(request.inputs) if role.startswith("signals.")}
    if store.record(next(iter(sources.values()))).kind == "training":
        return _recorded(store, dataset, sources, names)
    return unrecorded_signals(store, dataset, request, names, None)


def _recorded(store: Store, dataset: Dataset, sources: Mapping[str, str], names: tuple[str, ...]) -> Signals:
    """What trainings on everything recorded, `signals.<seed>`, and those without a fold, `signals.<seed>.<fold>`."""
    folds: dict[str, list[str]] = {}
    for role, training in sources.items():
        if role.count(".") == 2:
            folds.setdefault(role.rpartition(".")[0], []).append(training)
    whole = [training for role, training in sources.items() if role.count(".") == 1]
    given, index = what_is_given(dataset), dataset.index("train")
    signals = store.signals(whole, names, given) if whole else Signals(index=index, arrays=given)
    arrays, epochs = dict(signals.arrays), dict(signals.epochs)
    if folds:
        probs, epoch = out_of_fold_probs(store, list(folds.values()), index)
        arrays[OUT_OF_FOLD], epochs[OUT_OF_FOLD] = probs, (epoch,)
    return Signals(index=index, arrays=arrays, epochs=epochs)


def unrecorded_signals(
    store: Store, dataset: Dataset, request: Request, names: tuple[str, ...], earlier: Record | None
) -> Signals:
    """Given or examined signals of a data set, or of its new rows where `earlier` has the others.

    Args:
        store: has the signals.
        dataset: all rows, or those new since the earlier signals.
        request: of the scores.
        names: the signals wanted.
        earlier: signals of the rows that are left out; None leaves none out.
    """
    if "score" in request.inputs:
        return _score_as_signal(store, dataset, request, earlier)
    record = store.record(request.inputs["signals.000"])
    sources = {name: source_of(name, request.settings.get("names", {})) for name in names if name not in LABELS}
    for name, source in sources.items():
        check_has(record, name, source)
    _check_classes(store, record, dataset, tuple(sources.values()))
    index = dataset.index("train")
    read = store.unrecorded(record.id, index, tuple(dict.fromkeys(sources.values())), earlier)
    arrays, epochs = what_is_given(dataset), {}
    for name, source in sources.items():
        array = _meant(read[source], record.meta["signals"][source].get("holds", "numbers"), name)
        if name in RECORDED:
            array, epochs[name] = array[None, :, None], (1,)
        arrays[name] = array
    return Signals(index=index, arrays=arrays, epochs=epochs)


def _beside_targets(store: Store, dataset: Dataset, request: Request, names: tuple[str, ...]) -> Signals:
    """Examined signals of a data set and then of its targets; `benchmark` is -1 or else the target's group.

    Raises:
        ValueError: a target's id is an example's too.
    """
    targets = store.dataset(request.inputs["targets"])
    inputs = {"dataset": targets.id, "signals.000": request.inputs["target_signals"]}
    wanted = tuple(name for name in names if name not in LABELS)
    documents = unrecorded_signals(store, dataset, request, wanted, None)
    examples = unrecorded_signals(store, targets, replace(request, inputs=inputs), wanted, None)
    groups = targets.groups("train")
    benchmark = np.zeros(len(examples), dtype=np.int64) if groups is None else groups
    if (benchmark < 0).any():
        raise ValueError(f"the group is missing for {int((benchmark < 0).sum())} of {len(examples)} targets")
    arrays = {name: np.concatenate([documents[name], examples[name]]) for name in wanted}
    arrays["benchmark"] = np.concatenate([np.full(len(documents), -1, dtype=np.int64), benchmark])
    return Signals(index=joined_index(documents.index, examples.index), arrays=arrays)


def _score_as_signal(store: Store, dataset: Dataset, request: Request, earlier: Record | None) -> Signals:
    """The values of another score as the signal `score`."""
    scores = store.scores(request.inputs["score"], earlier)
    return Signals(index=scores.index, arrays={**what_is_given(dataset), "score": scores.values})


def source_of(name: str, names: Mapping[str, Any]) -> str:
    """The array that is read as a signal."""
    return str(names.get(name, name))


def check_has(record: Record, name: str, source: str) -> None:
    """Refuse signals without an array.

    Raises:
        ValueError: there is none of this name; the message lists those there are and how to name one.
    """
    have = list(record.meta["signals"])
    if source not in have:
        near = next((one for one in have if one.endswith(name.rpartition("_")[2])), have[0])
        raise ValueError(
            f"the signal {name!r} is wanted and {record.id} has {', '.join(have)}; say which array is read as it, "
            f'such as names = {{ {name} = "{near}" }}'
        )
    holds = record.meta["signals"][source].get("holds", "numbers")
    if holds == "numbers" and name.rpartition("_")[2] in ("probs", "logits"):
        raise ValueError(
            f"array {source!r} of {record.id} is read as {name!r}, but is neither probabilities nor logits; bring it "
            f"under such a name, as in --take probs={source}"
        )


def _check_classes(store: Store, record: Record, dataset: Dataset, sources: tuple[str, ...]) -> None:
    """Refuse a column per class where it was brought for a data set with other classes, or in another order.

    Classes that appended rows brought stand behind the others and are no difference.

    Raises:
        ValueError: the classes differ; the message lists both.
    """
    per_class = [one for one in sources if record.meta["signals"][one].get("holds", "numbers") != "numbers"]
    meant = store.dataset(record.request.inputs["dataset"]).schema.classes
    now = dataset.schema.classes
    if per_class and now[: len(meant)] != meant:
        raise ValueError(
            f"array {per_class[0]!r} of {record.id} has a column for each of the classes {', '.join(meant)}, and "
            f"{dataset.id} has {', '.join(now)}; bring it again with tamis ingest-signals"
        )


def what_is_given(dataset: Dataset) -> dict[str, Array]:
    """`label` and `group` (N,) of the training split, as far as the data set has them."""
    given = {"label": dataset.labels("train"), "group": dataset.groups("train")}
    return {name: values for name, values in given.items() if values is not None}


def _meant(array: Array, holds: str, name: str) -> Array:
    """Logits from probabilities or the other way round, where the one is read as the other."""
    if holds == "probs" and name.endswith("logits"):
        return np.log(np.maximum(array, LEAST_PROBABILITY, dtype=np.float64))
    return softmax(array) if holds == "logits" and name.endswith("probs") else array
