import numpy as np
import pytest

from curation.scorers.grand import last_layer_gradient_norm
from flows.check_subset import check_subset
from flows.curate_and_train import curate_and_train
from flows.plan import plan_run
from flows.step import show_nothing
from storage.store import Store
from tests.flows.tiny_world import noisy_recipe

RECORD = "{logits=[1, 2], feature_norm=[2], grad_norm=[2], embedding='last'}"
LEARNER = f"learners={{plain={{method='erm', record={RECORD}}}}}"
SETTINGS = (
    *("seeds=2", "training.epochs=2", "model.widths=[4]", "arms=[]", LEARNER),
    "scorers.grand={method='grand', signals='plain', epoch=2}",
    "scorers.whole={method='grand', signals='plain', epoch=2, layers='all'}",
    "scorers.far={method='knn_distance', signals='plain', num_neighbors=1}",
    "selection={subset='cover', method='k_center', signals='plain', fraction=0.2}",
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    place = tmp_path_factory.mktemp("recorded")
    store = Store.create(place / "store")
    return store, curate_and_train(store, noisy_recipe(place, *SETTINGS), show_nothing)


def scores_of(store: Store, name: str):
    return store.record(store.version("scored", "tiny").artifact).meta["columns"][name]


def embeddings(store: Store):
    """(N, 2 * 4): those of both seeds, side by side."""
    inputs = store.record(scores_of(store, "far")).request.inputs
    trainings = [inputs[f"signals.{seed:03d}"] for seed in range(2)]
    return np.concatenate(store.signals(trainings, ["embedding"], {})["embedding"][:, :, 0], axis=1)


def test_gradient_norms_are_scored_from_one_pass_of_plain_training(recorded):
    store, _ = recorded
    last, whole = (store.scores(scores_of(store, name)) for name in ("grand", "whole"))
    inputs = store.record(scores_of(store, "grand")).request.inputs
    signals = store.signals([inputs["signals.000"], inputs["signals.001"]], ["logits", "feature_norm", "grad_norm"], {})
    labels = store.dataset("tiny").labels("train")
    by_seed = [
        last_layer_gradient_norm(signals["logits"][seed, :, 1], labels, signals["feature_norm"][seed, :, 0])
        for seed in range(2)
    ]
    np.testing.assert_allclose(last.values, np.mean(by_seed, axis=0))
    np.testing.assert_allclose(whole.values, signals["grad_norm"][:, :, 0].mean(axis=0))
    assert (whole.values > last.values).all()  # all layers, of which the last is one


def test_a_setting_that_came_later_is_hashed_only_where_it_is_not_the_default(recorded):
    store, _ = recorded
    settings = {name: store.record(scores_of(store, name)).request.settings["scorer"] for name in ("grand", "whole")}
    assert settings == {
        "grand": {"method": "grand", "epoch": 2},
        "whole": {"method": "grand", "epoch": 2, "layers": "all"},
    }


def test_neighbours_are_those_of_each_seed_with_the_standard_error_of_their_mean(recorded):
    store, _ = recorded
    nearest = []
    for rows in np.split(embeddings(store).astype(np.float64), 2, axis=1):
        distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        nearest.append(distances.min(axis=1))
    found = store.scores(scores_of(store, "far"))
    np.testing.assert_allclose(found.values, np.mean(nearest, axis=0), atol=1e-5)
    np.testing.assert_allclose(found.standard_error, np.abs(nearest[0] - nearest[1]) / 2, atol=1e-5)
    assert found.standard_error.max() > 0.01


def test_a_cover_is_chosen_in_the_embeddings_of_all_seeds_side_by_side(recorded):
    store, _ = recorded
    rows = embeddings(store).astype(np.float64)
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    centres = [int(np.linalg.norm(rows - rows.mean(axis=0), axis=1).argmin())]
    kept = store.selection(store.version("subset", "cover").artifact).kept
    while len(centres) < kept.sum():
        centres.append(int(distances[:, centres].min(axis=1).argmax()))
    assert sorted(centres) == np.flatnonzero(kept).tolist()


def test_a_selection_from_a_training_pays_for_it(recorded, tmp_path):
    store, outcome = recorded
    assert store.record(outcome.report).meta["cost"]["trainings"] == 2
    alone = plan_run(noisy_recipe(tmp_path, *SETTINGS, "scorers={}"), store)
    assert [step.title for step in alone.steps if step.module == "train_learner"] == [
        f"train plain on everything, seed {seed} of 2" for seed in (1, 2)
    ]
    without = curate_and_train(store, alone.recipe, show_nothing)
    assert store.record(without.report).meta["cost"]["trainings"] == 2


def test_checks_of_a_subset_see_the_embedding_that_a_learner_recorded(recorded):
    store, _ = recorded
    found = check_subset(store, "cover@1")["effective_rank"]
    kept = store.selection(store.version("subset", "cover").artifact).kept
    rows = embeddings(store)[kept].astype(np.float64)
    share = np.linalg.svd(rows, compute_uv=False)
    share /= share.sum()
    assert found["on"] == "recorded embedding"
    assert found["kept"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-3)


def test_a_selection_from_a_learner_without_embedding_is_refused(tmp_path):
    store = Store.create(tmp_path / "store")
    with pytest.raises(
        ValueError, match=r'embedding is not recorded; add embedding = "last" to learners\.plain\.record'
    ):
        plan_run(
            noisy_recipe(tmp_path, "selection={subset='a', method='k_center', signals='plain', fraction=0.2}"), store
        )
    with pytest.raises(ValueError, match=r"scorers\.whole reads the signal 'grad_norm', which learners\.plain\.record"):
        plan_run(noisy_recipe(tmp_path, "scorers={whole={method='grand', signals='plain', layers='all'}}"), store)
