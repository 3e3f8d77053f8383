from functools import partial

import numpy as np
import polars as pl
import pytest

from flows import attack_models, plan_training
from flows.config import load_recipe
from flows.plan import plan_run
from flows.seeding import derived_seed
from flows.step import run_step, show_nothing
from learners.attacks import Threat
from learners.auto_attack import ensemble
from learners.auto_attack.ensemble import AutoAttack, auto_attack
from learners.calibration import fitted_temperature
from learners.evaluate import predict_logits
from learners.named_attacks import drawn_examples
from learners.stored import load_networks
from storage.store import Store
from tests.flows.tiny_world import made, noisy_recipe, split_recipe, split_rows

ATTACKED = 'evaluation={attacks=["pgd_20", "auto_attack"], attacked=8, threat={epsilon=1.0, norm="l2"}}'
TWO_ARMS = (
    "learners={plain={method='erm'}, soft={method='label_smoothing'}}",
    "arms=[{learner='plain', data='everything'}, {learner='soft', data='everything'}]",
)


def test_metrics_by_hand_of_a_world_where_a_model_can_only_answer_by_the_side(tmp_path):
    store = Store.create(tmp_path / "store")
    (evaluation,) = made(store, split_recipe(tmp_path), "evaluate_learner")
    meta = store.record(evaluation).meta
    table = store.table(evaluation, "predictions")
    assert table["predicted"].to_list() == [0] * 8 + [1] * 4
    assert table["label"].to_list() == [0] * 6 + [1] * 2 + [1] * 3 + [0]
    metrics = meta["metrics"]
    assert metrics["test_accuracy"] == 9 / 12
    assert metrics["worst_class_accuracy"] == 3 / 5
    assert metrics["worst_class_examples"] == 5
    assert metrics["balanced_accuracy"] == pytest.approx((6 / 7 + 3 / 5) / 2)
    assert metrics["worst_group_accuracy"] == 1 / 2
    assert metrics["worst_group_examples"] == 2
    assert (meta["worst_class"], meta["worst_group"]) == ("yes", "rare")
    assert meta["test_examples"] == 12


def test_losses_and_calibration_are_those_of_the_stored_logits_and_the_temperature_of_the_validation_split(tmp_path):
    store = Store.create(tmp_path / "store")
    (evaluation,) = made(store, split_recipe(tmp_path), "evaluate_learner")
    record = store.record(evaluation)
    dataset = store.dataset(record.request.inputs["dataset"])
    validation = dataset.examples("validation")
    for epoch, prefix in (("last", ""), ("best", "best_")):
        networks = load_networks(*store.model(record.request.inputs["training"], epoch), input_shape=(1,))
        temperature = fitted_temperature(predict_logits(networks, validation), validation.labels)
        assert record.meta[f"{prefix}temperature"] == pytest.approx(temperature)
        metrics = record.meta[f"{prefix}metrics"]
        table = store.table(evaluation, f"{prefix}predictions")
        losses = {"nll": [], "scaled_nll": []}
        for logits, label in zip(table["logits"].to_list(), table["label"].to_list(), strict=True):
            for name, scale in (("nll", 1.0), ("scaled_nll", temperature)):
                exponentials = [np.exp(one / scale) for one in logits]
                losses[name].append(-np.log(exponentials[label] / sum(exponentials)))
        for name, values in losses.items():
            assert metrics[name] == pytest.approx(np.mean(values), rel=1e-5)
        assert metrics["scaled_nll"] < metrics["nll"]


def test_without_a_validation_split_there_is_neither_a_temperature_nor_a_best_epoch_and_meta_says_why(tmp_path):
    store = Store.create(tmp_path / "store")
    rows = split_rows().filter(pl.col("part") != "validation")
    (evaluation,) = made(store, split_recipe(tmp_path, rows=rows), "evaluate_learner")
    record = store.record(evaluation)
    assert record.meta["temperature"] is None
    assert record.meta["temperature_reason"] == "there is no labelled validation split to fit a temperature to"
    assert record.meta["best_epoch"] is None
    assert "best_metrics" not in record.meta
    assert not record.table("best_predictions")
    assert not any(name.startswith("scaled") for name in record.meta["metrics"])


def test_a_temperature_that_cannot_be_fitted_is_null_with_the_reason(tmp_path):
    store = Store.create(tmp_path / "store")
    right = pl.when(pl.col("x") > 0).then(pl.lit("yes")).otherwise(pl.lit("no"))
    rows = split_rows().with_columns(right.alias("answer"))
    (evaluation,) = made(store, split_recipe(tmp_path, rows=rows), "evaluate_learner")
    meta = store.record(evaluation).meta
    assert meta["temperature"] is None
    assert meta["temperature_reason"].startswith("no temperature between 0.001 and 1000 fits")


def flipped(rows: pl.DataFrame, part: str) -> pl.DataFrame:
    other = pl.when(pl.col("answer") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes"))
    return rows.with_columns(pl.when(pl.col("part") == part).then(other).otherwise(pl.col("answer")).alias("answer"))


def chosen(store: Store, recipe) -> tuple:
    """What is chosen (best epoch, hashes of the models, temperature), and the test accuracy."""
    (evaluation,) = made(store, recipe, "evaluate_learner")
    meta = store.record(evaluation).meta
    training = store.record(store.record(evaluation).request.inputs["training"])
    hashes = [training.table(table)[0].sha256 for table in ("model", "best")]
    return (meta["best_epoch"], *hashes, meta["temperature"]), meta["metrics"]["test_accuracy"]


def test_nothing_is_chosen_by_test_labels_and_the_best_epoch_is_by_those_of_the_validation_split(tmp_path):
    store = Store.create(tmp_path / "store")
    slowly = ("training.best_by='loss'", "training.learning_rate=0.01")

    def world(part):
        rows = flipped(split_rows(), part)
        return chosen(store, split_recipe(tmp_path, *slowly, rows=rows))

    plain, accuracy = world("none")
    other, spoilt = world("test")
    assert other == plain
    assert spoilt == pytest.approx(1 - accuracy)
    (epoch, last, best, temperature), _ = world("validation")
    assert last == plain[1]
    assert epoch == 1 < plain[0]
    assert best != plain[2]
    assert temperature is None


def test_attacked_examples_agree_with_a_direct_call_of_the_ensemble(tmp_path, monkeypatch):
    monkeypatch.setattr(ensemble, "AutoAttack", partial(AutoAttack, num_steps=10, num_queries=50))
    store = Store.create(tmp_path / "store")
    (evaluation,) = made(store, noisy_recipe(tmp_path, ATTACKED), "evaluate_learner")
    record = store.record(evaluation)
    seed = derived_seed(0, "evaluation")
    assert record.request.seed == seed
    examples = drawn_examples(store.dataset(record.request.inputs["dataset"]).examples("test"), 8, seed)
    networks = load_networks(*store.model(record.request.inputs["training"]), input_shape=(2,))
    direct = auto_attack(networks, examples, Threat(epsilon=1.0, norm="l2"), seed=seed)
    found = store.table(evaluation, "attacked").filter(pl.col("attack") == "auto_attack")
    assert found["example_id"].to_list() == list(examples.index)
    np.testing.assert_array_equal(found["correct"].to_numpy(), direct.robust)
    np.testing.assert_allclose(found["logits"].to_numpy(), direct.logits, rtol=1e-6)
    assert record.meta["metrics"]["auto_attack_accuracy"] == direct.robust_accuracy
    assert record.meta["metrics"]["attacked_clean_accuracy"] == direct.clean_accuracy
    assert 0 < direct.robust_accuracy < direct.clean_accuracy


def test_every_model_is_attacked_on_the_same_examples_and_another_seed_draws_others(tmp_path):
    store = Store.create(tmp_path / "store")
    only = ("evaluation={attacks=['fgsm'], best_attacks=['fgsm'], attacked=8, threat={epsilon=0.3}}",)
    evaluations = made(store, noisy_recipe(tmp_path, *only, *TWO_ARMS), "evaluate_learner")
    first, second = (store.table(one, "attacked") for one in evaluations)
    assert first["example_id"].to_list() == second["example_id"].to_list()
    assert first["epoch"].to_list() == ["last"] * 8 + ["best"] * 8
    assert first["example_id"][:8].to_list() == first["example_id"][8:].to_list()
    other = noisy_recipe(tmp_path, *only, "seed=1", "noise.rate=0.1")
    (third,) = made(Store.create(tmp_path / "other"), other, "evaluate_learner")
    assert store.record(evaluations[0]).meta["attacked_examples"] == 8
    again = Store.open(tmp_path / "other").table(third, "attacked")
    assert again["example_id"].to_list() != first["example_id"].to_list()


class InterruptionError(Exception):
    pass


def test_an_interrupted_evaluation_repeats_no_finished_attack(tmp_path, monkeypatch):
    store = Store.create(tmp_path / "store")
    attacks = "evaluation={attacks=['fgsm', 'pgd_20', 'pgd_50'], attacked=8, threat={epsilon=0.3}}"
    recipe = noisy_recipe(tmp_path, attacks)
    made(store, recipe, "train_learner")
    step = next(step for step in plan_run(recipe, store).steps if step.module == "evaluate_learner")
    run = attack_models.attacked_logits
    names = []

    def noted(name, *given, **further):
        names.append(name)
        return run(name, *given, **further)

    def interrupt(step, progress):
        if progress is not None and (progress.unit, progress.done) == ("attacks", 2):
            raise InterruptionError

    monkeypatch.setattr(attack_models, "attacked_logits", noted)
    with pytest.raises(InterruptionError):
        run_step(store, step, None, interrupt)
    assert not store.has(step.id)
    _, card = store.checkpoints.load(step.id)
    card["seconds"] += 1000
    store.checkpoints.save(step.id, store.checkpoints.load(step.id)[0], card)
    run_step(store, step, None, show_nothing)
    assert 1000 < store.record(step.id).seconds < 2000
    assert names == ["fgsm", "pgd_20", "pgd_50"]
    assert store.table(step.id, "attacked")["attack"].unique(maintain_order=True).to_list() == names
    assert store.checkpoints.load(step.id) is None


def test_bounds_and_units_of_a_table_can_be_those_of_its_examples(tmp_path):
    store = Store.create(tmp_path / "store")
    threat = "threat={epsilon=0.5, lower='observed', upper='observed', scales='deviation'}"
    recipe = noisy_recipe(tmp_path, f"evaluation={{attacks=['pgd_20'], attacked='all', {threat}}}")
    (evaluation,) = made(store, recipe, "evaluate_learner")
    meta = store.record(evaluation).meta
    assert meta["attacked_examples"] == meta["test_examples"]
    assert meta["metrics"]["pgd_20_accuracy"] < meta["metrics"]["attacked_clean_accuracy"]


def test_the_catalogue_tells_metrics_of_both_epochs_by_arm_and_seed_of_the_training(tmp_path):
    store = Store.create(tmp_path / "store")
    recipe = noisy_recipe(tmp_path, "evaluation={attacks=['fgsm'], attacked=8, threat={epsilon=0.3}}")
    made(store, recipe, "compare_subsets")
    rows = store.sql("SELECT arm, learner, seed, metric, value FROM catalog.metrics")
    record = next(store.record(one) for one in store.artifacts.ids() if one.startswith("evaluation-"))
    found = dict(zip(rows["metric"], rows["value"], strict=True))
    best = {f"best_{name}": value for name, value in record.meta["best_metrics"].items()}
    assert found == {**record.meta["metrics"], **best}
    assert {"fgsm_accuracy", "fgsm_tail_30", "nll", "best_ece_15"} <= set(found)
    assert set(rows["arm"]) == {"plain on everything"}
    assert set(rows["learner"]) == {"erm"}
    assert set(rows["seed"]) == {store.record(record.request.inputs["training"]).request.seed}


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("evaluation.attacks=['cw']", "attacks must be of fgsm, pgd_20, .*, auto_attack, got 'cw'"),
        ("evaluation.attacks=['fgsm', 'fgsm']", "attacks must name each attack once"),
        ("evaluation={attacks=['fgsm'], attacked=0}", "attacked must be at least 1, or 'all', got 0"),
        ("evaluation={attacks=['auto_attack'], threat={epsilon=0}}", "threat.epsilon must be above 0 .*, got 0"),
        ("evaluation.masking=true", "masking has no effect without attacks"),
        ("evaluation.threat={epsilon=0.1}", "threat has no effect without attacks"),
        ("evaluation.attacked=10", "attacked has no effect without attacks"),
        ("evaluation.atacks=['fgsm']", "unknown key 'atacks' in evaluation; did you mean 'attacks'"),
    ],
)
def test_an_evaluation_that_is_not_allowed_is_refused_with_the_recipe(setting, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_recipe("digits", (setting,))


@pytest.mark.parametrize(
    ("threat", "sentence"),
    [
        ("{eps=0.1}", "evaluation.threat: Object contains unknown field 'eps'"),
        ("{epsilon=-1}", "evaluation.threat: epsilon must be at least 0"),
    ],
)
def test_a_threat_that_is_not_allowed_is_refused_before_any_work(tmp_path, threat, sentence):
    recipe = load_recipe("digits", (f"evaluation={{attacks=['fgsm'], threat={threat}}}",))
    with pytest.raises(ValueError, match=sentence):
        plan_run(recipe, Store.create(tmp_path))


def test_attacks_on_a_best_epoch_that_no_validation_split_can_tell_are_refused(tmp_path):
    attacks = "evaluation={best_attacks=['fgsm'], threat={epsilon=0.3}}"
    with pytest.raises(ValueError, match="best_attacks needs a validation split to tell the best epoch"):
        noisy_recipe(tmp_path, attacks, "splits={train=0.7, validation=0.0, test=0.3}")
    rows = split_rows().filter(pl.col("part") != "validation")
    recipe = split_recipe(tmp_path, attacks, rows=rows)
    with pytest.raises(ValueError, match="best_attacks needs a labelled validation split"):
        made(Store.create(tmp_path / "store"), recipe, "evaluate_learner")


def test_the_request_of_an_evaluation_tells_attacks_apart_and_nothing_else_of_the_recipe(tmp_path):
    def request(*further):
        recipe = noisy_recipe(tmp_path, *further)
        given = {"dataset": "d", "training": "t", "data": "everything"}
        return plan_training.evaluation_request(recipe, recipe.learners["plain"], **given)

    attacked = "evaluation={attacks=['fgsm'], threat={epsilon=0.3}}"
    assert request().id == request("seed=7").id
    assert request().id != request(attacked).id
    assert request(attacked).id != request(attacked, "seed=7").id
    assert request(attacked).id != request("evaluation={attacks=['fgsm'], threat={epsilon=0.4}}").id
    assert request().settings["evaluation_revision"] == plan_training.EVALUATION_REVISION
