"""What `tamis show` prints: names and versions, one version with its lineage, one example with its scores."""

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.tree import Tree

from flows.report.answers import print_table
from flows.report.explained import print_why
from flows.report.tables import kept_text, metric_rows, model_text
from flows.report.terminal import print_rows
from storage.errors import NotFoundError
from storage.store import Store
from storage.versions import KINDS, Version, parse_reference

_MOST_FEATURES = 8


def print_names(store: Store, console: Console) -> None:
    """Every name with its newest version."""
    rows = []
    for kind in KINDS:
        for name in store.names(kind):
            version = store.version(kind, name)
            rows.append(
                {"kind": kind, "newest": str(version), "created": _when(version), "holds": _holds(store, version)}
            )
    if not rows:
        console.print("The store has no versions yet; `tamis run digits` makes some.")
    print_rows("Names in the store", rows, console)


def print_tags(store: Store, console: Console) -> None:
    """Every tag with the version that it stands for."""
    rows = [
        {"tag": tag.tag, "kind": kind, "is": tag.reference, "since": tag.created_at[:16].replace("T", " ")}
        for kind in KINDS
        for tag in store.tags(kind)
    ]
    if not rows:
        console.print("The store has no tags yet; `tamis tag digits-clean@1 production` makes one.")
    print_rows("Tags in the store", rows, console)


def print_version(store: Store, reference: str, console: Console, *, recipe: bool) -> None:
    """All versions of a name; or one version with its counts and lineage.

    Raises:
        NotFoundError: no kind has such a name or version.
    """
    name, number = parse_reference(reference)
    tagged = [kind for kind in KINDS if name not in store.names(kind) and store.knows(kind, name)]
    for kind in tagged:
        _print_one(store, store.version(kind, reference), console, recipe=recipe)
    if tagged:
        return
    kinds = [kind for kind in KINDS if name in store.names(kind)]
    if not kinds:
        known = sorted({one for kind in KINDS for one in store.names(kind)})
        raise NotFoundError(f"there is nothing named {name!r}; the store has {', '.join(known) or 'no names yet'}")
    for kind in kinds:
        if number is None and "@" not in reference:
            versions = store.versions(kind, name)
            rows = [
                {"version": str(one), "created": _when(one), "holds": _holds(store, one), "artifact": one.artifact}
                for one in reversed(versions)
            ]
            print_rows(f"{kind} {name}", rows, console)
        elif number is None or number <= len(store.versions(kind, name)):
            _print_one(store, store.version(kind, reference), console, recipe=recipe)
    if number is not None and all(number > len(store.versions(kind, name)) for kind in kinds):
        store.version(kinds[0], reference)


def print_example(store: Store, example_id: str, console: Console) -> None:
    """One example: its row, and its scores in the newest version; of a synthetic row all that is known.

    Raises:
        NotFoundError: there is no such data set or example.
    """
    name = example_id.partition(":")[0]
    store.version("dataset", name)
    quoted = example_id.replace("'", "''")
    row = store.sql(f"SELECT * FROM dataset.\"{name}\" WHERE example_id = '{quoted}'")
    if not len(row):
        return print_why(example_id, store.why(example_id), console)
    _print_facts(console, f"{example_id} in {store.version('dataset', name)}", row.row(0, named=True))
    if name in store.names("scored"):
        scores = store.sql(f"SELECT * FROM scored.\"{name}\" WHERE example_id = '{quoted}'")
        known = set(row.columns)
        facts = {key: value for key, value in scores.row(0, named=True).items() if key not in known}
        _print_facts(console, f"scores in {store.version('scored', name)}", facts)
    for subset in store.names("subset"):
        version = store.version("subset", subset)
        if store.record(version.artifact).request.inputs["dataset"] != store.version("dataset", name).artifact:
            continue
        decided = store.sql(f"SELECT weight, reason, new_label FROM subset.\"{version}\" WHERE example_id = '{quoted}'")
        if len(decided):
            _print_facts(console, f"in {version}", decided.row(0, named=True))


def _print_facts(console: Console, title: str, facts: dict[str, object]) -> None:
    print_rows(title, [{"column": key, "value": _short(value)} for key, value in facts.items()], console)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "NULL" if value is None else str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _print_one(store: Store, version: Version, console: Console, *, recipe: bool) -> None:
    record = store.record(version.artifact)
    facts: dict[str, object] = {
        "kind": version.kind,
        "artifact": record.id,
        "created": _when(version),
        "holds": _holds(store, version),
        "made in": f"{record.seconds:.2f} s",
        "settings": json.dumps(dict(record.request.settings)),
        "seed": record.request.seed,
    }
    _print_facts(console, str(version), facts)
    if version.kind == "subset":
        print_table(store.sql(_counts_query(store, version, made=bool(record.table("synthetic")))), console, 50)
        print_rows("reasons", [{"reason": k, "examples": str(v)} for k, v in record.meta["reasons"].items()], console)
    if version.kind == "model":
        _print_card(record.meta, console)
    tree = Tree(f"{version}: {record.id}")
    _grow(store, record.id, tree, {record.id})
    console.print("lineage", style="bold")
    console.print(tree, highlight=False)
    if recipe:
        console.print("recipe", style="bold")
        console.print_json(json.dumps(version.recipe))


def _print_card(card: Mapping[str, Any], console: Console) -> None:
    """What a model reads and says, and how it did on the test split."""
    features = [f"{one['name']} ({one['kind']})" for one in card["features"]]
    more = f" and {len(features) - _MOST_FEATURES} more" if len(features) > _MOST_FEATURES else ""
    facts = {
        "trained on": card["trained_on"] or card["dataset"],
        "learner": json.dumps(card["learner"]),
        "model": json.dumps(card["model"]),
        "reads": ", ".join(features[:_MOST_FEATURES]) + more,
        "input shape": " x ".join(map(str, card["input_shape"])),
        "classes": ", ".join(card["classes"]),
        "last epoch": card["epoch"],
        "best epoch": card["best_epoch"],
        "temperature": card["temperature"],
        "best temperature": card["best_temperature"],
    }
    _print_facts(console, "card", facts)
    columns = {"last epoch": card["metrics"], "best epoch": card["best_metrics"]}
    metrics = metric_rows({title: found for title, found in columns.items() if found})
    print_rows("on the test split", metrics, console)


def _grow(store: Store, artifact: str, tree: Tree, seen: set[str]) -> None:
    """Add an artifact's inputs below it; one that is shown already is not opened again."""
    for role, source in sorted(store.record(artifact).request.inputs.items()):
        branch = tree.add(f"{role}: {source}" + (" (above)" if source in seen else ""))
        if source not in seen:
            seen.add(source)
            _grow(store, source, branch, seen)


def _when(version: Version) -> str:
    return version.created_at[:16].replace("T", " ")


def _holds(store: Store, version: Version) -> str:
    record = store.record(version.artifact)
    if version.kind == "dataset":
        splits = ", ".join(f"{name} {number}" for name, number in record.meta["counts"]["by_split"].items())
        return f"{record.rows('examples')} examples ({splits})"
    if version.kind == "subset":
        return kept_text(record)
    if version.kind == "signals":
        return f"{', '.join(record.meta['signals'])} of {record.rows('signals')} examples"
    if version.kind == "model":
        return model_text(record.meta)
    return f"scores {', '.join(record.meta['columns'])}"


def _counts_query(store: Store, version: Version, *, made: bool) -> str:
    """Counts of a subset's rows, by class where it has labels; `made` says whether some are synthetic."""
    dataset = store.dataset(store.record(version.artifact).request.inputs["dataset"])
    given, further = (" AND NOT synthetic", ", count(*) FILTER (synthetic) AS synthetic") if made else ("", "")
    counts = f"count(*) FILTER (weight > 0{given}) AS kept, count(*) FILTER (weight = 0) AS dropped"
    if not dataset.schema.classes:
        return f'SELECT {counts}{further} FROM subset."{version}"'
    relabelled = "count(*) FILTER (relabelled) AS relabelled"
    return f'SELECT label, {counts}, {relabelled}{further} FROM subset."{version}" GROUP BY label ORDER BY label'
