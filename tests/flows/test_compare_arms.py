from functools import partial
from io import StringIO

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from flows import attack_models
from flows.compare_arms import arm_rows, comparison_rows, warning_rows
from flows.report.tables import attacked_rows, calibration_rows, comparison_title, markdown_summary
from flows.report.tables import comparison_rows as shown_comparisons
from flows.report.terminal import print_report
from learners.auto_attack.ensemble import AutoAttack
from learners.gradient_masking import masking_evidence
from storage.artifacts import Request
from storage.store import Store
from tests.flows.tiny_world import made, noisy_recipe

ARMS = [{"title": name, "learner": name, "data": "everything"} for name in ("first", "second", "third")]


def store_of(place, right: list[list[list[bool]]]) -> tuple[Store, dict[str, str]]:
    """A store with evaluations: by arm and by seed, whether each of N examples was right; and their ids by role."""
    store, inputs = Store.create(place), {}
    for arm, seeds in enumerate(right):
        for seed, correct in enumerate(seeds):
            role = f"{arm:03d}.{seed:03d}"
            request = Request(kind="evaluation", settings={"arm": arm}, seed=seed)
            with store.write(request) as draft:
                ids = [f"d:{one}" for one in range(len(correct))]
                frame = {"example_id": ids, "predicted": [0] * len(ids), "correct": correct}
                draft.add_table("predictions", pl.DataFrame(frame))
                draft.meta["metrics"] = {"test_accuracy": float(np.mean(correct)), "nll": 0.5 + seed}
                draft.meta["best_metrics"] = {"test_accuracy": 0.25}
            inputs[f"evaluation.{role}"] = request.id
            trained = Request(kind="training", settings={"arm": arm}, seed=seed)
            with store.write(trained) as draft:
                draft.meta["metrics"] = {"train_accuracy": 1.0}
            inputs[f"training.{role}"] = trained.id
    return store, inputs


def test_a_difference_is_told_with_its_interval_and_holms_p_value_by_hand(tmp_path):
    half = [True] * 10 + [False] * 10
    store, inputs = store_of(tmp_path, [[half], [[True] * 20], [half]])
    second, third = comparison_rows(store, inputs, ARMS)
    assert second["difference"] == 0.5
    assert 0.25 < second["low"] < 0.35 < 0.65 < second["high"] < 0.75
    assert second["p_value"] == pytest.approx(2 * 2 * 0.5**10)
    assert (second["title"], second["verdict"]) == ("second", "better")
    assert (third["difference"], third["p_value"], third["verdict"]) == (0.0, 1.0, "no difference shown")
    store, inputs = store_of(tmp_path / "turned", [[[True] * 20], [half]])
    (turned,) = comparison_rows(store, inputs, ARMS[:2])
    assert (turned["difference"], turned["verdict"]) == (-0.5, "worse")
    assert turned["p_value"] == pytest.approx(2 * 0.5**10)


def test_of_several_seeds_the_p_value_is_twice_the_median(tmp_path):
    half = [True] * 10 + [False] * 10
    other = [True] * 20
    store, inputs = store_of(tmp_path, [[half, half, half], [other, other, half]])
    (row,) = comparison_rows(store, inputs, ARMS[:2])
    assert row["difference"] == pytest.approx(1 / 3)
    assert row["p_value"] == pytest.approx(2 * 2 * 0.5**10)


def test_a_small_p_value_does_not_make_a_difference_where_seeds_disagree(tmp_path):
    half = [True] * 10 + [False] * 10
    store, inputs = store_of(tmp_path, [[half, half, half], [[True] * 20, [True] * 20, [False] * 20]])
    (row,) = comparison_rows(store, inputs, ARMS[:2])
    assert row["p_value"] < 0.05
    assert row["low"] < 0 < row["high"]
    assert row["verdict"] == "no difference shown"


def test_arms_tell_both_epochs_and_calibration_as_means_over_seeds(tmp_path):
    store, inputs = store_of(tmp_path, [[[True, False], [True, True]]])
    (row,) = arm_rows(store, inputs, ARMS[:1])
    assert (row["test_accuracy"], row["standard_error"], row["by_seed"]) == (0.75, 0.25, [0.5, 1.0])
    assert (row["best_test_accuracy"], row["best_standard_error"]) == (0.25, 0.0)
    assert row["calibration"]["nll"] == 1.0
    assert row["calibration"]["scaled_nll"] is None
    assert row["attacked"] == []
    assert comparison_rows(store, inputs, ARMS[:1]) == []
    assert warning_rows(store, inputs, ARMS[:1]) == []


REPORT = {
    "name": "d",
    "subset": None,
    "train_examples": 5,
    "noise": None,
    "detection": [],
    "scores": [],
    "classes": [],
    "cost": {"training_seconds": 0, "recording_seconds": 0, "scorer_seconds": 0, "one_training_seconds": 0},
    "arms": [
        {
            **{"title": "one", "test_accuracy": 0.9, "standard_error": None, "by_seed": [0.9], "train_accuracy": 1.0},
            "best_test_accuracy": 0.95,
            "best_standard_error": 0.01,
            "calibration": {"nll": 0.5, "ece_15": 0.1, "aurc": 0.02, "scaled_nll": None, "scaled_ece_15": None},
            "attacked": [
                {"epoch": "last", "attack": "attacked_clean", "accuracy": 0.8, "standard_error": 0.01},
                {"epoch": "last", "attack": "pgd_20", "accuracy": 0.4, "standard_error": None},
                {"epoch": "best", "attack": "attacked_clean", "accuracy": 0.7, "standard_error": None},
                {"epoch": "best", "attack": "auto_attack", "accuracy": 0.3, "standard_error": None},
            ],
        }
    ],
    "comparisons": [
        {"title": "two", "difference": 0.034, "low": 0.01, "high": 0.058, "p_value": 0.0004, "verdict": "better"},
        {
            "title": "three",
            "difference": -0.01,
            "low": -0.03,
            "high": 0.01,
            "p_value": 0.25,
            "verdict": "no difference",
        },
    ],
    "warnings": ["one, seed 1: it looks odd"],
}


def test_rows_say_what_a_person_looks_for():
    assert comparison_title(REPORT) == "Test accuracy against one, at the last epoch"
    better, same = shown_comparisons(REPORT)
    assert list(better.values()) == ["two", "+3.4", "+1.0 to +5.8", "below 0.001", "better"]
    assert list(same.values()) == ["three", "-1.0", "-3.0 to +1.0", "0.250", "no difference"]
    assert calibration_rows(REPORT) == [{"training": "one", "NLL": "0.5000", "ECE 15": "0.1000", "AURC": "0.0200"}]
    last, best = attacked_rows(REPORT)
    assert list(last.values()) == ["one", "last", "80.0 ± 1.0 %", "40.0 %", ""]
    assert list(best.values()) == ["one", "best", "70.0 %", "", "30.0 %"]


def test_terminal_and_markdown_tell_all_of_it():
    console = Console(file=StringIO(), width=100)
    print_report(REPORT, None, console)
    for text in (console.file.getvalue(), markdown_summary(REPORT)):
        for part in ("95.0 ± 1.0 %", "+1.0 to +5.8", "ECE 15", "auto_attack", "Suspicious: one, seed 1: it looks odd."):
            assert part in text


def test_a_report_of_an_older_run_is_still_shown():
    arm = {
        name: REPORT["arms"][0][name]
        for name in ("title", "test_accuracy", "standard_error", "by_seed", "train_accuracy")
    }
    older = {name: value for name, value in REPORT.items() if name not in ("comparisons", "warnings")}
    console = Console(file=StringIO(), width=100)
    print_report({**older, "arms": [arm]}, None, console)
    assert "90.0 %" in console.file.getvalue()
    assert "Calibration" not in console.file.getvalue()


def test_signs_of_gradient_masking_reach_the_report_as_sentences(tmp_path, monkeypatch):
    quick = partial(masking_evidence, settings=AutoAttack(num_steps=5, num_queries=5))
    monkeypatch.setattr(attack_models, "masking_evidence", quick)
    store = Store.create(tmp_path / "store")
    attacked = "evaluation={attacks=['fgsm'], masking=true, attacked=8, threat={epsilon=0.2}}"
    recipe = noisy_recipe(tmp_path, attacked, "training.learning_rate=30.0", "noise.rate=0.0")
    (report,) = made(store, recipe, "compare_subsets")
    (evaluation,) = (one for one in store.artifacts.ids() if one.startswith("evaluation-"))
    warnings = store.record(evaluation).meta["warnings"]
    assert any("the gradient in the input is exactly 0 for" in one and one.endswith("(last epoch)") for one in warnings)
    assert store.record(report).meta["warnings"] == [f"plain on everything, seed 1: {one}" for one in warnings]
