from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from benchmarks.results.__main__ import main
from benchmarks.results.arms import Arm
from benchmarks.results.document import with_section
from benchmarks.results.tables import adversarial_table, noise_table
from flows.recipe_sections import ArmConfig

LABELS = np.arange(20) % 4


def logits_of(right) -> pl.Series:
    """The label's logit is 1 where the answer is right, else that of the class behind it."""
    answers = np.where(right, LABELS, (LABELS + 1) % 4)
    return pl.Series(np.eye(4)[answers], dtype=pl.Array(pl.Float64, 4))


def right_in(*counts) -> np.ndarray:
    """How many of the five examples of each class are right, the first ones."""
    return np.array([place // 4 < counts[place % 4] for place in range(20)])


class Kept:
    """The evaluations and trainings of one arm; each seed has the same outcomes under attack."""

    def __init__(self, attacked, clean):
        frames = [
            pl.DataFrame({"epoch": "last", "attack": name, "label": LABELS, "logits": logits_of(right)})
            for name, right in attacked.items()
        ]
        self.attacked, self.clean = (pl.concat(frames) if frames else None), clean

    def table(self, seed, name, columns):
        if name == "attacked":
            return self.attacked.select(columns)
        return pl.DataFrame({"correct": self.clean[seed], "label": LABELS}).select(columns)

    def record(self, seed):
        metrics = {"test_accuracy": float(self.clean[seed].mean()), "train_accuracy": 0.5, "pgd_50_loss_at_risk": 1.5}
        return SimpleNamespace(meta={"metrics": metrics, "best_metrics": metrics, "training_seconds": 7.0})


def arm(name, attacked, clean) -> Arm:
    seeds = tuple(range(len(clean)))
    config = ArmConfig(learner=name, data="everything")
    return Arm(store=Kept(attacked, clean), config=config, trainings=seeds, evaluations=seeds)


def test_the_tail_is_of_an_arms_own_classes_and_the_fixed_tail_of_those_where_the_first_arm_is_weakest():
    first = {"pgd_50": right_in(1, 2, 5, 5), "auto_attack": right_in(1, 1, 5, 5)}
    second = {"pgd_50": right_in(5, 4, 1, 2), "auto_attack": right_in(5, 4, 1, 2)}
    base, other = adversarial_table([arm("a", first, [LABELS < 4] * 2), arm("b", second, [LABELS < 3] * 2)])
    assert (base["RA-Tail-30, PGD-50"], base["worst class, PGD-50"]) == ("30.0 ± 0.0 %", "20.0 ± 0.0 %")
    assert (base["RA-Tail-30, AutoAttack"], other["RA-Tail-30, AutoAttack"]) == ("20.0 ± 0.0 %", "30.0 ± 0.0 %")
    assert other["tail, difference, PGD-50"].startswith("+0.0 [")
    assert other["tail, difference, AutoAttack"].startswith("+10.0 [")
    assert other["fixed tail, difference, PGD-50"].startswith("+60.0 [+")
    assert other["fixed tail, difference, AutoAttack"].startswith("+70.0 [+")
    assert other["AutoAttack, difference"].startswith("+0.0 [-")
    assert (base["PGD - AutoAttack"], other["PGD - AutoAttack"]) == ("5.0 (flagged)", "0.0")
    assert (base["clean"], other["clean"]) == ("100.0 ± 0.0 %", "75.0 ± 0.0 %")


def test_differences_of_clean_accuracy_are_paired_by_seed_and_example():
    seeds = [right_in(1, 2, 3, 4), right_in(4, 3, 2, 1), right_in(5, 5, 0, 0)]
    one_more = [right | (np.arange(20) == np.flatnonzero(~right)[0]) for right in seeds]
    base, same, better = noise_table([arm("erm", {}, seeds), arm("gce", {}, seeds), arm("elr", {}, one_more)])
    assert base["last, against the first row"] == ""
    assert same["last, against the first row"] == "+0.0 [+0.0, +0.0]"
    assert better["last, against the first row"].startswith("+5.0 [+0.0, +1")
    assert base["last epoch"] == "50.0 ± 0.0 %"


def test_a_section_is_replaced_and_the_prose_around_it_stays():
    recipe = SimpleNamespace(seeds=3, seed=0)
    text = with_section("# Results\n\nProse.\n", "one", "First", [{"a": "1"}], recipe)
    text = text.replace("<!-- end of one -->", "<!-- end of one -->\n\nMore prose.")
    again = with_section(text, "one", "First", [{"a": "2"}], recipe)
    assert again == text.replace("| 1 |", "| 2 |")
    assert "`make results-learners ONLY=one`; seeds 0 to 2, derived from `seed = 0`." in again


def test_an_experiment_that_does_not_exist_is_refused(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["learners", "--data", ".", "--store", str(tmp_path / "store"), "--only", "fashion"])
    assert "--only must be of fashion_symmetric_40" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
