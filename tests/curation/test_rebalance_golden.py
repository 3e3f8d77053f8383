import numpy as np
import pytest

from curation.rebalance.adasyn import ADASYN
from curation.rebalance.borderline_smote import BorderlineSMOTE
from curation.rebalance.kmeans_smote import KMeansSMOTE
from curation.rebalance.random_over import RandomOver
from curation.rebalance.random_under import RandomUnder
from curation.rebalance.smote import SMOTE
from curation.rebalance.smote_enn import SMOTEENN
from curation.rebalance.smote_n import SMOTEN
from curation.rebalance.smote_nc import SMOTENC
from curation.rebalance.smote_tomek import SMOTETomek
from curation.rebalance.svm_smote import SVMSMOTE
from tests.curation.imbalanced import assert_on_segments, clouds, same_draws

combine = pytest.importorskip("imblearn.combine", reason="imbalanced-learn is not installed")
over = pytest.importorskip("imblearn.over_sampling")
under = pytest.importorskip("imblearn.under_sampling")

WORLDS = {
    "two classes": {},
    "three classes": {"counts": (90, 25, 40)},
    "twins": {"twins": 9},
    "single precision": {"dtype": np.float32},
    "twenty columns": {"columns": 20, "counts": (140, 20, 60), "apart": 0.2},
}
"""Continuous features, so that only twins are equally far from anything: there the peer's choice of neighbours hangs
on its number of threads. Twins are of one class: of others, the peer may count a row among its own neighbours."""

every_world = pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS.keys())


@every_world
@pytest.mark.parametrize(
    ("ours", "peer"),
    [
        (SMOTE(), lambda draws: over.SMOTE(random_state=draws)),
        (SMOTE(num_neighbors=3), lambda draws: over.SMOTE(random_state=draws, k_neighbors=3)),
        (RandomOver(), lambda draws: over.RandomOverSampler(random_state=draws)),
        (BorderlineSMOTE(), lambda draws: over.BorderlineSMOTE(random_state=draws)),
        (ADASYN(), lambda draws: over.ADASYN(random_state=draws)),
        (SVMSMOTE(), lambda draws: over.SVMSMOTE(random_state=draws)),
        (
            KMeansSMOTE(num_clusters=3, cluster_share=0.1),
            lambda draws: over.KMeansSMOTE(random_state=draws, kmeans_estimator=3, cluster_balance_threshold=0.1),
        ),
        (
            KMeansSMOTE(num_clusters=1, density_exponent=2.0),
            lambda draws: over.KMeansSMOTE(random_state=draws, kmeans_estimator=1, density_exponent=2.0),
        ),
    ],
    ids=["smote", "smote-3", "random", "borderline-1", "adasyn", "svm", "kmeans", "kmeans-1"],
)
def test_rows_are_those_of_imbalanced_learn_to_the_bit(ours, peer, world):
    rows = clouds(**world)
    rng, draws = same_draws(4)
    made = ours(rows, rng)
    features, labels = peer(draws).fit_resample(rows.features, rows.labels)
    assert len(made) == len(labels) - len(rows) > 0
    np.testing.assert_array_equal(made.features, features[len(rows) :])
    np.testing.assert_array_equal(made.labels, labels[len(rows) :])
    assert made.features.dtype == features.dtype
    assert made.kept.all()
    assert_on_segments(rows, made)


@every_world
def test_borderline_2_rows_are_those_of_imbalanced_learn(world):
    rows = clouds(**world)
    rng, draws = same_draws(4)
    made = BorderlineSMOTE(kind="borderline-2")(rows, rng)
    features, _ = over.BorderlineSMOTE(kind="borderline-2", random_state=draws).fit_resample(rows.features, rows.labels)
    # The peer shortens the difference, we the gap: one rounding apart in the type of the features.
    precision = 8 * np.finfo(rows.features.dtype).eps
    np.testing.assert_allclose(made.features, features[len(rows) :], rtol=precision, atol=precision)
    foreign = rows.labels[made.parent_b] != made.labels
    assert foreign.any()
    assert made.gap[foreign].max() < 0.5
    assert_on_segments(rows, made)


@every_world
@pytest.mark.parametrize("balance", [0.5, 1.0, {"a": 100, "b": 41}, {"b": 31}])
def test_a_chosen_balance_means_what_it_means_in_imbalanced_learn(world, balance):
    rows = clouds(**{**world, "counts": (100, 30)})
    strategy = {"ab".index(name): count for name, count in balance.items()} if isinstance(balance, dict) else balance
    rng, draws = same_draws(1)
    features, _ = over.SMOTE(random_state=draws, sampling_strategy=strategy).fit_resample(rows.features, rows.labels)
    np.testing.assert_array_equal(SMOTE(balance=balance)(rows, rng).features, features[len(rows) :])


@every_world
@pytest.mark.parametrize("balance", ["auto", {"a": 7, "b": 12}])
def test_the_rows_left_are_those_of_imbalanced_learn(world, balance):
    rows = clouds(**world)
    strategy = {"ab".index(name): count for name, count in balance.items()} if isinstance(balance, dict) else balance
    rng, draws = same_draws(2)
    sampler = under.RandomUnderSampler(random_state=draws, sampling_strategy=strategy)
    sampler.fit_resample(rows.features, rows.labels)
    made = RandomUnder(balance=balance)(rows, rng)
    np.testing.assert_array_equal(np.flatnonzero(made.kept), np.sort(sampler.sample_indices_))
    assert len(made) == 0


@every_world
@pytest.mark.parametrize(
    ("ours", "peer"),
    [
        (SMOTEENN(), lambda draws: combine.SMOTEENN(random_state=draws)),
        (SMOTETomek(), lambda draws: combine.SMOTETomek(random_state=draws)),
    ],
    ids=["enn", "tomek"],
)
def test_cleaned_rows_are_those_of_imbalanced_learn(ours, peer, world):
    rows = clouds(**world)
    rng, draws = same_draws(3)
    made = ours(rows, rng)
    features, labels = peer(draws).fit_resample(rows.features, rows.labels)
    assert made.kept.sum() + len(made) == len(labels) <= len(rows) + len(SMOTE()(rows, same_draws(3)[0]))

    def as_set(features, labels):
        table = np.column_stack([labels, features])
        return table[np.lexsort(table.T)]

    together = as_set(
        np.concatenate([rows.features[made.kept], made.features]), np.concatenate([rows.labels[made.kept], made.labels])
    )
    np.testing.assert_array_equal(together, as_set(features, labels))
    assert_on_segments(rows, made)


@every_world
def test_mixed_rows_are_those_of_imbalanced_learn(world):
    rows = clouds(**world, num_categories=3)
    table = np.hstack([rows.features.astype(object), rows.categories.astype(object)])
    columns = rows.features.shape[1]
    rng, draws = same_draws(6)
    sampler = over.SMOTENC(categorical_features=list(range(columns, columns + 3)), random_state=draws)
    expected = sampler.fit_resample(table, rows.labels)[0][len(rows) :]
    made = SMOTENC()(rows, rng)
    # The peer turns a table of mixed types into double precision.
    rounding = 0 if rows.features.dtype == np.float64 else 1e-6
    np.testing.assert_allclose(made.features, expected[:, :columns].astype(np.float64), rtol=rounding, atol=rounding)
    np.testing.assert_array_equal(made.categories, expected[:, columns:].astype(np.int64))
    assert_on_segments(rows, made)


@every_world
@pytest.mark.parametrize("num_levels", [2, 7])
def test_rows_of_categories_are_those_of_imbalanced_learn(world, num_levels):
    rows = clouds(**{**world, "columns": 0}, num_categories=4, num_levels=num_levels)
    rng, draws = same_draws(7)
    expected, labels = over.SMOTEN(random_state=draws).fit_resample(rows.categories, rows.labels)
    made = SMOTEN()(rows, rng)
    np.testing.assert_array_equal(made.categories, expected[len(rows) :])
    np.testing.assert_array_equal(made.labels, labels[len(rows) :])
