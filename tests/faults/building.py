"""A small house that is built in a store, step by step, by the code that real runs use.

`build` ends with the same store from wherever an earlier try was stopped, and says after each step what it
has published; `extend` appends to and corrects the data set of a built house. Training is replaced by logits
written out, since what is under test is the disk.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from flows import resolve
from flows.ingest_examples import source_hints, source_settings
from flows.step import Step, run_step, show_nothing
from storage.artifacts import Request
from storage.checkpoints import to_bytes
from storage.contract import Contract
from storage.files import Files, Watch
from storage.ingest.source import Source
from storage.schemas import Roles
from storage.splits import SplitFractions
from storage.store import Store
from storage.sweep import Sweep
from storage.tables import signals_to_table
from storage.versions import Version

Say = Callable[[str], None]
"""Told of a version that stands."""

KEYS = 24
COLUMNS = resolve.plain(Roles(features=("x",), label="label", key="id", split="split"))
RECIPE = {"name": "toys"}


def write_sources(folder: Path) -> None:
    """The files that the house is built from: 24 good rows, one without a label, one whose key comes twice."""
    folder.mkdir(parents=True, exist_ok=True)
    head = "id,x,label,split\n"
    rows = [f"{key},{key / 2},{'ab'[key % 2]},{'test' if key % 4 == 3 else 'train'}\n" for key in range(KEYS)]
    (folder / "first.csv").write_text(head + "".join(rows) + "nolabel,1.5,,train\n3,9.5,b,train\n")
    (folder / "more.csv").write_text(head + "100,1.5,a,train\n101,2.5,c,train\n3,8.5,a,train\n")
    (folder / "fixes.csv").write_text("key,label\n0,b\n100,b\n")


def build(root: Path, sources: Path, watch: Watch | None = None, say: Say = lambda _: None) -> None:
    """Ingest, record, score, select, tag, and publish the catalogue."""
    store = Store.create(Files(root, watch))
    dataset = _ingest(store, sources)
    _run(store, dataset, say)
    training = _record(store, dataset.id)
    score = _score(dataset.id, training)
    run_step(store, score, RECIPE, show_nothing)
    columns = {"el2n": score.id}
    inputs = {"dataset": dataset.id, "score.el2n": score.id}
    scored = Request(kind="scored", settings={"columns": columns}, inputs=inputs)
    _run(store, Step(title="", module="assemble_scores", request=scored, publish=("scored", "toys")), say)
    selection = _select(inputs)
    _run(store, selection, say)
    store.tag("subset", "production", "toys-clean@1")
    store.publish_catalog()
    artifacts = [dataset.id, training, score.id, scored.id, selection.id]
    store.remember("runs", "house", {"report": selection.id, "artifacts": artifacts, "published": []})


def extend(root: Path, sources: Path, watch: Watch | None = None, say: Say = lambda _: None) -> None:
    """Append rows to the house's data set, correct labels, and score what is there by then."""
    store = Store.create(Files(root, watch))
    first = store.version("dataset", "toys@1")
    appended = _step_on(store, first, "append_examples", Source(location=str(sources / "more.csv")))
    second = _publish_after(store, first, appended, say)
    corrected = _step_on(store, second, "relabel_examples", Source(location=str(sources / "fixes.csv")))
    _publish_after(store, second, corrected, say)
    store.tag("dataset", "live", "toys@3")
    store.publish_catalog()


def _run(store: Store, step: Step, say: Say) -> None:
    run_step(store, step, RECIPE, show_nothing)
    assert step.publish is not None
    _say(store.version(*step.publish), say)


def _say(version: Version, say: Say) -> None:
    say(f"{version.kind} {version}")


def _ingest(store: Store, sources: Path) -> Step:
    source = Source(location=str(sources / "first.csv"))
    settings = {
        "name": "toys",
        "source": source_settings(source, store.files),
        "columns": COLUMNS,
        "splits": resolve.plain(SplitFractions()),
        "contract": resolve.plain(Contract()),
    }
    request = Request(kind="dataset", settings=settings, seed=1)
    hints = source_hints(source)
    return Step(title="", module="ingest_examples", request=request, publish=("dataset", "toys"), hints=hints)


def _record(store: Store, dataset: str) -> str:
    """What a training of one epoch leaves: a checkpoint on the way, signals and a model."""
    request = Request(kind="training", settings={}, inputs={"dataset": dataset}, seed=2)
    if not store.has(request.id):
        index = store.dataset(dataset).index("train")
        logits = np.random.default_rng(0).normal(size=(len(index), 1, 2)).astype(np.float32)
        store.checkpoints.save(request.id, {"logits": logits}, {})
        with store.write(request) as draft:
            frame, meta = signals_to_table(index, {"logits": logits}, {"logits": (1,)})
            draft.add_table("signals", frame)
            draft.add_table("epochs", pl.DataFrame({"epoch": [1]}))
            draft.add_bytes("model", "model.safetensors", to_bytes({"w": logits}, {}))
            draft.meta.update(meta)
    store.checkpoints.remove(request.id)
    return request.id


def _score(dataset: str, training: str) -> Step:
    settings, revision = resolve.described("scorer", {"method": "el2n"}, "scorers.el2n")
    inputs = {"dataset": dataset, "signals.000": training}
    request = Request(kind="scores", settings={"scorer": settings}, inputs=inputs, revision=revision)
    return Step(title="", module="score_examples", request=request)


def _select(inputs: dict[str, str]) -> Step:
    given = {"method": "top_fraction", "score": "el2n", "fraction": 0.5}
    settings, revision = resolve.described("selector", given, "selection")
    request = Request(kind="selection", settings={"selector": settings}, inputs=inputs, seed=3, revision=revision)
    return Step(title="", module="select_examples", request=request, publish=("subset", "toys-clean"))


def _step_on(store: Store, version: Version, module: str, source: Source) -> Step:
    """The step that makes a data set out of this version and a source."""
    first = store.record(store.version("dataset", "toys@1").artifact).request
    settings = (
        {"append": "toys", **{name: first.settings[name] for name in ("columns", "splits", "contract")}}
        if module == "append_examples"
        else {"relabel": {"name": "toys", "by": "ada", "why": "looked"}}
    )
    request = Request(
        kind="dataset",
        settings={**settings, "source": source_settings(source, store.files)},
        inputs={"dataset": version.artifact},
        seed=1,
    )
    return Step(title="", module=module, request=request, hints=source_hints(source))


def _publish_after(store: Store, version: Version, step: Step, say: Say) -> Version:
    """The version after this one, made unless it is there."""
    if len(store.versions("dataset", "toys")) == version.number:
        run_step(store, step, None, show_nothing)
        store.publish("dataset", "toys", step.id, after=version)
    following = store.version("dataset", f"toys@{version.number + 1}")
    _say(following, say)
    return following


def tidy(root: Path, sources: Path, watch: Watch | None = None, say: Say = lambda _: None) -> None:
    """Make artifacts that nothing needs, one of them a lender of files, and sweep the house."""
    store = Store.create(Files(root, watch))
    dataset = store.version("dataset", "toys@1").artifact
    rows = pl.DataFrame({"example_id": ["toys:0"], "value": [0.5], "standard_error": [0.0]})
    for name in ("spare", "lender"):
        request = Request(kind="scores", settings={"name": name}, inputs={"dataset": dataset})
        if not store.has(request.id):
            with store.write(request) as draft:
                draft.add_table("scores", rows)
    borrower = Request(kind="scored", settings={"columns": {}}, inputs={"dataset": dataset})
    if not store.has(borrower.id):
        with store.write(borrower) as draft:
            draft.share(store.record(request.id).table("scores"))
            draft.meta.update({"dataset": dataset, "columns": {}})
    _say(store.publish("scored", "lent", borrower.id), say)
    for _ in Sweep(store.files, grace_seconds=0).remove():
        pass
