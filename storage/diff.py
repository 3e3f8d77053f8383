"""Diff: what moved between two versions of a subset or of a data set, row by row, and because of what."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from storage.artifacts import Artifacts, Record
from storage.damage import damage_told
from storage.dataset import Dataset
from storage.errors import NotFoundError
from storage.files import Files
from storage.lineage import Change, changed_requests, changed_settings
from storage.versions import Version, Versions, parse_reference

COLUMNS = {
    "example_id": pl.String,
    "change": pl.String,
    "was": pl.String,
    "now": pl.String,
    "cause": pl.String,
    "name": pl.String,
    "before": pl.Float64,
    "after": pl.Float64,
    "text": pl.String,
}
"""Columns of the rows: one row for each change of an example and each thing that may have caused it.

`change` is `added`, `dropped`, `relabelled`, `weight changed`, and between data sets also `split changed` and
`content changed`. `was` and `now` are the reason, the label, the weight or the split on either side.
`cause` is `data` (the row is new, gone or of another split), `label` (the given label differs), `score` (its
score `name` went from `before` to `after`), `rule` (the setting `name` differs), `synthetic` (the row was made by
rebalancing, of which parents), `others` (its own scores are the same, those of other examples are not), `seed` or
`input`.
"""

CHANGES = {
    "subset": ("added", "dropped", "relabelled", "weight changed"),
    "dataset": ("added", "dropped", "relabelled", "split changed", "content changed"),
}
"""What can change between two versions, by kind."""


@dataclass(frozen=True, kw_only=True)
class Diff:
    """What moved between two versions."""

    first: Version
    second: Version
    counts: Mapping[str, int]
    """Examples by change, and `kept`: those that both versions keep, changed or not."""
    rows: pl.DataFrame
    """One row for each change and each cause, with `COLUMNS`; what stayed as it was has none."""
    origins: tuple[Change, ...]
    """Settings, seeds, revisions and sources that differ in how the two were made, inputs included."""


@damage_told("a file behind one of the two versions")
def diff(files: Files, artifacts: Artifacts, versions: Versions, first: str, second: str) -> Diff:
    """What moved from one version to another.

    Where several things differ for an example, each has a row: the rule is not run again to tell which was enough.

    Args:
        files: bytes of the store.
        artifacts: its artifacts.
        versions: its versions.
        first: a version such as `digits-clean@1`; where a subset and a data set share a name, the subset is meant.
        second: another one of the same kind, of the same name or not.

    Raises:
        NotFoundError: there is no such version.
        ValueError: one is a subset and the other a data set.
    """
    kind = _common_kind(versions, first, second)
    pair = versions.find(kind, first), versions.find(kind, second)
    records = artifacts.record(pair[0].artifact), artifacts.record(pair[1].artifact)
    sides = [Dataset(files, _dataset_record(artifacts, record)) for record in records]
    if kind == "dataset":
        rows, kept = _dataset_rows(files, sides[0], sides[1])
    else:
        rows, kept = _subset_rows(files, artifacts, records, sides)
    rows = rows.select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items())
    order = pl.col("change").replace_strict(list(CHANGES[kind]), list(range(len(CHANGES[kind]))))
    counted = dict(rows.unique(["example_id", "change"]).group_by("change").len().iter_rows())
    return Diff(
        first=pair[0],
        second=pair[1],
        counts={"kept": kept, **{change: counted.get(change, 0) for change in CHANGES[kind]}},
        rows=rows.sort(order, "example_id", maintain_order=True),
        origins=tuple(_origins(artifacts, records)),
    )


def _origins(artifacts: Artifacts, records: tuple[Record, Record]) -> list[Change]:
    """What differs in how the two were made; a rebalanced selection is held against another by what it rebalances."""
    ids = [record.request.inputs.get("selection", record.id) for record in records]
    rebalanced = [record.id != one for record, one in zip(records, ids, strict=True)]
    if rebalanced[0] == rebalanced[1]:
        return changed_requests(artifacts, records[0].id, records[1].id)
    own = [record.request.settings if is_so else {} for record, is_so in zip(records, rebalanced, strict=True)]
    changed = [Change(role="", name=name, before=one, after=two) for name, one, two in changed_settings(*own)]
    return [*changed, *changed_requests(artifacts, ids[0], ids[1])]


def _common_kind(versions: Versions, *references: str) -> str:
    """`subset` or `dataset`: what both references name."""
    names = [parse_reference(reference)[0] for reference in references]
    kinds = [{kind for kind in ("subset", "dataset") if versions.knows(kind, name)} for name in names]
    for name, found in zip(names, kinds, strict=True):
        if not found:
            known = sorted({one for kind in ("dataset", "subset") for one in versions.names(kind)})
            raise NotFoundError(f"there is nothing named {name!r}; the store has {', '.join(known) or 'no names yet'}")
    common = kinds[0] & kinds[1]
    if not common:
        raise ValueError(
            f"{names[0]} is a {min(kinds[0])} and {names[1]} a {min(kinds[1])}; compare two subsets or two data sets"
        )
    return "subset" if "subset" in common else "dataset"


def _dataset_record(artifacts: Artifacts, record: Record) -> Record:
    return record if record.kind == "dataset" else artifacts.record(record.request.inputs["dataset"])


def _dataset_rows(files: Files, first: Dataset, second: Dataset) -> tuple[pl.DataFrame, int]:
    """Rows of a diff of two data sets, and how many examples both have."""
    sides = [_facts(one) for one in (first, second)]
    both = sides[0].join(sides[1], on="example_id", how="full", coalesce=True, suffix="_b")
    there = pl.col("split").is_not_null(), pl.col("split_b").is_not_null()
    given, split = (pl.col("label"), pl.col("label_b")), (pl.col("split"), pl.col("split_b"))
    stayed = both.filter(there[0] & there[1])
    rows = [
        _changed(both.filter(~there[0]), "added", None, split[1]).pipe(_because, "data", text=pl.lit("the row is new")),
        _changed(both.filter(~there[1]), "dropped", split[0], None).pipe(
            _because, "data", text=pl.lit("the row is gone")
        ),
        _changed(stayed.filter(given[0].ne_missing(given[1])), "relabelled", *given).pipe(
            _because, "label", "label", text=_arrow("was", "now")
        ),
        _changed(stayed.filter(split[0] != split[1]), "split changed", *split).pipe(_because, "data", "split"),
    ]
    rows += [
        _changed(ids, "content changed", None, None).pipe(_because, "data", name)
        for name, ids in _changed_content(files, first, second)
    ]
    return pl.concat(rows, how="diagonal_relaxed"), len(stayed)


def _facts(dataset: Dataset) -> pl.DataFrame:
    """Id, split and label (null where there is none) of every example."""
    rows = dataset.scan()
    label = pl.col("label").cast(pl.String) if "label" in rows.collect_schema() else pl.lit(None, pl.String)
    return rows.select("example_id", "split", label.alias("label")).collect()


def _changed_content(files: Files, first: Dataset, second: Dataset) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each other column that both have, with the ids of the rows in which it differs; shared files are not read."""
    tables = first.record.table("examples"), second.record.table("examples")
    hashes = [{file.sha256 for file in table} for table in tables]
    own = [files.local([one for one in table if one.sha256 not in hashes[0] & hashes[1]]) for table in tables]
    if not own[0] or not own[1]:
        return
    before, after = (pl.scan_parquet(paths, glob=False) for paths in own)
    columns = after.collect_schema()
    for name, dtype in before.collect_schema().items():
        if name in ("example_id", "split", "label", "clean_label") or name not in columns:
            continue
        other = after.select("example_id", pl.col(name).alias("after"))
        pairs = before.select("example_id", pl.col(name).alias("before")).join(other, on="example_id")
        differs = pl.lit(value=True) if dtype != columns[name] else pl.col("before").ne_missing(pl.col("after"))
        ids = pairs.filter(differs).select("example_id").collect()
        if len(ids):
            yield name, ids


def _subset_rows(
    files: Files, artifacts: Artifacts, records: tuple[Record, Record], sides: list[Dataset]
) -> tuple[pl.DataFrame, int]:
    """Rows of a diff of two subsets, and how many examples both keep."""
    records = _with_selection(artifacts, records[0]), _with_selection(artifacts, records[1])
    selections = [_decisions(files, record, side) for record, side in zip(records, sides, strict=True)]
    both = selections[0].join(selections[1], on="example_id", how="full", coalesce=True, suffix="_b")
    keeps = (pl.col("weight") > 0).fill_null(value=False), (pl.col("weight_b") > 0).fill_null(value=False)
    stayed = both.filter(keeps[0] & keeps[1])
    weights = pl.col("weight"), pl.col("weight_b")
    labels = pl.col("label"), pl.col("label_b")
    moved = pl.concat(
        [
            _changed(both.filter(~keeps[0] & keeps[1]), "added", pl.col("reason"), pl.col("reason_b")),
            _changed(both.filter(keeps[0] & ~keeps[1]), "dropped", pl.col("reason"), pl.col("reason_b")),
            _changed(stayed.filter(labels[0].ne_missing(labels[1])), "relabelled", *labels),
            _changed(stayed.filter(weights[0] != weights[1]), "weight changed", *weights),
        ]
    )
    compared = moved.join(both.filter(weights[0].is_not_null() & weights[1].is_not_null()), on="example_id")
    corrected = (labels[0] != pl.col("given")) | (labels[1] != pl.col("given_b"))
    decided = compared.filter((pl.col("change") != "relabelled") | corrected.fill_null(value=False))
    made = [_parents(files, record) for record in records]
    causes = [
        *(moved.join(one, on="example_id").pipe(_because, "synthetic", text=pl.col("text")) for one in made),
        *_data_causes(moved.join(pl.concat(made), on="example_id", how="anti"), both, [_facts(side) for side in sides]),
        _label_causes(compared),
        *_score_causes(files, artifacts, records, decided),
        *_rule_causes(records, decided),
    ]
    told = pl.concat(causes, how="diagonal_relaxed")
    rest = moved.join(told, on=["example_id", "change"], how="anti")
    return pl.concat([told, *_distant_causes(records, rest)], how="diagonal_relaxed"), len(stayed)


def _with_selection(artifacts: Artifacts, record: Record) -> Record:
    """A rebalanced selection's record, as if its request held that of the selection which it rebalances, too."""
    request = record.request
    if "selection" not in request.inputs:
        return record
    before = artifacts.record(request.inputs["selection"]).request
    inputs = {**before.inputs, **{role: one for role, one in request.inputs.items() if role != "selection"}}
    return replace(record, request=replace(request, settings={**before.settings, **request.settings}, inputs=inputs))


def _parents(files: Files, record: Record) -> pl.DataFrame:
    """Id of each synthetic row of a selection, and what it was made of."""
    if not record.table("synthetic"):
        return pl.DataFrame(schema={"example_id": pl.String, "text": pl.String})
    rows = pl.read_parquet(files.local(record.table("synthetic")), glob=False)
    text = pl.format("made of {} and {} at {}", "parent_a", "parent_b", pl.col("gap").round(4))
    return rows.select("example_id", text=text)


def _decisions(files: Files, record: Record, dataset: Dataset) -> pl.DataFrame:
    """Id, weight, reason, given label and the label to train on of all a selection decided on; synthetic rows too."""
    columns = ["example_id", "weight", "reason", "label"]
    tables = [one for name in ("selection", "synthetic") if (one := files.local(record.table(name)))]
    decided = pl.concat([pl.read_parquet(paths, columns=columns, glob=False) for paths in tables])
    classes = pl.Series(dataset.schema.classes, dtype=pl.String)
    rows = decided.join(_facts(dataset), on="example_id", how="left", suffix="_given")
    corrected = (
        classes.gather(rows["label"]) if len(classes) else pl.repeat(None, len(rows), dtype=pl.String, eager=True)
    )
    given = rows["label_given"]
    return rows.select(
        "example_id", "weight", "reason", given=given, label=corrected.zip_with(corrected.is_not_null(), given)
    )


def _changed(rows: pl.DataFrame, change: str, was: pl.Expr | None, now: pl.Expr | None) -> pl.DataFrame:
    """One row per change, not yet with its cause."""
    empty = pl.lit(None, dtype=pl.String)
    sides = [empty if one is None else one.cast(pl.String) for one in (was, now)]
    return rows.select("example_id", pl.lit(change).alias("change"), sides[0].alias("was"), sides[1].alias("now"))


def _because(
    rows: pl.DataFrame,
    cause: str,
    name: str | None = None,
    *,
    text: pl.Expr | None = None,
    before: pl.Expr | None = None,
    after: pl.Expr | None = None,
) -> pl.DataFrame:
    """Rows with their cause, as `COLUMNS` has them."""
    further = {"before": before, "after": after, "text": text}
    values = {
        column: (pl.lit(None) if value is None else value).cast(COLUMNS[column]) for column, value in further.items()
    }
    fixed = {"cause": pl.lit(cause), "name": pl.lit(name, dtype=pl.String)}
    return rows.select("example_id", "change", "was", "now", **fixed, **values)


def _data_causes(moved: pl.DataFrame, both: pl.DataFrame, sides: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Changes of examples that only one of the selections was asked about."""
    for weight, absent, other, text in (
        ("weight", sides[0], sides[1], "the row is new"),
        ("weight_b", sides[1], sides[0], "the row is gone"),
    ):
        rows = moved.join(both.filter(pl.col(weight).is_null()), on="example_id", how="semi")
        yield rows.join(absent, on="example_id", how="anti").pipe(_because, "data", text=pl.lit(text))
        there = rows.join(absent.select("example_id", away="split"), on="example_id")
        there = there.join(other.select("example_id", here="split"), on="example_id", how="left")
        way = ("away", "here") if weight == "weight" else ("here", "away")
        told = pl.format("its split was {} and is {}", *way)
        yield there.pipe(_because, "data", "split", text=told)


def _label_causes(compared: pl.DataFrame) -> pl.DataFrame:
    """Changes of examples whose given label differs."""
    rows = compared.filter(pl.col("given").ne_missing(pl.col("given_b")))
    return rows.pipe(_because, "label", "label", text=_arrow("given", "given_b"))


def _score_causes(
    files: Files, artifacts: Artifacts, records: tuple[Record, Record], decided: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """Changes of examples for which a score that both rules read has another value."""
    inputs = records[0].request.inputs, records[1].request.inputs
    for role in inputs[0]:
        if not role.startswith("score.") or inputs[0][role] == inputs[1].get(role, inputs[0][role]):
            continue
        values = [_values(files, artifacts.record(one[role])) for one in inputs]
        pairs = values[0].rename({"value": "before"}).join(values[1].rename({"value": "after"}), on="example_id")
        rows = decided.join(pairs.filter(pl.col("before") != pl.col("after")), on="example_id")
        name, (before, after) = role.removeprefix("score."), (pl.col("before"), pl.col("after"))
        yield rows.pipe(_because, "score", name, before=before, after=after, text=pl.col("reason_b"))


def _values(files: Files, scores: Record) -> pl.DataFrame:
    paths = files.local(scores.table("scores"))
    return pl.read_parquet(paths, columns=["example_id", "value"], glob=False)


def _rule_causes(records: tuple[Record, Record], decided: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Every setting of the rule that differs, for every change that the rule may have made."""
    requests = records[0].request, records[1].request
    changed = changed_settings(requests[0].settings, requests[1].settings)
    if requests[0].revision != requests[1].revision:
        changed.append(("revision", requests[0].revision, requests[1].revision))
    for path, before, after in changed:
        name, sides = (
            path.removeprefix("selector.").removeprefix("rebalancer."),
            (pl.lit(_number(before)), pl.lit(_number(after))),
        )
        text = pl.lit(f"{before} → {after}")
        yield decided.pipe(_because, "rule", name, before=sides[0], after=sides[1], text=text)


def _distant_causes(records: tuple[Record, Record], rest: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Causes that lie in no example of its own: other examples, the seed, further inputs."""
    requests = records[0].request, records[1].request
    differ = [
        role
        for role in dict.fromkeys((*requests[0].inputs, *requests[1].inputs))
        if requests[0].inputs.get(role) != requests[1].inputs.get(role)
    ]
    if any(role == "dataset" or role.startswith("score.") for role in differ):
        text = "nothing changed for this example; the others it was compared with did"
        yield rest.pipe(_because, "others", text=pl.lit(text))
    for role in differ:
        if role != "dataset" and not role.startswith("score."):
            yield rest.pipe(_because, "input", role)
    if requests[0].seed != requests[1].seed:
        yield rest.pipe(_because, "seed", "seed", text=pl.lit(f"{requests[0].seed} → {requests[1].seed}"))


def _arrow(before: str, after: str) -> pl.Expr:
    """Such as `cat → dog`."""
    return pl.concat_str(pl.col(before).fill_null("none"), pl.lit(" → "), pl.col(after).fill_null("none"))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
