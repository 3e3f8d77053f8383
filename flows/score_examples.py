"""Step: scores of the training split, from recorded, examined or given signals.

Where a data set that has these scores was grown, and the method allows it, only new rows are scored:
the files of earlier scores are listed again, and the record says so. Neither the artifact's id nor any
value depends on that. With `new_rows = "frozen"` new rows are scored by what was stored with the
scores of an earlier version, named in the request, and are listed in the table `frozen`.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from curation.scorer import MergingScorer, Scorer, scores_at
from curation.stability import halves_agreement
from flows import resolve
from flows.earlier_scores import Earlier, earlier_scores
from flows.signal_sources import read_signals, unrecorded_signals
from flows.step import Progress, Step
from storage.artifacts import Draft, Record, Request
from storage.checkpoints import to_bytes
from storage.index import ExampleIndex
from storage.schemas import SPLITS
from storage.store import Store
from storage.tables import scores_to_table
from storage.values import Array, HighMeans, Scores, Signals


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Score all rows, or those that earlier scores lack."""
    began = time.perf_counter()
    request = step.request
    scorer = scorer_of(request)
    found = earlier_scores(store, request, scorer.reads)
    if found is None and "earlier" in request.inputs:
        raise ValueError(
            f"new rows cannot be scored as {request.inputs['earlier']} scored the old ones, whose signals are others "
            'now; leave new_rows = "frozen" out'
        )
    scored = _all(store, request, scorer) if found is None else _further(store, request, scorer, found)
    with store.write(request) as draft:
        draft.earlier_seconds = time.perf_counter() - began
        _fill(store, draft, scored)
    rows = 0 if scored.scores is None else len(scored.scores)
    yield Progress(done=rows, total=rows, unit="examples", note=_note(scored.halves))


def _note(halves: Mapping[str, float | None]) -> str:
    """Such as `halves of the seeds agree by 0.993`."""
    found = halves.get("halves_agreement")
    return "" if found is None else f"halves of the seeds agree by {found:.3g}"


def scorer_of(request: Request) -> Scorer:
    """The scorer that a request for scores names."""
    if "array" in request.settings:
        return _GivenScores(**request.settings["array"])
    scorer: Scorer = resolve.method("scorer", request.settings["scorer"], "scorer")
    return scorer


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """What to write."""

    scores: Scores | None
    """Scores to write behind those of `behind`; None where no row is new."""
    behind: Record | None = None
    """Scores whose files are listed first."""
    state: Mapping[str, Array] | None = None
    """What further rows will need, where it is new."""
    state_of: Record | None = None
    """Scores whose state is listed, where it stays as it is."""
    computed: str = "full"
    halves: Mapping[str, float | None] = field(default_factory=dict)
    """`halves_agreement` of the seeds, where that was asked for."""


def _all(store: Store, request: Request, scorer: Scorer) -> _Scored:
    """Scores of every row."""
    if scorer.all_targets:
        _refuse_unread_targets(store, request)
    signals = read_signals(store, request, scorer.reads)
    halves = {"halves_agreement": halves_agreement(scorer, signals)} if "halves" in request.settings else {}
    if isinstance(scorer, MergingScorer):
        merge = scorer.start(signals)
        return _Scored(scores=_without_targets(store, request, merge.new), state=merge.state, halves=halves)
    return _Scored(scores=_without_targets(store, request, scorer(signals)), halves=halves)


def _refuse_unread_targets(store: Store, request: Request) -> None:
    """Refuse targets of which some are outside the training split.

    Raises:
        ValueError: there are such; the message counts them.
    """
    targets = store.dataset(request.inputs["targets"])
    unread = sum(len(targets.index(split)) for split in SPLITS if split != "train")
    if unread:
        raise ValueError(
            f"{unread} rows of the targets {targets.id} are in other splits than train and would not be looked for; "
            "ingest what is to be looked for as a data set of its own, with a split column that says train for all rows"
        )


def _without_targets(store: Store, request: Request, scores: Scores) -> Scores:
    """Scores of the data set's own rows, which stand before its targets."""
    if "targets" not in request.inputs:
        return scores
    return scores_at(scores, np.arange(len(store.dataset(request.inputs["dataset"]).index("train"))))


def _further(store: Store, request: Request, scorer: Scorer, found: Earlier) -> _Scored:
    """Scores of new rows, and anew those of earlier rows that they change."""
    if not (scorer.per_example or isinstance(scorer, MergingScorer)):
        return _all(store, request, scorer)
    frozen = "earlier" in request.inputs
    if isinstance(scorer, MergingScorer) and scorer.frozen_at_start and not frozen:
        return _all(store, request, scorer)
    earlier, computed = found.scores, f"incremental from {found.scores.id}"
    state_of = earlier if isinstance(scorer, MergingScorer) else None
    rows = store.dataset(request.inputs["dataset"]).since(found.dataset)
    if rows is None or not len(rows.index("train")):
        return _Scored(scores=None, behind=earlier, state_of=state_of, computed=computed)
    if found.signals is None:
        from flows.stored_models import signals_of_stored_models

        scores = scorer(signals_of_stored_models(store, request, rows))
        return _Scored(scores=scores, behind=earlier, computed=computed)
    signals = unrecorded_signals(store, rows, request, scorer.reads, found.signals)
    if not isinstance(scorer, MergingScorer):
        return _Scored(scores=scorer(signals), behind=earlier, computed=computed)
    if scorer.frozen_at_start:
        nothing = Scores(index=ExampleIndex([]), values=np.empty(0), high_means=scorer.high_means)
        merge = scorer.extend(store.state(earlier.id), nothing, signals)
        return _Scored(scores=merge.new, behind=earlier, state_of=earlier, computed=computed)
    before = store.scores(earlier.id)
    merge = scorer.extend(store.state(earlier.id), before, signals)
    if merge.changed is not None:
        return _Scored(scores=merge.over(before), state=merge.state, computed=computed)
    return _Scored(scores=merge.new, behind=earlier, state=merge.state, computed=computed)


def _fill(store: Store, draft: Draft, scored: _Scored) -> None:
    """Write new scores behind earlier ones, the state, and which rows are frozen."""
    draft.meta |= {"computed": scored.computed, **scored.halves}
    if scored.behind is not None:
        draft.share(scored.behind.table("scores"))
        draft.meta |= {name: scored.behind.meta[name] for name in ("high_means", "has_standard_error", "columns")}
    if scored.scores is not None:
        frame, described = scores_to_table(scored.scores)
        draft.add_table("scores", frame)
        draft.meta |= described
    if scored.state is not None:
        draft.add_bytes("state", "state.safetensors", to_bytes(scored.state, {}))
    elif scored.state_of is not None:
        draft.share(scored.state_of.table("state"))
    draft.meta |= {key: draft.request.settings[key] for key in ("scorer", "array") if key in draft.request.settings}
    if "earlier" in draft.request.inputs:
        _list_frozen(store, draft, scored)


def _list_frozen(store: Store, draft: Draft, scored: _Scored) -> None:
    """List the rows that what was stored with earlier scores has scored."""
    start = store.record(draft.request.inputs["earlier"])
    if scored.behind is not None:
        draft.share(scored.behind.table("frozen"))
    if scored.scores is not None:
        draft.add_table("frozen", scored.scores.index.ids.alias("example_id").to_frame())
    trainings = [one for role, one in sorted(start.request.inputs.items()) if role.startswith("signals.")]
    learnt = [one for one in trainings if store.record(one).kind == "training"]
    draft.meta["frozen"] = {"stored": learnt or [start.id], "scores": start.id}


@dataclass(frozen=True, kw_only=True)
class _GivenScores(Scorer):
    """A user's own numbers as scores."""

    per_example: ClassVar[bool] = True

    name: str
    """The array that holds them."""
    high_means: HighMeans  # type: ignore[misc]
    """What a high value says."""

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """The array."""
        return (self.name,)

    def __call__(self, signals: Signals) -> Scores:
        """The numbers as they are."""
        values = signals[self.name]
        if values.ndim != 1:
            raise ValueError(f"a score is one number per example; array {self.name!r} has {values.shape[1:]}")
        return Scores(index=signals.index, values=values, high_means=self.high_means)
