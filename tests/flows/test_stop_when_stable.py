import numpy as np
import pytest
from scipy.stats import spearmanr

from curation.scorers.el2n import error_l2_norm
from curation.scorers.knn_distance import KNNDistance
from flows.config import Recipe
from flows.curate_and_train import curate_and_train, finished_before
from flows.plan import plan_run
from flows.step import show_nothing
from storage.store import Store
from storage.values import Signals
from tests.flows.tiny_world import noisy_recipe

LEARNER = "learners={plain={method='erm', record={logits=[2]}}}"
EL2N = "scorers={el2n={method='el2n', signals='plain', epoch=2}}"
SETTINGS = ("seeds=4", "training.epochs=2", "model.widths=[4]", "arms=[]", LEARNER, EL2N)


def recipe_with(place, stability: float, *further: str) -> Recipe:
    return noisy_recipe(place, *SETTINGS, f"learners.plain.stop_when_stable={stability}", *further)


def read(store: Store) -> tuple[str, list[str]]:
    """The newest score, and the trainings that it was read from."""
    score = store.record(store.version("scored", "tiny").artifact).meta["columns"]["el2n"]
    inputs = store.record(score).request.inputs
    return score, [inputs[role] for role in sorted(inputs) if role.startswith("signals.")]


@pytest.fixture(scope="module")
def exhausted(tmp_path_factory):
    """A store whose run found no agreement good enough, and so took every seed."""
    place = tmp_path_factory.mktemp("exhausted")
    store, recipe = Store.create(place / "store"), recipe_with(place, 1.0)
    return store, recipe, curate_and_train(store, recipe, show_nothing)


def test_seeds_are_added_one_by_one_and_end_at_the_number_allowed(exhausted):
    store, recipe, outcome = exhausted
    score, trainings = read(store)
    assert len(trainings) == 4
    assert store.record(outcome.report).meta["cost"]["trainings"] == 4
    assert [step.title for step in plan_run(recipe, store).steps if step.module == "score_examples"] == [
        "score el2n from 4 of at most 4 seeds"
    ]
    assert len([one for one in store.artifacts.ids() if one.startswith("scores-")]) == 3
    assert finished_before(store, recipe) is not None
    assert curate_and_train(store, recipe, show_nothing).computed == 0
    assert store.scores(score).standard_error is not None


def agreements(store: Store) -> dict[int, float]:
    """By number of seeds, worked out from the signals."""
    score, trainings = read(store)
    index = store.scores(score).index
    logits = store.signals(trainings, ["logits"], {})["logits"][:, :, 0]
    labels = store.dataset("tiny").labels("train")
    by_seed = np.stack([error_l2_norm(one, labels) for one in logits])
    assert by_seed.shape == (4, len(index))
    halves = {number: (by_seed[:number:2].mean(axis=0), by_seed[1:number:2].mean(axis=0)) for number in (2, 3, 4)}
    return {number: float(spearmanr(*pair).statistic) for number, pair in halves.items()}


def test_the_fewest_seeds_whose_halves_agree_are_taken(exhausted, tmp_path):
    store, _, _ = exhausted
    found = agreements(store)
    stored = [store.record(one) for one in store.artifacts.ids() if one.startswith("scores-")]
    assert sorted(one.meta["halves_agreement"] for one in stored) == pytest.approx(sorted(found.values()), abs=1e-6)
    for wanted in (found[2], found[3], max(found[2], found[3])):
        least = wanted - 1e-6
        expected = next(number for number in (2, 3, 4) if found[number] >= least or number == 4)
        curate_and_train(store, recipe_with(tmp_path, least), show_nothing)
        assert len(read(store)[1]) == expected


def test_a_run_trains_no_seed_that_it_does_not_need(tmp_path):
    store = Store.create(tmp_path / "store")
    told: list[str] = []
    curate_and_train(store, recipe_with(tmp_path, 0.01), lambda step, _: told.append(step.title))
    assert [one for one in dict.fromkeys(told) if one.startswith("train")] == [
        "train plain on everything, seed 1 of 4",
        "train plain on everything, seed 2 of 4",
    ]


def test_stopping_without_an_effect_is_refused(tmp_path):
    store = Store.create(tmp_path / "store")
    with pytest.raises(ValueError, match="starts with two seeds, so it has no effect with seeds = 2"):
        plan_run(recipe_with(tmp_path, 0.9, "seeds=2"), store)
    with pytest.raises(ValueError, match="stop_when_stable has no effect: no scorer reads plain"):
        plan_run(recipe_with(tmp_path, 0.9, "scorers={}"), store)
    with pytest.raises(ValueError, match=r"stop_when_stable must be in \(0, 1\], got 1.5"):
        recipe_with(tmp_path, 1.5)


def test_scores_from_embeddings_stop_as_well(tmp_path):
    store = Store.create(tmp_path / "store")
    recorded = "learners.plain.record={logits=[2], embedding='last'}"
    near = "scorers={near={method='knn_distance', signals='plain'}}"
    curate_and_train(store, recipe_with(tmp_path, 0.01, recorded, near), show_nothing)
    record = store.record(store.record(store.version("scored", "tiny").artifact).meta["columns"]["near"])
    assert len([role for role in record.request.inputs if role.startswith("signals.")]) == 2
    rows = store.signals([record.request.inputs[f"signals.{seed:03d}"] for seed in range(2)], ["embedding"], {})
    halves = [KNNDistance()(Signals(index=rows.index, arrays={"embedding": one[:, 0]})) for one in rows["embedding"]]
    assert record.meta["halves_agreement"] == pytest.approx(spearmanr(*(one.values for one in halves)).statistic)


def test_duplicates_look_at_all_seeds_together(tmp_path):
    store = Store.create(tmp_path / "store")
    recorded = "learners.plain.record={logits=[2], embedding='last'}"
    twins = "scorers.twins={method='embedding_duplicates', signals='plain'}"
    (step,) = [
        one for one in plan_run(recipe_with(tmp_path, 0.9, recorded, twins), store).steps if one.title == "score twins"
    ]
    assert "halves" not in step.request.settings
    assert len([role for role in step.request.inputs if role.startswith("signals.")]) == 4
    with pytest.raises(ValueError, match="no effect: every scorer of plain looks at all seeds together"):
        plan_run(recipe_with(tmp_path, 0.9, recorded, "scorers={}", twins), store)
