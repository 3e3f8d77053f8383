import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.results import auroc_draws, noise_found, pruning
from benchmarks.results.__main__ import main, run
from benchmarks.results.auroc_draws import _area, auroc_difference
from benchmarks.results.curation_experiments import CURATION, DEVELOPMENT, DIGITS_COLUMNS
from benchmarks.results.noise_found import CANDIDATES, FoundSet, f1_at, f1_of, highest, titled
from benchmarks.results.noise_second_round import Standing, passing
from benchmarks.results.noise_summary import DefaultChoice
from benchmarks.results.planned import planned
from benchmarks.results.pruning import POLICIES, PruningExperiment, chosen_policy, settings_of
from curation.agreement import auroc
from storage.store import Store

ONE_EPOCH = (
    "seeds=1",
    "training.epochs=1",
    'learners.erm.record={logits=[1], train_logits="every", feature_norm=[1], embedding=[1]}',
    "learners.ps_kd.record={ps_kd_targets=[1]}",
    *(f"scorers.{name}.epoch=1" for name in ("loss", "late_loss", "margin", "el2n", "grand", "ps_kd_doubt")),
)
"""Changes to `noise_found.toml` for one epoch and one seed."""


def cells(text: str, title: str) -> list[str]:
    """The cells of the first row of a document's tables that begins with this title."""
    return next(line for line in text.splitlines() if line.startswith(f"| {title} |"))[2:-2].split(" | ")


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=2, max_size=20))
def test_an_area_over_visits_is_the_auroc_of_rows_written_as_often(rows):
    values, wrong, visits = (np.array(column) for column in zip(*sorted(rows), strict=True))
    repeated = np.repeat(wrong, visits)
    if repeated.all() or not repeated.any():
        return
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    slow = auroc(np.repeat(values, visits).astype(float), repeated)
    assert _area(visits, wrong, starts) == pytest.approx(slow, abs=1e-12)


def test_a_difference_of_aurocs_is_paired_and_its_interval_holds_the_estimate():
    rng = np.random.default_rng(0)
    wrong = rng.random(400) < 0.3
    good, noise = wrong + rng.normal(size=400), rng.normal(size=400)
    same = auroc_difference(good, 3 * good + 1, wrong)
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
    better = auroc_difference(good, noise, wrong)
    assert 0 < better.low < better.estimate < better.high
    assert better.estimate == pytest.approx(auroc(good, wrong) - auroc(noise, wrong))
    assert auroc_difference(noise, good, wrong).low == pytest.approx(-better.high)


def test_f1_counts_ties_at_the_cut_by_their_expectation():
    wrong = np.array([True, True, False, False, True])
    # The two most suspicious are wrong: 2 * 2 / (2 + 3).
    assert f1_at(np.array([5.0, 4, 3, 2, 1]), wrong, 2) == pytest.approx(0.8)
    # One of the three that tie for the second place is wrong: (1 + 1/3) * 2 / (2 + 3).
    assert f1_at(np.array([5.0, 4, 4, 4, 1]), wrong, 2) == pytest.approx(8 / 15)
    assert f1_of(np.array([True, False, True, False, False]), wrong) == pytest.approx(2 / 5)
    assert f1_of(np.zeros(5, dtype=bool), wrong) == 0


def test_the_default_is_the_candidate_of_highest_mean_and_the_first_of_equal_ones():
    assert highest({("a",): [0.9, 0.7], ("b",): [0.8, 0.9], ("a", "b"): [0.9, 0.8]}) == ("b",)
    assert titled(("a", "b", "c")) == "mean rank of `a`, `b` and `c`"


def test_the_second_choice_passes_on_every_opened_set_and_is_best_among_those_that_do():
    def standing(mean: float, *less: float) -> Standing:
        return Standing(aurocs=(mean,) * len(less), less=less)

    best_but_once_far_below = standing(0.99, 0.2, 0.2, -0.0101)
    above_on_one_of_three = standing(0.98, 0.2, 0.0, -0.01)
    passes, passes_too = standing(0.9, 0.1, 0.1, -0.01), standing(0.95, 0.001, 0.001, -0.01)
    names = (("a",), ("b",), ("c",), ("d",))
    every = (best_but_once_far_below, above_on_one_of_three, passes, passes_too)
    assert passing(dict(zip(names, every, strict=True))) == ("d",)
    assert passing(dict(zip(names[:2], every, strict=False))) is None


def test_a_policy_is_chosen_where_it_is_surely_better_than_random_on_validation_else_none():
    rows = np.arange(100)
    random, slightly, clearly, best = (np.tile(rows < count, (3, 1)) for count in (60, 61, 80, 90))
    assert chosen_policy({"a": slightly, "b": clearly, "c": best}, random) == "c"
    assert chosen_policy({"a": slightly, "b": random}, random) is None
    assert chosen_policy({"worse": random}, best) is None


def test_scores_of_digits_are_found_written_and_not_made_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(auroc_draws, "NUM_DRAWS", 50)
    base = DEVELOPMENT[0]
    digits = replace(base, overrides=(*base.overrides, *ONE_EPOCH))
    digits = replace(digits, development=(digits,))
    sections = [
        (one, one.recipes(tmp_path, tmp_path))
        for one in (DefaultChoice(name="choice", title="Choice", sets=(digits,)), digits)
    ]
    store, document = Store.create(str(tmp_path / "store")), tmp_path / "results.md"
    document.write_text("# Results\n", encoding="utf-8")
    run(store, sections, 1, document)
    text, artifacts = document.read_text(encoding="utf-8"), sorted(store.artifacts.ids())
    recipe = sections[1][1][0]
    found = FoundSet.of(store, recipe)
    assert found.is_complete
    assert f"{int(found.wrong.sum()):,} of 1,797 labels are wrong" in text
    for name in recipe.scorers:
        assert cells(text, f"`{name}`")[1] == f"{auroc(found.loaded[name].suspicion, found.wrong):.4f}"
    assert float(cells(text, "`el2n`")[1]) > 0.9
    best = max(CANDIDATES, key=lambda names: auroc(found.combined(names).suspicion, found.wrong))
    assert f"| **{titled(best)}** |" in text
    assert f"| **default**: {titled(best)} |" in text
    assert cells(text, "`confident_learning`")[-1].startswith("3, ")
    run(store, sections, 1, document)
    assert document.read_text(encoding="utf-8") == text
    assert sorted(store.artifacts.ids()) == artifacts


def test_pruning_of_digits_compares_each_policy_with_the_random_part_of_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(pruning, "POLICIES", ("random", "prototypes", "rs2"))
    monkeypatch.setattr(pruning, "STATIC", ("prototypes",))
    digits = PruningExperiment(
        name="pruned_digits",
        title="Pruned digits",
        source=None,
        num_classes=10,
        keeps=(0.5,),
        overrides=(
            DIGITS_COLUMNS,
            "seeds=1",
            "training.epochs=1",
            "learners.erm.record={logits=[1], embedding=[1]}",
            "scorers.el2n.epoch=1",
        ),
    )
    store, document = Store.create(str(tmp_path / "store")), tmp_path / "results.md"
    document.write_text("# Results\n", encoding="utf-8")
    run(store, [(digits, digits.recipes(tmp_path, tmp_path))], 1, document)
    text = document.read_text(encoding="utf-8")
    table = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert [row[0] for row in table] == ["100 %"] + 5 * ["50 %"]
    assert [row[1] for row in table[:4]] == ["everything", "`random`", "`prototypes`", "`rs2`"]
    assert [row[3] == "" for row in table[:4]] == [True, True, False, False]
    assert table[4][1].startswith("**ours**: ")
    assert table[5][1].startswith("**ours, static**: ")
    named = {row[1]: row for row in table[:4]}
    for row in table[4:]:
        choice = row[1].partition(": ")[2]
        shown = table[0] if choice == "do not prune" else named[choice]
        assert row[2] == shown[2]


def test_every_set_and_every_policy_can_be_planned(tmp_path, monkeypatch):
    here = "source.location=sklearn:digits"
    for module in (noise_found, pruning):
        monkeypatch.setattr(module, "located", lambda data, folder, source, name: (here, f"name={name}"))
    store = Store.create(str(tmp_path / "store"))
    for section in CURATION:
        recipes = section.recipes(Path(), Path())
        for recipe in recipes[: 1 + len(POLICIES)] if section.name == "pruning_fashion" else recipes[:1]:
            assert planned(store, recipe).steps


def test_windows_leave_room_for_what_is_kept():
    for keep in (0.1, 0.3, 0.5):
        assert "drop_first" not in settings_of("el2n_hard", keep, 10)
        assert pruning.hardest_left_out(keep) + keep <= 1
        assert all(f"fraction={keep}" in settings_of(policy, keep, 10) for policy in POLICIES)


def test_tables_made_elsewhere_are_called_with_the_data_and_the_document(tmp_path, monkeypatch):
    called = []
    for name in ("smote", "betr"):
        fake = SimpleNamespace(main=lambda arguments, name=name: called.append((name, arguments)))
        monkeypatch.setitem(sys.modules, f"benchmarks.results.{name}_table", fake)
    document = tmp_path / "results.md"
    document.write_text("# Results\n", encoding="utf-8")
    given = ["--data", str(tmp_path), "--store", str(tmp_path / "store"), "--document", str(document)]
    main(["curation", *given, "--only", "betr"])
    kept = str(tmp_path / "store-data" / "rows")
    assert called == [("betr", ["--data", str(tmp_path), "--document", str(document), "--kept", kept])]


def test_data_that_are_not_there_are_told_in_a_sentence(tmp_path, capsys):
    for data, told in ((tmp_path / "nowhere", "there is none at"), (tmp_path, "lacks a file")):
        with pytest.raises(SystemExit):
            main(["learners", "--data", str(data), "--store", str(tmp_path / "store")])
        assert told in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
    document = tmp_path / "results.md"
    document.write_text("# Results\n", encoding="utf-8")
    given = ["--data", str(tmp_path), "--store", str(tmp_path / "store"), "--document", str(document)]
    with pytest.raises(SystemExit):
        main(["curation", *given, "--only", "smote"])
    assert "tab_pima.parquet" in capsys.readouterr().err
