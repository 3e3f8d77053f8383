import copy
import shutil

import polars as pl
import pytest

from flows.config import load_recipe
from flows.curate_and_train import curate_and_train, finished_before
from flows.ingest_by_hand import append_location, relabel_examples
from flows.plan import plan_run
from flows.signals_by_hand import ingest_signals
from flows.step import is_done, run_step, show_nothing
from storage.store import Store
from tests.flows.growing import COLUMNS, RECIPE, SIGNALS, begin, columns_of, no_progress, run, write_files
from tests.flows.recipes import TABLE, small_recipe

ODD = {"odd": {"method": "knn_disagreement", "signals": "numbers", "num_neighbors": 2}}
FAR = {"far": {"method": "knn_distance", "signals": "numbers", "num_neighbors": 2}}
SOURCE = {
    "name": "toys",
    "columns": {"features": ["a", "b"], "label": "kind", "key": "id"},
    "signals": {"numbers": {"method": "features"}},
    "scorers": ODD,
}


def ids(recipe, store) -> dict[str, str]:
    return {step.title: step.id for step in plan_run(recipe, store).steps}


def test_a_plan_knows_every_id_before_any_work(finished):
    store, outcome = finished
    plan = plan_run(small_recipe(), store)
    assert plan.report.id == outcome.report
    assert all(is_done(store, step) for step in plan.steps)
    assert outcome.computed == len(plan.steps)


def test_changing_a_scorer_changes_its_score_and_what_stands_on_it_only(tmp_path):
    store = Store.create(tmp_path)
    before, after = ids(small_recipe(), store), ids(small_recipe("scorers.elr_noise.epoch=1"), store)
    changed = {title for title in before if before[title] != after[title]}
    assert changed == {
        "score elr_noise",
        "assemble scores",
        "select digits-clean",
        "train plain on the subset, seed 1 of 2",
        "train plain on the subset, seed 2 of 2",
        "evaluate plain on the subset, seed 1 of 2",
        "evaluate plain on the subset, seed 2 of 2",
        "publish model digits-clean-plain",
        "compare",
    }


def test_a_raised_revision_recomputes_what_the_method_made(tmp_path, monkeypatch):
    from curation.scorers.el2n import EL2N

    store = Store.create(tmp_path)
    before = ids(small_recipe(), store)
    monkeypatch.setattr(EL2N, "revision", 99)
    after = ids(small_recipe(), store)
    assert {title for title in before if before[title] != after[title]} == {"score el2n", "assemble scores", "compare"}


def test_a_source_is_known_by_its_content_not_by_its_place(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("x,label\n1,a\n2,b\n3,a\n")
    store = Store.create(tmp_path / "store")
    columns = ("columns={features=['x'], label='label'}", "model={method='mlp'}")
    first, second = (
        ids(small_recipe(f"source.location={tmp_path / name}", *columns), store) for name in ("a.csv", "b.csv")
    )
    assert list(first.values()) == list(second.values())


def test_a_finished_run_is_recognised_without_torch_or_prefect(finished):
    store, outcome = finished
    before = finished_before(store, small_recipe())
    assert before is not None
    assert (before.report, before.computed) == (outcome.report, 0)
    assert finished_before(store, small_recipe("seed=1")) is None


def test_a_run_whose_artifact_is_gone_is_not_finished(finished, tmp_path):
    store, outcome = finished
    shutil.copytree(store.root, tmp_path / "copy")
    copy = Store.open(tmp_path / "copy")
    evaluation = next(step for step in plan_run(small_recipe(), copy).steps if step.module == "evaluate_learner")
    shutil.rmtree(copy.root / "artifacts" / evaluation.id)
    assert finished_before(copy, small_recipe()) is None
    again = curate_and_train(copy, small_recipe(), show_nothing)
    assert (again.computed, again.report) == (1, outcome.report)


def test_two_recipes_share_what_they_have_in_common(finished, tmp_path):
    store, _ = finished
    shutil.copytree(store.root, tmp_path / "copy")
    copy = Store.open(tmp_path / "copy")
    outcome = curate_and_train(copy, small_recipe("selection.subset=other", "selection.maximum=0.5"), show_nothing)
    trained = [step for step in plan_run(small_recipe(), copy).steps if step.module == "train_learner"]
    assert outcome.reused >= len(trained) - 2
    assert str(copy.version("subset", "other")) == "other@1"


def test_unknown_methods_are_refused_before_any_work(tmp_path):
    store = Store.create(tmp_path)
    with pytest.raises(ValueError, match="there is no learner 'erm2'"):
        plan_run(small_recipe("learners.plain.method=erm2"), store)
    with pytest.raises(ValueError, match="selection reads the score 'x'; the recipe's scorers are el2n"):
        plan_run(small_recipe("selection.score=x"), store)
    with pytest.raises(ValueError, match="unknown key 'epoks' in training; did you mean 'epochs'"):
        plan_run(small_recipe("training.epoks=3"), store)
    with pytest.raises(
        ValueError, match=r"scorers\.el2n reads 'logits' at epoch 2, but learners\.plain\.record has 1, 3"
    ):
        plan_run(small_recipe("scorers.el2n.epoch=2"), store)
    norms = "learners.plain.record={logits=[1,3], train_logits='every', feature_norm=[1]}"
    with pytest.raises(ValueError, match=r"scorers\.g reads 'feature_norm' at epoch 3, but .*record has 1"):
        plan_run(small_recipe(norms, "scorers.g={method='grand', signals='plain'}"), store)
    with pytest.raises(ValueError, match=r"scorers\.el2n reads 'logits' at epoch 1, but .*record has \d"):
        plan_run(small_recipe("learners.plain.record.logits=last", "scorers.el2n.epoch=1"), store)
    with pytest.raises(
        ValueError, match=r"scorers\.aum reads the signal 'train_logits', which learners\.elr\.record does"
    ):
        plan_run(small_recipe("scorers.aum.signals=elr"), store)
    assert store.artifacts.ids() == []


def test_progress_is_shown_while_a_step_works_and_when_it_ends(tmp_path):
    store = Store.create(tmp_path)
    step = plan_run(small_recipe(), store).steps[0]
    seen = []
    run_step(store, step, None, lambda step, progress: seen.append(progress))
    assert seen[0].done == 0
    assert seen[-1] is None
    assert seen[-2].done == 1797


def test_a_raised_revision_of_the_network_trains_anew(tmp_path, monkeypatch):
    store = Store.create(tmp_path)
    before = ids(small_recipe(), store)
    monkeypatch.setattr("learners.models.small_cnn.SmallCNN.revision", 2)
    after = ids(small_recipe(), store)
    trained = {title for title in before if title.startswith("train ")}
    assert trained
    assert all(before[title] != after[title] for title in trained)


def from_source(folder, **changes):
    return {**copy.deepcopy(SOURCE), "source": {"location": str(folder / "rows0.csv")}, **changes}


def correct_first_label(store, folder):
    (label,) = store.sql("SELECT label FROM dataset.toys WHERE example_id = 'toys:0'")["label"]
    (folder / "fix.csv").write_text(f"key,label\n0,{'y' if label != 'y' else 'z'}\n")
    relabel_examples(store, "toys", str(folder / "fix.csv"), "ada", "seen", no_progress)


@pytest.mark.parametrize("by_hand", ["relabel", "append"])
@pytest.mark.parametrize("noise", [None, {"method": "symmetric", "rate": 0.1}])
def test_a_changed_source_does_not_drop_what_was_put_in_by_hand(tmp_path, by_hand, noise):
    write_files(tmp_path)
    path = tmp_path / "rows0.csv"
    store = Store.create(tmp_path / "store")
    raw = from_source(tmp_path, noise=noise)
    run(store, raw)
    if by_hand == "relabel":
        correct_first_label(store, tmp_path)
    else:
        append_location(store, str(tmp_path / "rows1.csv"), "toys", COLUMNS, no_progress)
    run(store, raw)
    kept = store.version("dataset", "toys")
    before = store.artifacts.ids()
    whole = path.read_text()
    path.write_text(f"{whole}500,1.5,2.5,ash elm 1,x\n")
    with pytest.raises(ValueError, match="rows or labels that were put in by hand and would be lost") as caught:
        run(store, raw)
    sentence = str(caught.value)
    assert sentence.startswith("toys@2 has rows or labels")
    assert "the recipe now makes dataset-" in sentence
    assert "`tamis ingest --append`" in sentence
    place = "[source], [noise]," if noise else "[source],"
    assert f'dataset = "toys" in place of {place} or else give the recipe another name' in sentence
    assert "\n" not in sentence
    assert (store.artifacts.ids(), store.version("dataset", "toys")) == (before, kept)
    path.write_text(whole)
    run(store, raw)
    assert store.version("dataset", "toys") == kept


def test_each_way_on_that_the_refusal_names_keeps_what_was_put_in_by_hand(tmp_path):
    write_files(tmp_path)
    path, label = tmp_path / "rows0.csv", "SELECT label FROM dataset.toys WHERE example_id = 'toys:0'"
    rows = pl.read_csv(path).with_columns(kind=pl.when(pl.col("id") == 0).then(pl.lit("x")).otherwise("kind"))
    rows.write_csv(path)
    store = Store.create(tmp_path / "store")
    run(store, from_source(tmp_path))
    correct_first_label(store, tmp_path)
    path.write_text(f"{path.read_text()}500,1.5,2.5,ash elm 1,x\n")
    (tmp_path / "new.csv").write_text("id,a,b,words,kind\n500,1.5,2.5,ash elm 1,x\n")
    run(store, from_source(tmp_path, name="others"))
    assert len(store.dataset("others@1")) == 121
    append_location(store, str(tmp_path / "new.csv"), "toys", COLUMNS, no_progress)
    stays = {key: SOURCE[key] for key in ("name", "signals", "scorers")}
    run(store, {**stays, "dataset": "toys"})
    assert (len(store.dataset("toys@3")), store.sql(label)["label"].to_list()) == (121, ["y"])
    assert store.record(store.version("scored", "toys").artifact).meta["dataset"] == store.dataset("toys@3").id
    run(store, {**stays, "dataset": "toys", "limit": 10})
    assert store.dataset("toys@4").record.request.inputs["dataset"] == store.dataset("toys@3").id


def test_a_changed_source_is_a_new_version_where_nothing_was_put_in_by_hand(tmp_path):
    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    run(store, from_source(tmp_path))
    with (tmp_path / "rows0.csv").open("a") as rows:
        rows.write("500,1.5,2.5,ash elm 1,x\n")
    run(store, from_source(tmp_path))
    assert len(store.dataset("toys@2")) == 121


@pytest.mark.parametrize("column", ["odd", "Odd_Se"])
def test_a_scorer_named_like_metadata_is_refused_before_any_work_or_before_writing(tmp_path, column):
    write_files(tmp_path)
    path = tmp_path / "rows0.csv"
    pl.read_csv(path).with_columns(pl.lit("u").alias(column)).write_csv(path)
    store = Store.create(tmp_path / "store")
    sentence = f"the score 'odd' and the data set's metadata column '{column}' would share a column"
    with pytest.raises(ValueError, match=sentence):
        run(store, from_source(tmp_path))
    assert not store.names("scored")
    assert not any(one.startswith("scored-") for one in store.artifacts.ids())
    before = store.artifacts.ids()
    stored = {**{key: SOURCE[key] for key in ("name", "signals")}, "dataset": "toys"}
    planted = from_source(tmp_path, noise={"method": "symmetric", "rate": 0.1})
    for raw in (from_source(tmp_path), {**stored, "scorers": ODD}, planted):
        with pytest.raises(ValueError, match=sentence):
            run(store, raw)
        assert store.artifacts.ids() == before
    run(store, {**stored, "scorers": FAR})
    counts = store.sql(f'SELECT count("{column}") AS n, count(far) AS m FROM scored.toys').row(0)
    assert counts == (120, len(store.dataset("toys").index("train")))


def test_a_stored_column_that_meets_metadata_does_not_come_along(tmp_path, monkeypatch):
    write_files(tmp_path)
    path = tmp_path / "rows0.csv"
    pl.read_csv(path).with_columns(odd=pl.lit("u")).write_csv(path)
    store = Store.create(tmp_path / "store")
    with monkeypatch.context() as unchecked:
        unchecked.setattr("flows.assemble_scores.check_beside_metadata", lambda names, metadata: None)
        run(store, from_source(tmp_path))
    assert list(columns_of(store)) == ["odd"]
    run(store, from_source(tmp_path, scorers=FAR))
    assert list(columns_of(store)) == ["far"]
    assert store.sql("SELECT odd FROM scored.toys")["odd"].unique().to_list() == ["u"]


def test_stored_columns_of_an_older_revision_do_not_come_along_and_given_ones_do(tmp_path, monkeypatch):
    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    begin(store, tmp_path)
    options = {**SIGNALS, "name": None, "take": ("hardness",), "score": "hardness", "high_means": "hard"}
    ingest_signals(store, "toys", str(tmp_path / "probs0.npz"), options, no_progress)
    raw = {key: RECIPE[key] for key in ("name", "dataset", "signals")}
    rank = {"rank": {"method": "percentile", "score": "odd"}}
    run(store, {**raw, "scorers": {**ODD, **rank, "twins": RECIPE["scorers"]["twins"]}})
    assert set(columns_of(store)) == {"hardness", "odd", "rank", "twins"}
    chosen = {"subset": "sub", "method": "top_fraction", "score": "odd", "fraction": 0.5, "keep": "low"}
    run(store, {**raw, "scorers": FAR, "selection": chosen})
    assert set(columns_of(store)) == {"hardness", "odd", "rank", "twins", "far"}
    monkeypatch.setattr("curation.scorers.knn_disagreement.KNNDisagreement.revision", 7)
    before = store.artifacts.ids()
    told = r"outdated \(method revision: scorer 'knn_disagreement' had revision 2 and has 7 now\)"
    with pytest.raises(ValueError, match=rf"selection reads the score 'odd'.*; the stored column is {told}, so give"):
        run(store, {**raw, "scorers": FAR, "selection": chosen})
    with pytest.raises(ValueError, match=rf"scorers\.rank\.score names 'odd'.*; the stored column is {told}, so give"):
        run(store, {**raw, "scorers": rank})
    assert store.artifacts.ids() == before
    run(store, {**raw, "scorers": FAR})
    assert set(columns_of(store)) == {"hardness", "twins", "far"}
    run(store, {**raw, "scorers": {**FAR, **ODD}, "selection": chosen})
    read = store.record(store.version("subset", "sub").artifact).request.inputs["score.odd"]
    assert store.record(read).request.revision == 7


@pytest.mark.parametrize(("revision", "columns"), [(1, {"odd", "twins"}), (5, {"twins"})])
def test_a_column_from_signals_of_an_older_revision_does_not_come_along(tmp_path, monkeypatch, revision, columns):
    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    run(store, from_source(tmp_path))
    monkeypatch.setattr("curation.examiners.features.Features.revision", revision)
    twins = {"signals": {"hashes": {"method": "content_hash"}}, "scorers": {"twins": RECIPE["scorers"]["twins"]}}
    run(store, from_source(tmp_path, **twins))
    assert set(columns_of(store)) == columns


def test_a_score_of_a_score_that_comes_later_does_not_read_the_stored_one(tmp_path):
    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    rank, again = ({"method": "percentile", "score": one} for one in ("odd", "rank"))
    run(store, from_source(tmp_path, scorers={**ODD, "rank": rank, "again": again}))
    with pytest.raises(ValueError, match=r"scorers\.again\.score names 'rank'; there are odd before it"):
        run(store, from_source(tmp_path, scorers={**ODD, "again": again, "rank": rank}))


def test_what_was_removed_as_damaged_is_made_again_and_no_more(tmp_path):
    store, small = Store.create(tmp_path / "store"), load_recipe("digits", TABLE)
    first = curate_and_train(store, small, show_nothing)
    training = next(one for one in store.artifacts.ids() if one.startswith("training-"))
    store.files.remove(f"artifacts/{training}/record.json")
    again = curate_and_train(store, small, show_nothing)
    assert (again.computed, again.reused) == (1, first.computed - 1)
    assert store.has(training)
