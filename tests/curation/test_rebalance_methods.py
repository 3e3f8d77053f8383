import sys

import numpy as np
import pytest

from curation.neighborhood_labels import in_danger, is_noise, num_others
from curation.rebalance.adasyn import ADASYN
from curation.rebalance.borderline_smote import BorderlineSMOTE
from curation.rebalance.kmeans_smote import KMeansSMOTE
from curation.rebalance.random_over import RandomOver
from curation.rebalance.smote_enn import SMOTEENN
from curation.rebalance.smote_n import SMOTEN, class_shares
from curation.rebalance.smote_nc import SMOTENC, elected, winners
from curation.rebalance.svm_smote import SVMSMOTE
from tests.curation.imbalanced import clouds, training_rows


def test_danger_and_noise_by_hand():
    # Of 10 neighbours, 4 others are safe, 5 to 9 danger, 10 noise.
    others = np.array([4, 5, 9, 10])
    assert in_danger(others, 10).tolist() == [False, True, True, False]
    assert is_noise(others, 10).tolist() == [False, False, False, True]


def test_other_labels_among_the_nearest_by_hand():
    # At 0, 1, 2, 10, 11 with labels 1 1 0 0 0: from 0 the two nearest are 1 (same) and 2 (other).
    rows = training_rows([[0.0], [1.0], [2.0], [10.0], [11.0]], [1, 1, 0, 0, 0])
    assert num_others(rows, np.arange(5), 2).tolist() == [1, 1, 2, 0, 0]


def test_borderline_starts_from_rows_in_danger_alone():
    # Class b at 0 to 3 and 8; class a from 9 on. Of the 2 nearest, 8 has the others 9 and 10 and is noise; 3 has
    # 2 and 1. With class a also at 3.5, row 3 has 3.5 (other) and 2: in danger, and alone so.
    places = [0, 1, 2, 3, 8, 3.5, 9, 10, 11, 12, 13, 14]
    rows = training_rows([[float(place)] for place in places], [1] * 5 + [0] * 7)
    made = BorderlineSMOTE(num_neighbors=2, num_danger_neighbors=2)(rows, np.random.default_rng(0))
    assert set(made.parent_a) == {3}
    assert set(made.parent_b) <= {1, 2}


def test_borderline_refuses_a_class_that_nothing_threatens():
    rows = clouds(apart=100.0)
    with pytest.raises(ValueError, match=r"no example of class 'b' is in danger .* 10 nearest .* use smote"):
        BorderlineSMOTE()(rows, np.random.default_rng(0))
    with pytest.raises(ValueError, match="kind must be one of borderline-1, borderline-2, got 'borderline'"):
        BorderlineSMOTE(kind="borderline")


def test_adasyn_gives_most_where_others_surround():
    # One neighbour each. Row 2 (at 2.0) has class a at 2.1; rows 0 and 1 have each other: all 4 rows come from row 2.
    rows = training_rows([[0.0], [0.5], [2.0], *[[2.1 + 3 * far] for far in range(7)]], [1] * 3 + [0] * 7)
    made = ADASYN(num_neighbors=1)(rows, np.random.default_rng(0))
    assert made.parent_a.tolist() == [2, 2, 2, 2]
    assert set(made.parent_b) == {1}
    with pytest.raises(ValueError, match="no example of class 'b' has another class among its 5 nearest"):
        ADASYN()(clouds(apart=100.0), np.random.default_rng(0))


def test_svm_rows_of_safe_vectors_lie_away_from_the_neighbour():
    rows = clouds(counts=(60, 30), apart=2.0, columns=2)
    made = SVMSMOTE(out_step=0.25)(rows, np.random.default_rng(0))
    outwards = made.gap < 0
    assert outwards.any()
    assert made.gap.min() > -0.25
    with pytest.raises(ValueError, match=r"out_step must be in \(0, 1\], got 0"):
        SVMSMOTE(out_step=0)


def test_kmeans_adds_rows_only_in_clusters_that_the_class_holds():
    rng = np.random.default_rng(0)
    centres = np.repeat([-10.0, 10.0], [20, 60])
    features = np.column_stack([centres, np.zeros(80)]) + rng.normal(size=(80, 2))
    labels = np.repeat([1, 0, 1, 0], [18, 2, 4, 56])
    rows = training_rows(features, labels)
    made = KMeansSMOTE(num_clusters=2)(rows, np.random.default_rng(0))
    assert len(made) == 58 - 22
    assert (made.features[:, 0] < 0).all()
    assert made.parent_a.max() < 18
    with pytest.raises(ValueError, match=r"no cluster holds at least 3 examples of class 'b' at a share of 0\.99"):
        KMeansSMOTE(num_clusters=2, cluster_share=0.99)(rows, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"cluster_share": 1.1}, r"cluster_share must be 'auto' or in \[0, 1\], got 1.1"),
        ({"density_exponent": -1.0}, "density_exponent must be 'auto' or at least 0, got -1.0"),
        ({"num_clusters": 0}, "num_clusters must be at least 1, got 0"),
    ],
)
def test_kmeans_settings_outside_their_range_are_refused(given_settings, message):
    with pytest.raises(ValueError, match=message):
        KMeansSMOTE(**given_settings)


def test_votes_by_hand():
    # 7 7 2: 7. 3 1 3 1 is even between 1 and 3. 5 alone.
    row, code = winners(np.array([[7, 7, 2, 7], [3, 1, 3, 1], [5, 5, 5, 5]]))
    assert row.tolist() == [0, 1, 1, 2]
    assert code.tolist() == [7, 1, 3, 5]
    drawn = np.array([elected(np.array([[3, 1, 3, 1]]), np.random.RandomState(seed))[0] for seed in range(200)])
    # Even votes are drawn: 100 of each with standard deviation 7.
    assert 60 < (drawn == 1).sum() < 140


def test_smote_nc_measures_a_mismatch_by_the_median_deviation():
    # The columns 0 1 4 1.5 and 0 2 8 3 deviate by 1.474 and 2.947: median 2.211, squared 4.89. From row 0, squared:
    # to row 1 it is 1 + 4 and 4.89 for its other colour, 9.89; to row 3 it is 2.25 + 9 = 11.25; to row 2 it is 80.
    numbers = np.array([[0.0, 0.0], [1.0, 2.0], [4.0, 8.0], [1.5, 3.0]])
    colours = np.array([[0], [1], [0], [0]])
    features = np.vstack([numbers, np.full((8, 2), 50.0)])
    rows = training_rows(features, [1] * 4 + [0] * 8, categories=np.vstack([colours, np.zeros((8, 1), int)]))
    made = SMOTENC(num_neighbors=1)(rows, np.random.default_rng(0))
    assert set(made.parent_b[made.parent_a == 0]) == {1}
    assert set(made.categories[made.parent_a == 0, 0]) == {1}


def test_smote_nc_voters_give_the_categories():
    rows = clouds(num_categories=4, columns=2)
    made = SMOTENC(num_neighbors=3)(rows, np.random.default_rng(0))
    for place in range(len(made)):
        assert made.parent_b[place] in made.voters[place]
        for column in range(4):
            votes = rows.categories[made.voters[place], column].tolist()
            assert votes.count(made.categories[place, column]) == max(votes.count(vote) for vote in votes)


def test_smote_n_shares_by_hand():
    # Code 0: two of class 0 and one of class 1; code 2: one of class 1; code 1 is not used.
    shares = class_shares(np.array([0, 0, 0, 2]), np.array([0, 0, 1, 1]), 2)
    np.testing.assert_allclose(shares, [[2 / 3, 1 / 3], [0, 0], [0, 1]])


def test_smote_n_majority_by_hand():
    # Three rows of class b with two neighbours each: all three vote whatever the base; A B C D E, A F C G N,
    # H B C D N give A B C D N.
    categories = np.array([[0, 1, 2, 3, 4], [0, 5, 2, 6, 9], [7, 1, 2, 3, 9], *[[8] * 5] * 6])
    rows = training_rows(np.empty((9, 0)), [1] * 3 + [0] * 6, categories=categories)
    made = SMOTEN(num_neighbors=2)(rows, np.random.default_rng(0))
    assert made.categories.tolist() == [[0, 1, 2, 3, 9]] * 3
    assert (np.sort(made.voters, axis=1) == [0, 1, 2]).all()


def test_methods_for_categories_say_what_they_lack():
    with pytest.raises(ValueError, match="there are no categories; use smote or smote_n"):
        SMOTENC()(clouds(), np.random.default_rng(0))
    with pytest.raises(ValueError, match="there are no numeric features; use smote or smote_n"):
        SMOTENC()(clouds(columns=0, num_categories=2), np.random.default_rng(0))
    with pytest.raises(ValueError, match="there are 4 numeric features; use smote_nc or smote"):
        SMOTEN()(clouds(num_categories=2), np.random.default_rng(0))


def test_copies_have_one_parent_and_no_gap():
    rows = clouds(num_categories=2)
    made = RandomOver()(rows, np.random.default_rng(0))
    np.testing.assert_array_equal(made.parent_a, made.parent_b)
    np.testing.assert_array_equal(made.features, rows.features[made.parent_a])
    np.testing.assert_array_equal(made.categories, rows.categories[made.parent_a])
    assert not made.gap.any()


def test_cleaning_without_imbalanced_learn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "imblearn", None)
    with pytest.raises(ImportError, match=r"smote_enn needs imbalanced-learn: pip install 'tamis\[rebalance\]'"):
        SMOTEENN()(clouds(), np.random.default_rng(0))
