"""Plan of a score: the signals it is computed from, and what it is asked for, all ids known before the work."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from curation.scorer import MergingScorer, Scorer
from flows import resolve
from flows.config import Recipe, build
from flows.fold_trainings import OUT_OF_FOLD
from flows.plan_columns import outdated_text
from flows.plan_training import recorded_epochs, training_request
from flows.recipe_sections import ScorerConfig
from flows.signal_sources import LABELS, check_has, source_of
from flows.step import Step
from storage.artifacts import Request
from storage.growth import grown_from
from storage.store import Store

FINAL = ("logits",)
"""Signals that a stored model gives of rows that it was not trained on."""


@dataclass(frozen=True, kw_only=True)
class ScorePlan:
    """One scorer of a recipe."""

    recipe: Recipe
    store: Store
    name: str
    config: ScorerConfig
    known: Mapping[str, str]
    """Ids of scores by name that a scorer may read: those of the recipe before it, and the data set's own columns."""

    @property
    def scorer(self) -> Scorer:
        """The scorer with its settings."""
        return scorer_of(self.name, self.config)

    def request(self, dataset: str) -> Request:
        """What the scores of a data set are: of all its rows alike, or with frozen ones where that was asked for."""
        signals = next(self._signals(dataset))
        again = self._request(dataset, signals)
        if self.config.new_rows == "rerun" or self.store.has(again.id) or not self.store.has(dataset):
            return again
        for ancestor in grown_from(self.store.artifacts, dataset):
            if ancestor.relabelled and "label" in self.scorer.reads:
                return again
            for before in self._signals(ancestor.record.id):
                start = self._request(ancestor.record.id, before)
                if self.store.has(start.id):
                    stays = before if self.config.signals in self.recipe.learners else signals
                    return self._request(dataset, stays, start.id)
        return again

    def steps_before(self, request: Request, dataset: str) -> Iterator[Step]:
        """Steps that make the signals that a request names, given or stored ones left out."""
        if self.config.signals is None:
            return
        if self.config.signals in self.recipe.learners:
            if "earlier" not in request.inputs:
                for _, title, training in self._trainings(dataset, self.num_seeds(dataset)):
                    yield Step(title=title, module="train_learner", request=training)
        else:
            yield from section_steps(self.recipe, self.config.signals, dataset)
            if self.config.targets is not None:
                yield from section_steps(self.recipe, self.config.signals, request.inputs["targets"])

    def _request(self, dataset: str, signals: Mapping[str, str], earlier: str | None = None) -> Request:
        described = {"method": self.config.method, **self.config.settings}
        settings, revision = resolve.described("scorer", described, f"scorers.{self.name}")
        asked: dict[str, Any] = {"scorer": settings}
        section = self.recipe.signals.get(self.config.signals or "")
        names = section.names if section is not None else {}
        read = {name: names[name] for name in self.scorer.reads if name in names}
        if read:
            asked["names"] = read
        inputs = {"dataset": dataset, **signals, **self._targets()}
        if earlier is not None:
            asked["new_rows"], inputs["earlier"] = "frozen", earlier
        elif self._stability is not None:
            asked["halves"] = "compared"
        return Request(kind="scores", settings=asked, inputs=inputs, revision=revision)

    def _targets(self) -> dict[str, str]:
        """Ids of the data set that shows what to look for, and of its signals."""
        if self.config.targets is None:
            return {}
        targets = self.store.version("dataset", self.config.targets).artifact
        return {
            "targets": targets,
            "target_signals": examined_request(self.recipe, self.config.signals or "", targets).id,
        }

    def _signals(self, dataset: str) -> Iterator[dict[str, str]]:
        """Ids of what the scores of a data set are computed from; of given signals, then of those they extend."""
        if self.config.signals is None:
            yield {"score": self._score_read(dataset)}
        elif self.config.signals in self.recipe.learners:
            yield self._trained(dataset, self.num_seeds(dataset))
        else:
            for one in section_ids(self.recipe, self.store, self.config.signals, dataset):
                yield {"signals.000": one}

    def _score_read(self, dataset: str) -> str:
        """Id of the score that the scorer's setting `score` names."""
        wanted = str(self.config.settings["score"])
        if wanted not in self.known:
            raise ValueError(
                f"scorers.{self.name}.score names {wanted!r}; there are {', '.join(self.known) or 'none'} before it"
                f"{outdated_text(self.store, self.recipe.name, dataset, wanted)}"
            )
        return self.known[wanted]

    def num_seeds(self, dataset: str) -> int:
        """Seeds of the learner that the scores are read from.

        All of the recipe; or where they stop when stable, the fewest whose scores the store does not have yet, or knows
        to be stable.
        """
        least = self._stability
        for number in range(2, self.recipe.seeds) if least is not None else ():
            request = self._request(dataset, self._trained(dataset, number))
            if not self.store.has(request.id):
                return number
            halves = self.store.record(request.id).meta["halves_agreement"]
            if halves is not None and halves >= least:
                return number
        return self.recipe.seeds

    def is_unsettled(self, request: Request) -> bool:
        """Whether scores that are not there yet may turn out to need further seeds."""
        seeds = {role.split(".")[1] for role in request.inputs if role.startswith("signals.")}
        asks = self._stability is not None and "earlier" not in request.inputs
        return asks and len(seeds) < self.recipe.seeds and not self.store.has(request.id)

    def title(self, dataset: str) -> str:
        """Such as `score el2n`, or `score el2n from 2 of at most 5 seeds`."""
        told = f" from {self.num_seeds(dataset)} of at most {self.recipe.seeds} seeds" if self._stability else ""
        return f"score {self.name}{told}"

    @property
    def _stability(self) -> float | None:
        learner = self.recipe.learners.get(self.config.signals or "")
        return learner.stop_when_stable if learner is not None and self.scorer.by_seed else None

    def _trained(self, dataset: str, seeds: int) -> dict[str, str]:
        """Ids of the trainings of so many seeds, by role."""
        return {role: training.id for role, _, training in self._trainings(dataset, seeds)}

    def _trainings(self, dataset: str, seeds: int) -> Iterator[tuple[str, str, Request]]:
        """Role, title and request of each training that is read.

        They are on everything, `signals.<seed>`, and without a fold, `signals.<seed>.<fold>`, each kind only where the
        scorer reads what it leaves.
        """
        name = self.config.signals or ""
        config, reads = self.recipe.learners[name], set(self.scorer.reads) - set(LABELS)
        folds = config.folds if OUT_OF_FOLD in reads else None
        for seed in range(seeds):
            for fold in (*([None] if reads != {OUT_OF_FOLD} else []), *range(folds or 0)):
                request = training_request(
                    *(self.recipe, config),
                    where=f"learners.{name}",
                    dataset=dataset,
                    replicate=seed,
                    selection=None,
                    fold=fold,
                )
                seen = "on everything" if fold is None else f"without fold {fold + 1} of {folds}"
                role = f"signals.{seed:03d}" + ("" if fold is None else f".{fold:03d}")
                yield role, f"train {name} {seen}, seed {seed + 1} of {self.recipe.seeds}", request


def section_ids(recipe: Recipe, store: Store, name: str, dataset: str) -> Iterator[str]:
    """Ids of the signals that a section stands for; of given ones, then of those they extend, newest first."""
    section = recipe.signals[name]
    if section.given is None:
        yield examined_request(recipe, name, dataset).id
        return
    record = store.record(store.version("signals", section.given).artifact)
    yield record.id
    while "signals" in record.request.inputs:
        record = store.record(record.request.inputs["signals"])
        yield record.id


def section_steps(recipe: Recipe, name: str, dataset: str) -> Iterator[Step]:
    """The step that makes the signals of a section; none for given ones."""
    if recipe.signals[name].method is not None:
        request = examined_request(recipe, name, dataset)
        yield Step(title=f"examine examples for {name}", module="examine_examples", request=request)


def examined_request(recipe: Recipe, name: str, dataset: str) -> Request:
    """What an examiner is asked for."""
    section = recipe.signals[name]
    settings, revision = resolve.described(
        "examiner", {"method": section.method, **section.settings}, f"signals.{name}"
    )
    return Request(kind="signals", settings={"examiner": settings}, inputs={"dataset": dataset}, revision=revision)


def scorer_of(name: str, config: ScorerConfig) -> Scorer:
    """A recipe's scorer with its settings."""
    scorer: Scorer = resolve.method("scorer", {"method": config.method, **config.settings}, f"scorers.{name}")
    return scorer


def check_readable(recipe: Recipe, store: Store) -> None:
    """Refuse scorers that read what their signals will not have, before anything is computed.

    Raises:
        ValueError: a signal is not recorded, given or computed, or new rows cannot be frozen.
        NotFoundError: there are no given signals of that name.
    """
    for name, config in recipe.scorers.items():
        scorer = scorer_of(name, config)
        needed = [signal for signal in scorer.reads if signal not in LABELS]
        _check_targets(recipe, store, name, config, scorer)
        if ("score" in needed) != (config.signals is None):
            reads = "another score, so signals have no effect" if "score" in needed else f"signals {', '.join(needed)}"
            raise ValueError(f"scorers.{name} reads {reads}; see scorers.{name}.signals")
        if config.signals is None:
            if config.new_rows == "frozen":
                raise ValueError(f'scorers.{name}.new_rows = "frozen" has no effect on a score of other scores')
            continue
        if config.signals in recipe.learners:
            _check_recorded(recipe, name, config, scorer, needed)
        else:
            _check_section(recipe, store, name, config, needed)
        if config.new_rows == "frozen":
            _check_frozen(recipe, name, config, scorer)
    _check_folds(recipe)
    _check_stability(recipe)


def _check_stability(recipe: Recipe) -> None:
    """Refuse to stop seeds of which there are too few, or which no score reads."""
    for name, learner in recipe.learners.items():
        if learner.stop_when_stable is None:
            continue
        if recipe.seeds < 3:
            raise ValueError(
                f"learners.{name}.stop_when_stable starts with two seeds, so it has no effect with seeds = "
                f"{recipe.seeds}; allow more seeds, or leave it out"
            )
        reading = [scorer_of(own, one) for own, one in recipe.scorers.items() if one.signals == name]
        if not any(one.by_seed for one in reading):
            read = f"every scorer of {name} looks at all seeds together" if reading else f"no scorer reads {name}"
            raise ValueError(f"learners.{name}.stop_when_stable has no effect: {read}; leave it out")


def _check_folds(recipe: Recipe) -> None:
    """Refuse folds that nothing reads."""
    reading = {one.signals for name, one in recipe.scorers.items() if OUT_OF_FOLD in scorer_of(name, one).reads}
    for name, learner in recipe.learners.items():
        if learner.folds is not None and name not in reading:
            raise ValueError(
                f"learners.{name}.folds has no effect: no scorer reads {OUT_OF_FOLD!r} of {name}; add one, such as "
                f'method = "confident_learning" with signals = "{name}", or leave folds out'
            )


def _check_targets(recipe: Recipe, store: Store, name: str, config: ScorerConfig, scorer: Scorer) -> None:
    if ("benchmark" in scorer.reads) != (config.targets is not None):
        needs = "needs targets; name a data set of the store" if config.targets is None else "reads no targets"
        raise ValueError(f"scorers.{name} ({config.method}) {needs}; see scorers.{name}.targets")
    if config.targets is None:
        return
    section = recipe.signals.get(config.signals or "")
    if section is None or section.method is None:
        raise ValueError(
            f"scorers.{name}.targets: targets are examined as the examples are, so scorers.{name}.signals must name a "
            "section of [signals] that has a method"
        )
    version = store.version("dataset", config.targets)
    if version.name == recipe.name:
        raise ValueError(f"scorers.{name}.targets is {version}, the data set that is scored; name another one")


def _check_recorded(recipe: Recipe, name: str, config: ScorerConfig, scorer: Scorer, needed: list[str]) -> None:
    record, folds = recipe.learners[config.signals or ""].record, recipe.learners[config.signals or ""].folds
    if OUT_OF_FOLD in needed and folds is None:
        raise ValueError(
            f"scorers.{name} reads {OUT_OF_FOLD!r}, probabilities from trainings that never saw the example, and "
            f"learners.{config.signals} has none; add learners.{config.signals}.folds = 5, or bring your own"
        )
    needed = [one for one in needed if one != OUT_OF_FOLD]
    for signal in needed:
        if signal not in record:
            raise ValueError(
                f"scorers.{name} reads the signal {signal!r}, which learners.{config.signals}.record "
                f"does not name; it has {', '.join(record) or 'none'}"
            )
    if not needed or not hasattr(scorer, "epoch"):
        return
    last = _epochs_of(recipe, config)
    recorded = {signal: recorded_epochs(record[signal], last) for signal in needed}
    epoch = scorer.epoch or max(recorded[needed[0]])
    for signal, epochs in recorded.items():
        if epoch not in epochs:
            raise ValueError(
                f"scorers.{name} reads {signal!r} at epoch {epoch}, but learners.{config.signals}.record has "
                f"{', '.join(map(str, epochs))}"
            )


def _epochs_of(recipe: Recipe, config: ScorerConfig) -> int:
    """Epochs of the trainings that a scorer's signals are of."""
    from learners.training import Training

    learner = recipe.learners[config.signals or ""]
    return build(Training, {**recipe.training, **learner.training}, "training").epochs


def _check_section(recipe: Recipe, store: Store, name: str, config: ScorerConfig, needed: list[str]) -> None:
    section = recipe.signals[config.signals or ""]
    if section.given is not None:
        record = store.record(store.version("signals", section.given).artifact)
        for signal in needed:
            check_has(record, signal, source_of(signal, section.names))
        return
    examiner = resolve.method("examiner", {"method": section.method, **section.settings}, f"signals.{config.signals}")
    for signal in needed:
        if source_of(signal, section.names) not in examiner.gives:
            raise ValueError(
                f"scorers.{name} reads the signal {signal!r}, and signals.{config.signals} ({section.method}) gives "
                f"{', '.join(examiner.gives)}"
            )


def _check_frozen(recipe: Recipe, name: str, config: ScorerConfig, scorer: Scorer) -> None:
    """Refuse to freeze what no stored model can tell of new rows."""
    if config.signals in recipe.signals:
        if not (isinstance(scorer, MergingScorer) and scorer.frozen_at_start):
            raise ValueError(
                f'scorers.{name}.new_rows = "frozen" has no effect: {config.method} extends its scores to new rows '
                "anyway; leave it out"
            )
        return
    if not (scorer.per_example and set(scorer.reads) <= {*FINAL, *LABELS}):
        possible = ", ".join(one for one in resolve.available("scorer") if _reads_final(one))
        raise ValueError(
            f'scorers.{name}.new_rows = "frozen": {config.method} reads {", ".join(scorer.reads)} of the training '
            f"itself, which new rows have not been in; of a stored model there are {possible}"
        )
    last = _epochs_of(recipe, config)
    recorded = recorded_epochs(recipe.learners[config.signals or ""].record["logits"], last)
    read = getattr(scorer, "epoch", None) or max(recorded)
    if read != last:
        raise ValueError(
            f'scorers.{name}.new_rows = "frozen" scores new rows by the stored models, which are of epoch {last}, '
            f"but old rows are scored at epoch {read}; read epoch {last} for both"
        )


def _reads_final(method: str) -> bool:
    kind = resolve.method_class("scorer", method)
    return kind.per_example and "logits" in kind.reads and set(kind.reads) <= {*FINAL, *LABELS}
