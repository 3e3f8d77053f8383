from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from curation.examiners.content_hash import content_hashes
from curation.folds import fold_numbers
from flows import resolve
from flows.config import build
from flows.curate_and_train import curate_and_train
from flows.fold_trainings import out_of_fold_probs
from flows.ingest_by_hand import append_location, ingest_location
from flows.plan import plan_run
from flows.reproduce_version import reproduce_version
from flows.seeding import derived_seed
from flows.signal_sources import read_signals
from flows.step import run_step, show_nothing
from learners.evaluate import predict_logits
from learners.fit import fit
from learners.training import Training
from storage.errors import CorruptError
from storage.store import Store
from tests.flows.growing import COLUMNS, no_progress, run, write_files
from tests.flows.test_train_learner import interrupted
from tests.flows.tiny_world import made, noisy_recipe, split_recipe

ISSUES = "scorers={issues={method='confident_learning', signals='plain'}}"
FOLDED = ("seeds=2", "training.epochs=3", "learners={plain={method='erm', folds=3}}", ISSUES, "arms=[]")


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """A store in which confident learning read the trainings of three folds, and how its run ended."""
    place = tmp_path_factory.mktemp("folded")
    store, recipe = Store.create(place / "store"), noisy_recipe(place, *FOLDED)
    return store, recipe, curate_and_train(store, recipe, show_nothing)


def scored(store: Store, name: str = "tiny"):
    """Request of the newest scores by confident learning."""
    columns = store.record(store.version("scored", name).artifact).meta["columns"]
    return store.record(columns["issues"]).request


def test_out_of_fold_probabilities_are_those_of_a_loop_over_folds(folded):
    store, recipe, _ = folded
    request = scored(store)
    found = read_signals(store, request, ("oof_probs", "label"))
    examples = store.dataset(request.inputs["dataset"]).examples("train")
    assert found.index == examples.index
    assert found["oof_probs"].shape == (2, len(examples), 1, 2)
    assert found.epochs == {"oof_probs": (3,)}
    settings = store.record(request.inputs["signals.000.000"]).request.settings
    contents = content_hashes(row.tobytes() for row in examples.inputs)
    for seed in range(2):
        training_seed = derived_seed(recipe.seed, "training", seed)
        folds = fold_numbers(contents, examples.labels, 3, np.random.default_rng(derived_seed(training_seed, "folds")))
        for fold in range(3):
            rest = replace(examples, weights=(folds != fold).astype(np.float32))
            (*_, last) = fit(
                resolve.method("learner", settings["learner"], "learner"),
                rest,
                model=resolve.method("model", settings["model"], "model"),
                training=build(Training, settings["training"], "training"),
                seed=training_seed,
            )
            logits = predict_logits(last.state.models, rest)[folds == fold].astype(np.float64)
            slow = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            np.testing.assert_allclose(found["oof_probs"][seed, folds == fold, 0], slow, atol=1e-6)


def test_the_report_charges_every_fold_and_a_second_run_computes_nothing(folded):
    store, recipe, outcome = folded
    cost = store.record(outcome.report).meta["cost"]
    trainings = [one for role, one in scored(store).inputs.items() if role.startswith("signals.")]
    assert cost["trainings"] == len(trainings) == 6
    assert cost["training_seconds"] == pytest.approx(
        sum(store.record(one).meta["training_seconds"] for one in trainings), abs=0.001
    )
    assert not any(store.record(one).table("model") for one in trainings)
    assert curate_and_train(store, recipe, show_nothing).computed == 0


def test_scores_from_folds_are_reproduced_hash_by_hash(folded):
    store, _, _ = folded
    checks = list(reproduce_version(store, store.version("scored", "tiny"), [], show_nothing))
    assert len(checks) == 10  # two data sets, six trainings, one score, and scores side by side
    assert [one.difference for one in checks] == [None] * 10


def titles(store: Store, recipe) -> list[str]:
    return [step.title for step in plan_run(recipe, store).steps if step.module == "train_learner"]


def test_a_learner_trains_on_everything_only_where_something_needs_it(folded, tmp_path):
    store, _, _ = folded
    one_seed = (*FOLDED, "seeds=1")
    folds = [f"train plain without fold {number} of 3, seed 1 of 1" for number in (1, 2, 3)]
    whole = "train plain on everything, seed 1 of 1"
    assert titles(store, noisy_recipe(tmp_path, *one_seed)) == folds
    armed = noisy_recipe(tmp_path, *one_seed, "arms=[{learner='plain', data='everything'}]")
    assert titles(store, armed) == [*folds, whole]
    read = noisy_recipe(
        tmp_path,
        *one_seed,
        "learners.plain.record={logits='last'}",
        "scorers.el2n={method='el2n', signals='plain', epoch=3}",
    )
    assert titles(store, read) == [*folds, whole]


def test_folds_leave_the_training_on_everything_as_it_was(tmp_path):
    store = Store.create(tmp_path / "store")
    everything = "arms=[{learner='plain', data='everything'}]"
    without = {step.title: step.id for step in plan_run(noisy_recipe(tmp_path), store).steps}
    beside = noisy_recipe(tmp_path, "learners.plain.folds=2", ISSUES, everything)
    found = {step.title: step.id for step in plan_run(beside, store).steps}
    title = "train plain on everything, seed 1 of 1"
    assert found[title] == without[title]
    assert "fold" not in next(step for step in plan_run(beside, store).steps if step.title == title).request.settings


def test_what_only_its_own_training_would_teach_is_not_known_of_a_held_out_example(tmp_path):
    rng = np.random.default_rng(0)
    sides = np.array([-1.0, 1.0] * 20)
    rows = {"row": [f"r{one}" for one in range(40)], "x": sides + rng.uniform(-0.1, 0.1, 40), "mark": [0.0] * 40}
    frame = pl.DataFrame({**rows, "answer": np.where(sides > 0, "yes", "no"), "place": "here", "part": "train"})
    # Only r0 has the mark, and a label that its side contradicts: whoever trains on it learns the mark by heart.
    planted = pl.DataFrame({"row": ["r0"], "x": [-1.0], "mark": [1.0], "answer": ["yes"]})
    frame = frame.update(planted, on="row")
    recipe = split_recipe(
        tmp_path,
        "columns={features=['x', 'mark'], label='answer', key='row', group='place', split='part'}",
        "model.widths=[]",
        "training={epochs=40, batch_size=8, learning_rate=0.5, threads=1}",
        "learners={plain={method='erm', folds=2, record={logits='last'}}}",
        "scorers={issues={method='confident_learning', signals='plain'}, seen={method='loss', signals='plain'}}",
        "arms=[]",
        rows=frame,
    )
    store = Store.create(tmp_path / "store")
    curate_and_train(store, recipe, show_nothing)
    columns = store.record(store.version("scored", "sides").artifact).meta["columns"]
    seen, issues = store.scores(columns["seen"]), store.scores(columns["issues"])
    (place,) = seen.index.positions(["sides:r0"])
    assert np.exp(-seen.values[place]) > 0.95
    assert issues.values[place] < 0.05
    assert issues.columns["flagged"].tolist() == [one == place for one in range(40)]


def test_an_interrupted_training_without_a_fold_carries_on_to_the_same_bytes(folded, tmp_path, monkeypatch):
    monkeypatch.setenv("TAMIS_CHECKPOINT_MINUTES", "0")
    store, recipe, _ = folded
    again = Store.create(tmp_path / "again")
    training = interrupted(again, recipe, 2)
    assert training == scored(store).inputs["signals.000.000"]
    step = next(one for one in plan_run(recipe, again).steps if one.id == training)
    run_step(again, step, None, show_nothing)
    resumed, whole = (one.record(training).table("signals") for one in (again, store))
    assert resumed[0].sha256 == whole[0].sha256


def test_training_without_a_fold_may_stop_early_by_the_validation_split(tmp_path):
    store = Store.create(tmp_path / "store")
    recipe = noisy_recipe(tmp_path, *FOLDED, "seeds=1", "training.epochs=30", "training.early_stop=1")
    trainings = made(store, recipe, "train_learner")
    lasts = [store.record(one).meta["signals"]["oof_probs"]["epochs"][0] for one in trainings]
    assert max(lasts) < 30
    examples = store.dataset(store.record(trainings[0]).request.inputs["dataset"]).examples("train")
    probs, epoch = out_of_fold_probs(store, [trainings], examples.index)
    assert epoch == max(lasts)
    np.testing.assert_allclose(probs.sum(axis=-1), 1, atol=1e-6)


def test_a_fold_that_is_missing_is_told(folded):
    store, _, _ = folded
    request = scored(store)
    trainings = [request.inputs[f"signals.000.{fold:03d}"] for fold in range(3)]
    index = store.dataset(request.inputs["dataset"]).index("train")
    for wrong in (trainings[:2], [*trainings[:2], trainings[0]]):
        with pytest.raises(CorruptError, match="do not hold each example once"):
            out_of_fold_probs(store, [wrong], index)


def test_appended_rows_are_scored_by_new_folds(tmp_path):
    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    ingest_location(store, str(tmp_path / "rows0.csv"), "toys", COLUMNS, no_progress)
    raw = {
        **{"name": "toys", "dataset": "toys", "seeds": 1, "model": {"method": "mlp", "widths": []}},
        "training": {"epochs": 1, "threads": 1},
        "learners": {"plain": {"method": "erm", "folds": 2}},
        "scorers": {"issues": {"method": "confident_learning", "signals": "plain"}},
    }
    run(store, raw)
    before = scored(store, "toys")
    append_location(store, str(tmp_path / "rows1.csv"), "toys", COLUMNS, no_progress)
    run(store, raw)
    after = scored(store, "toys")
    assert after.inputs["signals.000.000"] != before.inputs["signals.000.000"]
    assert store.scores(after.id).index == store.dataset("toys").index("train")


def test_probabilities_that_no_training_gives_and_folds_that_nobody_reads_are_refused(tmp_path):
    store = Store.create(tmp_path / "store")
    with pytest.raises(ValueError, match=r"learners\.plain has none; add learners\.plain\.folds = 5"):
        plan_run(noisy_recipe(tmp_path, ISSUES), store)
    with pytest.raises(ValueError, match=r"learners\.plain\.folds has no effect: no scorer reads 'oof_probs' of plain"):
        plan_run(noisy_recipe(tmp_path, "learners.plain.folds=2"), store)
    with pytest.raises(ValueError, match="folds must be at least 2, got 1"):
        noisy_recipe(tmp_path, "learners.plain.folds=1")
    with pytest.raises(ValueError, match=r'new_rows = "frozen": confident_learning reads oof_probs'):
        plan_run(noisy_recipe(tmp_path, *FOLDED, "scorers.issues.new_rows=frozen"), store)


@pytest.mark.slow
def test_folds_and_seeds_side_by_side_make_what_one_process_makes(folded, tmp_path):
    store, recipe, outcome = folded
    again = Store.create(tmp_path / "again")
    assert curate_and_train(again, recipe, show_nothing, processes=2) == outcome
    for role, training in scored(store).inputs.items():
        if role.startswith("signals."):
            one, other = (where.record(training).table("signals")[0] for where in (store, again))
            assert one.sha256 == other.sha256
    stopping = replace(recipe, seeds=3, learners={"plain": replace(recipe.learners["plain"], stop_when_stable=0.01)})
    curate_and_train(again, stopping, show_nothing, processes=2)
    trainings = [role for role in scored(again).inputs if role.startswith("signals.")]
    assert len(trainings) == 6  # two seeds of three folds, all of them there before
