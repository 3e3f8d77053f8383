"""Step: the report of a run: what was planted, what the scores found, what was kept, and what it was worth.

This is the one place of a run that reads clean labels, and it only reports.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows import resolve
from flows.earlier_scores import signals_role
from flows.signal_sources import read_signals
from flows.step import Progress, Step
from storage.artifacts import Record, Request
from storage.dataset import Dataset
from storage.store import Store
from storage.values import Selection

Row = dict[str, Any]


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Gather the numbers of the artifacts among the inputs; nothing is trained here."""
    request = step.request
    dataset = store.dataset(request.inputs["dataset"])
    wrong = wrong_labels(dataset)
    with store.write(request) as draft:
        draft.meta.update(
            {
                "name": request.settings["name"],
                "subset": request.settings["subset"],
                "counts": dataset.record.meta["counts"],
                "train_examples": len(dataset.index("train")),
                "noise": None if wrong is None else {"wrong": int(wrong.sum()), "realised_rate": float(wrong.mean())},
                "detection": []
                if wrong is None or not wrong.any() or wrong.all()
                else _detection(store, request, wrong),
                "scores": _scores(store, request),
                "classes": _class_counts(store, request, dataset),
                **_arms(store, request),
                "cost": _cost(store, request),
            }
        )
    yield Progress(done=1, total=1, unit="report")


def wrong_labels(dataset: Dataset) -> NDArray[np.bool_] | None:
    """(N,) which given labels of the training split differ from the clean ones; None where that is unknown."""
    clean = dataset.clean_labels("train")
    labels = None if clean is None else dataset.labels("train")
    if labels is None or clean is None or (clean < 0).any():
        return None
    wrong: NDArray[np.bool_] = labels != clean
    return wrong


def _detection(store: Store, request: Request, wrong: NDArray[np.bool_]) -> list[Row]:
    from curation.agreement import auroc, precision_at

    rows = []
    for role, artifact in sorted(request.inputs.items()):
        if not role.startswith("score."):
            continue
        scores = store.scores(artifact)
        rows.append(
            {
                "score": role.removeprefix("score."),
                "auroc": auroc(scores.suspicion, wrong),
                "precision": precision_at(scores.suspicion, wrong, int(wrong.sum())),
                "by_epoch": _auroc_by_epoch(store, artifact, wrong),
            }
        )
    return rows


def _scores(store: Store, request: Request) -> list[Row]:
    """What each score says and of how many examples; with its range, and where it flags any, how many."""
    rows = []
    for role, artifact in sorted(request.inputs.items()):
        if role.startswith("score."):
            record = store.record(artifact)
            flags = "flagged" in record.meta["columns"]
            table = store.table(artifact, "scores", ["value", *(["flagged"] if flags else [])])
            values = table["value"].to_numpy()
            rows.append(
                {
                    "score": role.removeprefix("score."),
                    "high_means": record.meta["high_means"],
                    "examples": len(values),
                    "range": [float(values.min()), float(values.max())] if len(values) else [],
                    "flagged": int(table["flagged"].sum()) if flags else None,
                    "frozen": record.rows("frozen"),
                }
            )
    return rows


def _auroc_by_epoch(store: Store, artifact: str, wrong: NDArray[np.bool_]) -> list[tuple[int, float]]:
    """AUROC of the same scorer read at each recorded epoch; empty for scorers that read all epochs at once."""
    from curation.agreement import auroc

    record = store.record(artifact)
    scorer = resolve.method("scorer", record.request.settings["scorer"], "scorer")
    if not hasattr(scorer, "epoch") or "earlier" in record.request.inputs:
        return []
    if store.record(record.request.inputs[signals_role(record.request)]).kind != "training":
        return []
    signals = read_signals(store, record.request, scorer.reads)
    recorded = [set(signals.epochs[name]) for name in scorer.reads if name in signals.epochs]
    epochs = sorted(set.intersection(*recorded))
    return [(epoch, auroc(replace(scorer, epoch=epoch)(signals).suspicion, wrong)) for epoch in epochs]


def _class_counts(store: Store, request: Request, dataset: Dataset) -> list[Row]:
    labels = dataset.labels("train")
    if "selection" not in request.inputs or labels is None:
        return []
    selection = store.selection(request.inputs["selection"])
    changed = _relabelled(selection, labels)
    made = selection.synthetic
    return [
        {
            "class": name,
            "kept": int((selection.kept & (labels == place)).sum()),
            "dropped": int((~selection.kept & (labels == place)).sum()),
            "relabelled": int((changed & (labels == place)).sum()),
            **({} if made is None else {"synthetic": int((made.labels == place).sum())}),
        }
        for place, name in enumerate(dataset.schema.classes)
    ]


def _relabelled(selection: Selection, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    if selection.labels is None:
        return np.zeros(len(labels), dtype=bool)
    changed: NDArray[np.bool_] = selection.labels != labels
    return changed


def _arms(store: Store, request: Request) -> Row:
    """What the arms are worth, which is better, and what is suspicious; empty lists without arms."""
    arms = request.settings["arms"]
    if not arms:
        return {"arms": [], "comparisons": [], "warnings": []}
    from flows.compare_arms import arm_rows, comparison_rows, warning_rows

    given = store, request.inputs, arms
    return {"arms": arm_rows(*given), "comparisons": comparison_rows(*given), "warnings": warning_rows(*given)}


def _cost(store: Store, request: Request) -> Row:
    """Seconds spent on scores (the trainings they or the selection were read from, recording, scoring) and on one."""
    trainings: dict[str, float] = {}
    scores = [store.record(artifact) for role, artifact in request.inputs.items() if role.startswith("score.")]
    scoring = sum((record.seconds for record in scores), 0.0)
    for record in (*scores, *_selections(store, request)):
        for inner, source in record.request.inputs.items():
            if inner.startswith("signals.") and store.record(source).kind == "training":
                trainings[source] = store.record(source).meta["training_seconds"]
    recording = sum(store.record(one).meta["recording_seconds"] for one in trainings)
    ones = [one for role, one in request.inputs.items() if role.startswith("training.000.")]
    single = sum(store.record(one).meta["training_seconds"] for one in ones) / len(ones) if ones else 0.0
    return {
        "training_seconds": round(sum(trainings.values()), 3),
        "trainings": len(trainings),
        "recording_seconds": round(recording, 3),
        "scorer_seconds": round(scoring, 3),
        "one_training_seconds": round(single, 3),
    }


def _selections(store: Store, request: Request) -> Iterator[Record]:
    """The selection that the run ended with, and the one that its classes were evened out from."""
    chosen = request.inputs.get("selection")
    while chosen is not None:
        record = store.record(chosen)
        yield record
        chosen = record.request.inputs.get("selection")
