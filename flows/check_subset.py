"""Step: checks of a published subset: who can be told apart, what shifted, what leaks into other splits.

Nothing is trained on what is found, and nothing is chosen by it: test rows are read to be compared alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.checks.effective_rank import rank_comparison
from curation.checks.leakage import (
    MIN_COLUMNS,
    LeakingPairs,
    alike_numbers,
    alike_texts,
    parent_pairs,
    same_content,
)
from curation.checks.share_shift import ShareShift, share_shift
from curation.checks.two_samples import MAX_ROWS, MIN_ROWS, are_enough, bag_of_words, two_samples
from curation.examiners.hashed_ngrams import HashedNgrams
from curation.examiners.minhash import MinHash
from curation.neighbors import embedding_of
from curation.scorers.exact_duplicates import first_with_same
from curation.scorers.near_duplicates import NearDuplicates
from flows.checked_rows import TEXT, CheckedRows, checked_rows
from flows.seeding import derived_seed
from flows.signal_sources import read_signals
from flows.step import Progress, Show, Step, run_step, show_nothing
from storage.artifacts import Request
from storage.dataset import Dataset
from storage.lineage import ancestry
from storage.schemas import SPLITS
from storage.store import Store
from storage.values import SyntheticRows

REVISION = 2
"""Raised whenever a check's numbers change."""
NAMED_PAIRS = 100
"""Leaking pairs that are named, the most alike first; the others are counted."""
MOST_PRODUCTS = 10**11
"""Multiplications spent on looking for near duplicates of numbers; beyond them some rows are left out, evenly."""

Row = dict[str, Any]
Positions = NDArray[np.int64]
Present = TypeVar("Present")


def check_subset(store: Store, reference: str, show: Show = show_nothing) -> Row:
    """What the checks say of a subset, such as `digits-clean@1`; computed once and kept in the store.

    Returns:
        `counts`, `two_samples`, `effective_rank`, `shifts` and `leakage`, as JSON values; see `docs/checks.md`.
    """
    step = check_step(store, reference)
    run_step(store, step, None, show)
    return dict(store.record(step.id).meta)


def check_step(store: Store, reference: str) -> Step:
    """The step that checks a subset.

    Raises:
        NotFoundError: there is no such subset.
    """
    version = store.version("subset", reference)
    inputs = {"selection": version.artifact, "dataset": store.record(version.artifact).request.inputs["dataset"]}
    # Only where there are synthetic rows, so that checks of other subsets stay what they were.
    settings = {"parents": True} if store.record(version.artifact).rows("synthetic") else {}
    request = Request(kind="check", settings=settings, inputs=inputs, seed=derived_seed(0, "check"), revision=REVISION)
    return Step(title=f"check {version}", module="check_subset", request=request)


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Check after check."""
    with store.write(step.request) as draft:
        checked = _checked(store, step.request)
        for place, (name, check) in enumerate(_CHECKS.items()):
            draft.meta[name] = check(checked)
            yield Progress(done=place + 1, total=len(_CHECKS), unit="checks", note=name.replace("_", " "))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Checked:
    """A subset, and the rows of all splits of its data set."""

    dataset: Dataset
    kept: NDArray[np.bool_]
    """(N,) which training rows have a weight above 0."""
    rows: dict[str, CheckedRows]
    """The rows of each split."""
    contents: dict[str, Positions]
    """For each split, numbers that are equal where the content is, over all splits."""
    synthetic: SyntheticRows | None
    """Rows that were made from others, or None."""
    embedding: NDArray[np.floating] | None
    """(N, D) the embedding of training rows that the selection's scores read, or None."""
    seed: int

    def generator(self, *names: str) -> np.random.Generator:
        """Chance of one check's own."""
        return np.random.default_rng(derived_seed(self.seed, *names))


def _checked(store: Store, request: Request) -> _Checked:
    dataset = store.dataset(request.inputs["dataset"])
    selection = store.selection(request.inputs["selection"])
    rows = {split: checked_rows(dataset, split) for split in SPLITS}
    firsts = first_with_same(np.concatenate([rows[split].hashes for split in SPLITS]))
    ends = np.cumsum([len(rows[split]) for split in SPLITS])
    assert request.seed is not None
    return _Checked(
        dataset=dataset,
        kept=selection.kept,
        rows=rows,
        contents=dict(zip(SPLITS, np.split(firsts, ends[:-1]), strict=True)),
        synthetic=selection.synthetic,
        embedding=_recorded_embedding(store, request, rows["train"]),
        seed=request.seed,
    )


def _recorded_embedding(store: Store, request: Request, training: CheckedRows) -> NDArray[np.floating] | None:
    """The embedding that the selection or one of its scores was made from, examined or recorded by a learner."""
    for record in reversed(ancestry(store.artifacts, request.inputs["selection"])):
        signals = [one for role, one in record.request.inputs.items() if role.startswith("signals.")]
        source = store.record(signals[0]) if signals else None
        if source is None or "embedding" not in source.meta.get("signals", {}):
            continue
        if source.kind == "training":
            embedding = embedding_of(read_signals(store, record.request, ("embedding",)))
        else:
            embedding = store.unrecorded(source.id, training.index, ["embedding"])["embedding"]
        return embedding.reshape(len(embedding), -1)
    return None


def _counts(checked: _Checked) -> Row:
    """Examples of the pool, those kept, and those of the other splits."""
    others = {split: len(checked.rows[split]) for split in SPLITS[1:]}
    return {"pool": len(checked.kept), "kept": int(checked.kept.sum()), **others}


def _two_samples(checked: _Checked) -> list[Row]:
    """Kept against dropped, the training split against the test split, and what was kept against that."""
    kept, dropped = (np.flatnonzero(side) for side in (checked.kept, ~checked.kept))
    every = {split: np.arange(len(checked.rows[split])) for split in SPLITS}
    found = [_told_apart(checked, ("the subset", "train", kept), ("the rest of the pool", "train", dropped))]
    test = ("the test split", "test", every["test"])
    found.append(_told_apart(checked, ("the training split", "train", every["train"]), test))
    if len(dropped):
        found.append(_told_apart(checked, ("the subset", "train", kept), test))
    return found


def _told_apart(checked: _Checked, first: tuple[str, str, Positions], second: tuple[str, str, Positions]) -> Row:
    """One two-sample test, of samples given by name, split and rows; or why there is none."""
    generator = checked.generator("two samples", first[0], second[0])
    told: Row = {"first": first[0], "second": second[0]}
    sides = [(split, _drawn(rows, generator)) for _, split, rows in (first, second)]
    contents = np.concatenate([checked.contents[split][rows] for split, rows in sides])
    belongs = np.arange(len(contents)) < len(sides[0][1])
    if not are_enough(belongs, contents):
        return {**told, "skipped": f"one of them has fewer than {MIN_ROWS} rows of different content"}
    texts = [checked.rows[split].texts for split, _ in sides]
    if checked.embedding is not None and texts[0] is None and sides[0][0] == sides[1][0] == "train":
        told["on"], rows = "recorded embedding", checked.embedding[np.concatenate([one for _, one in sides])]
    elif checked.rows["train"].numbers is None:
        told["on"] = "words"
        rows = bag_of_words([one for (_, place), side in zip(sides, texts, strict=True) for one in _of(side)[place]])
    else:
        told["on"] = "features"
        rows = np.concatenate([_of(checked.rows[split].numbers)[place] for split, place in sides])
    found = two_samples(rows, belongs, contents, generator)
    verdict = {"distinguishable": found.is_distinguishable, "sentence": found.sentence(first[0], second[0])}
    return {**told, **asdict(found), **verdict}


def _drawn(rows: Positions, generator: np.random.Generator) -> Positions:
    return rows if len(rows) <= MAX_ROWS else np.sort(generator.choice(rows, MAX_ROWS, replace=False))


def _effective_rank(checked: _Checked) -> Row:
    """Effective rank of what was kept beside as many rows of the pool; or why there is none."""
    on, space = _space(checked)
    if not space[checked.kept].any():
        return {"on": on, "skipped": "nothing but zeros was kept, or nothing at all"}
    return {"on": on, **asdict(rank_comparison(space, checked.kept, checked.generator("effective rank")))}


def _space(checked: _Checked) -> tuple[str, NDArray[np.floating]]:
    """The training rows as vectors, with a word on what they are."""
    training = checked.rows["train"]
    if checked.embedding is not None:
        return "recorded embedding", checked.embedding
    if training.numbers is not None:
        return "features", _scaled(checked, training.numbers)
    examiner = HashedNgrams(column=TEXT)
    return "hashed n-grams", examiner(training.index, {TEXT: _of(training.texts)})["embedding"]


def _scaled(checked: _Checked, numbers: NDArray[np.floating]) -> NDArray[np.floating]:
    """Images and vectors as they are; columns of a table by the mean and deviation of the training split."""
    if all(feature.kind in ("image", "vector") for feature in checked.dataset.schema.features):
        return numbers
    training = _of(checked.rows["train"].numbers)
    middle, spread = training.mean(axis=0, dtype=np.float64), training.std(axis=0, dtype=np.float64)
    scaled: NDArray[np.float64] = (numbers - middle) / np.where(spread > 0, spread, 1.0)
    return scaled


def _shifts(checked: _Checked) -> list[Row]:
    """Shares of classes, by the labels given, and of groups."""
    schema = checked.dataset.schema
    parts = (
        ("class", checked.dataset.labels("train"), schema.classes),
        ("group", checked.dataset.groups("train"), schema.groups),
    )
    return [
        _shift_row(by, share_shift(positions, names, checked.kept))
        for by, positions, names in parts
        if positions is not None
    ]


def _shift_row(by: str, found: ShareShift) -> Row:
    parts = [{**asdict(one), "shift": one.shift} for one in found.parts]
    return {"by": by, "p_value": found.p_value, "parts": parts}


def _leakage(checked: _Checked) -> list[Row]:
    """Rows of the other splits that a kept row equals, and those that one nearly equals."""
    kept = np.flatnonzero(checked.kept)
    found = []
    for split in SPLITS[1:]:
        contents = checked.contents[split]
        if not len(contents):
            continue
        same = same_content(checked.contents["train"][kept], contents)
        found.append(_pairs_row(checked, split, "same content", kept, np.arange(len(contents)), same))
        others = np.setdiff1d(np.arange(len(contents)), same.other)
        found.append(_near_row(checked, split, _first_of_each(checked, kept), others))
        if checked.synthetic is not None:
            found.append(_parents_row(checked, split, checked.synthetic))
    return found


def _parents_row(checked: _Checked, split: str, made: SyntheticRows) -> Row:
    """Synthetic rows of which a parent lies in the split, or has the content of a row there; each once."""
    contents = pl.concat(
        pl.DataFrame({"parent": checked.rows[name].index.ids, "content": checked.contents[name]}) for name in SPLITS
    )
    other = pl.DataFrame({"other": checked.rows[split].index.ids, "content": checked.contents[split]})
    pairs = parent_pairs(_parents(made).join(contents, on="parent", maintain_order="left"), other)
    named = pairs.head(NAMED_PAIRS).select(training="row", other="other", parent="parent").to_dicts()
    kind = "parent of a synthetic row"
    return {"split": split, "kind": kind, "pairs": len(pairs), "compared": len(made), "most_alike": named}


def _parents(made: SyntheticRows) -> pl.DataFrame:
    """Id of each synthetic row beside that of each of its parents, voters included: `row`, `parent`."""
    sides = [
        pl.DataFrame({"row": made.index.ids, "parent": parents})
        for parents in (made.parent_a, made.parent_b, made.voters)
    ]
    return pl.concat([*sides[:2], sides[2].explode("parent", empty_as_null=False)])


def _first_of_each(checked: _Checked, rows: Positions) -> Positions:
    """The first training row of each content."""
    return rows[np.unique(checked.contents["train"][rows], return_index=True)[1]]


def _near_row(checked: _Checked, split: str, training: Positions, others: Positions) -> Row:
    """Near duplicates among rows of different content; or why they were not looked for."""
    sides, scorer = (checked.rows["train"], checked.rows[split]), NearDuplicates()
    if sides[0].texts is not None:
        examiner = MinHash(column=TEXT)
        signed = [examiner(side.index, {TEXT: _of(side.texts)})["minhash"] for side in sides]
        bands = scorer.bands(examiner.num_hashes)
        found = alike_texts(signed[0][training], signed[1][others], bands, scorer.threshold)
        return _pairs_row(checked, split, "near duplicate", training, others, found)
    numbers = _of(sides[0].numbers)
    skipped = {"split": split, "kind": "near duplicate"}
    if numbers.shape[1] < MIN_COLUMNS:
        return {**skipped, "skipped": f"of fewer than {MIN_COLUMNS} numbers, rows are near each other by chance"}
    if len(training) < 2:
        return {**skipped, "skipped": "fewer than 2 rows of different content were kept"}
    most = max(1, MOST_PRODUCTS // (len(training) * numbers.shape[1]))
    others = others if len(others) <= most else others[np.linspace(0, len(others) - 1, most).astype(np.int64)]
    spaces = _scaled(checked, numbers[training]), _scaled(checked, _of(sides[1].numbers)[others])
    found = alike_numbers(*spaces, scorer.threshold)
    return _pairs_row(checked, split, "near duplicate", training, others, found)


def _pairs_row(
    checked: _Checked, split: str, kind: str, training: Positions, others: Positions, found: LeakingPairs
) -> Row:
    """How many pairs, of how many rows that were compared, and the names of the most alike."""
    order = np.argsort(-found.similarity, kind="stable")[:NAMED_PAIRS]
    named = [
        {
            "training": checked.rows["train"].index[int(training[found.training[place]])],
            "other": checked.rows[split].index[int(others[found.other[place]])],
            "similarity": float(found.similarity[place]),
        }
        for place in order
    ]
    return {"split": split, "kind": kind, "pairs": len(found), "compared": len(others), "most_alike": named}


def _of(present: Present | None) -> Present:
    """What the caller knows to be there."""
    assert present is not None
    return present


_CHECKS: dict[str, Callable[[_Checked], Any]] = {
    "counts": _counts,
    "two_samples": _two_samples,
    "effective_rank": _effective_rank,
    "shifts": _shifts,
    "leakage": _leakage,
}
