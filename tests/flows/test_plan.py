import shutil

import pytest

from flows.curate_and_train import curate_and_train, finished_before
from flows.plan import plan_run
from flows.step import is_done, run_step, show_nothing
from storage.store import Store
from tests.flows.recipes import small_recipe


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
