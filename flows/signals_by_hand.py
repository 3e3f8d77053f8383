"""Signals by hand: what `tamis ingest-signals` does with its options."""

from collections.abc import Mapping
from typing import Any

from flows.config import check_beside_metadata, check_score_names
from flows.ingest_by_hand import OpenProgress
from flows.ingest_examples import source_hints, source_settings
from flows.plan import earlier_columns
from flows.step import Step, run_step
from storage.artifacts import Request
from storage.files import check_name
from storage.given_signals import Wish, check_extends, check_is_score, check_owner
from storage.ingest.source import Source, open_format
from storage.store import Store
from storage.versions import Version


def ingest_signals(
    store: Store, reference: str, location: str, options: Mapping[str, Any], progress: OpenProgress
) -> str:
    """Read a user's arrays per example, as signals of a data set and, where asked for, a score column of it.

    Args:
        store: where they go.
        reference: the data set, by name or version.
        location: the file.
        options: those of `tamis ingest-signals`, by name.
        progress: opens a display for a number of steps.

    Returns:
        Sentences with the version and the counts.

    Raises:
        NotFoundError: there is no such data set, or nothing to append to.
        SourceError: the file cannot be read, or does not fit the data set.
        ValueError: an option has no effect, or the name is taken by another data set's signals.
    """
    dataset = store.version("dataset", reference)
    score, high_means = options["score"], options["high_means"]
    if (score is None) != (high_means is None):
        raise ValueError("--score and --high-means go together: the array, and what a high value says")
    if score is not None:
        check_score_names((score,))
        check_beside_metadata((score,), store.dataset(dataset.artifact).schema.metadata)
    name = options["name"] or score
    if name is None:
        raise ValueError("name the signals with --as, such as --as probs")
    check_name(name)
    step = _signals_step(store, dataset, name, location, options)
    if score is not None:
        source = Source(location=location, format=options["source_format"])
        wish = Wish(take=_taken(options["take"]), classes=tuple(_classes(options["classes"])))
        check_is_score(score, store.dataset(dataset.artifact), open_format(source), location, wish)
    with progress(1 if score is None else 3) as show:
        run_step(store, step, None, show)
        for further in [] if score is None else _score_steps(store, dataset, step.id, score, high_means):
            run_step(store, further, None, show)
    record = store.record(step.id)
    counts = record.meta["counts"]
    told = f"{store.version('signals', name)}: {', '.join(record.meta['signals'])} of {record.rows('signals')} training"
    told += f" examples of {dataset}; {counts['read']} rows read = {counts['used']} used + {counts['other_splits']}"
    told += " of other splits, which no scorer sees"
    return told if score is None else f"{told}\n{store.version('scored', dataset.name)}: column {score}"


def _signals_step(store: Store, dataset: Version, name: str, location: str, options: Mapping[str, Any]) -> Step:
    source = Source(location=location, format=options["source_format"])
    given = {"dataset": dataset.name, "take": _taken(options["take"]), "classes": _classes(options["classes"])}
    inputs = {"dataset": dataset.artifact}
    if store.knows("signals", name):
        check_owner(store.record(store.version("signals", name).artifact), name, dataset.name)
    if options["append"]:
        earlier = store.record(store.version("signals", name).artifact)
        check_extends(store.artifacts, earlier, dataset.artifact)
        inputs["signals"] = earlier.id
    request = Request(
        kind="signals",
        settings={"given": given, "source": source_settings(source, store.files)},
        inputs=inputs,
    )
    return Step(
        title=f"read signals of {location}",
        module="ingest_signals",
        request=request,
        publish=("signals", name),
        hints=source_hints(source),
    )


def _score_steps(store: Store, dataset: Version, signals: str, score: str, high_means: str) -> list[Step]:
    """The array as a score, and the data set's score columns with it."""
    request = Request(
        kind="scores",
        settings={"array": {"name": score, "high_means": high_means}},
        inputs={"dataset": dataset.artifact, "signals.000": signals},
    )
    columns = {**earlier_columns(store, dataset.name, dataset.artifact, {score: request.id}), score: request.id}
    inputs = {"dataset": dataset.artifact, **{f"score.{one}": artifact for one, artifact in columns.items()}}
    scored = Request(kind="scored", settings={"columns": columns}, inputs=inputs)
    return [
        Step(title=f"score {score}", module="score_examples", request=request),
        Step(title="assemble scores", module="assemble_scores", request=scored, publish=("scored", dataset.name)),
    ]


def _taken(texts: tuple[str, ...]) -> dict[str, str]:
    """Arrays by the name they get, from `NAME` or `NAME=ARRAY`."""
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, array) in zip(texts, pairs, strict=True):
        if not name or (equals and not array):
            raise ValueError(f"--take needs NAME or NAME=ARRAY, got {text!r}")
    return {name: array or name for name, _, array in pairs}


def _classes(text: str | None) -> list[str]:
    return [] if text is None else [name.strip() for name in text.split(",")]
