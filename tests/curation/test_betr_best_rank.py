from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import best_rank
from curation.best_rank import (
    BestRanks,
    best_ranks,
    covering_ranks,
    directions,
    mean_values,
    nearest_documents,
    paired_cosines,
)

# Products (.9, .8, .1, .2) and (.1, .7, .6, .5) of four documents with two orthogonal targets; a third axis takes up
# what is missing to length 1, but for the second document, whose cosines are .8 and .7 divided by its length, 1.06.
TWO = np.eye(2, 3)
COSINES = np.array([[0.9, 0.1], [0.8, 0.7], [0.1, 0.6], [0.2, 0.5]])
FOUR = np.column_stack([COSINES, np.sqrt(np.maximum(0, 1 - np.square(COSINES).sum(axis=1)))])
FOUR[1] = [0.8, 0.7, 0.0]
ALL = np.arange(4)


def grid(rng: np.random.Generator, num_rows: int, num_dimensions: int = 3) -> np.ndarray:
    """Rows among so few values that many are twins or have equal cosines; some are all 0."""
    return rng.integers(-1, 2, size=(num_rows, num_dimensions)).astype(np.float32)


def slow_order(table: np.ndarray, documents: np.ndarray, target: np.ndarray) -> list[int]:
    """Places by falling cosine, equal ones by place: one pair at a time."""
    cosines = [float(paired_cosines(table[[row]], target[None])[0]) for row in documents]
    return sorted(range(len(documents)), key=lambda place: (-cosines[place], place))


def slow_best(table: np.ndarray, documents: np.ndarray, targets: np.ndarray, cutoff: int) -> BestRanks:
    """Best ranks from the whole table of ranks, one document at a time."""
    ranks, nearest, sources = [], [], []
    orders = [slow_order(table, documents, target) for target in targets]
    for place, row in enumerate(documents):
        found = []
        for number, target in enumerate(targets):
            rank = orders[number].index(place) + 1
            if rank <= cutoff:
                found.append((rank, -float(paired_cosines(table[[row]], target[None])[0]), number))
        rank, cosine, source = min(found, default=(cutoff + 1, np.inf, -1))
        ranks.append(rank)
        nearest.append(-cosine)
        sources.append(source)
    return BestRanks(ranks=np.array(ranks), cosines=np.array(nearest), targets=np.array(sources), cutoff=cutoff)


def assert_same(one: BestRanks, other: BestRanks) -> None:
    assert one.cutoff == other.cutoff
    np.testing.assert_array_equal(one.ranks, other.ranks)
    np.testing.assert_array_equal(one.cosines, other.cosines)
    np.testing.assert_array_equal(one.targets, other.targets)


@pytest.fixture
def small_blocks(monkeypatch):
    for name, size in (("TARGETS_AT_ONCE", 2), ("DOCUMENTS_AT_ONCE", 5), ("PAIRS_AT_ONCE", 3), ("FIRST_LOOK", 2)):
        monkeypatch.setattr(best_rank, name, size)


def test_best_ranks_by_hand():
    # The first target ranks the documents 1, 2, 4, 3, the second one 4, 1, 2, 3.
    found = best_ranks(FOUR, ALL, TWO, 4)
    assert found.ranks.tolist() == [1, 1, 2, 3]
    assert found.targets.tolist() == [0, 1, 1, 1]
    assert found.order.tolist() == [0, 1, 2, 3]


def test_documents_beyond_the_cutoff_have_one_rank_more():
    found = best_ranks(FOUR, ALL, TWO, 1)
    assert found.ranks.tolist() == [1, 1, 2, 2]
    assert found.targets.tolist() == [0, 1, -1, -1]
    assert found.num_ranked == 2


def test_means_of_logarithms_of_ranks_by_hand():
    # (0 - 2) / 2 = -1, (-1 + 0) / 2 = -0.5, (-2 - 1) / 2 = -1.5 and -log2(3) = -1.585.
    means = mean_values(FOUR, ALL, TWO, np.array([0.5, 0.5]), "log")
    np.testing.assert_allclose(means, [-1.0, -0.5, -1.5, -np.log2(3)], rtol=1e-15)
    assert np.argsort(-means).tolist() == [1, 0, 2, 3]


def test_means_of_reciprocal_ranks_by_hand():
    # (1 + 1/4) / 2, (1/2 + 1) / 2, (1/4 + 1/2) / 2 and 1/3; a weight of 1 for one target leaves the other out.
    means = mean_values(FOUR, ALL, TWO, np.array([0.5, 0.5]), "reciprocal")
    np.testing.assert_allclose(means, [0.625, 0.75, 0.375, 1 / 3], rtol=1e-15)
    alone = mean_values(FOUR, ALL, TWO, np.array([0.0, 1.0]), "reciprocal")
    np.testing.assert_allclose(alone, [1 / 4, 1, 1 / 2, 1 / 3], rtol=1e-15)


def test_of_equal_ranks_the_nearer_document_comes_first_and_then_the_earlier_one():
    table = np.array([[0.6, 0.8], [1.0, 0.0], [0.0, 2.0]])
    found = best_ranks(table, np.arange(3), np.array([[0.8, 0.6], [5.0, 0.0], [0.0, 3.0]]), 1)
    # Each target ranks another document first, at cosines 0.96, 1 and 1.
    assert found.ranks.tolist() == [1, 1, 1]
    assert found.targets.tolist() == [0, 1, 2]
    assert found.order.tolist() == [1, 2, 0]


def test_twins_stand_in_the_order_given_in_every_list():
    table = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    lists = nearest_documents(table, np.array([3, 2, 1, 0]), np.array([[1.0, 0.0]]), 4)
    assert lists.places.tolist() == [[0, 1, 2, 3]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_documents=st.integers(1, 40), num_targets=st.integers(1, 7))
def test_best_ranks_are_those_of_the_whole_table_of_ranks(seed, num_documents, num_targets):
    rng = np.random.default_rng(seed)
    table, targets = grid(rng, num_documents + 3), grid(rng, num_targets)
    documents = rng.permutation(num_documents + 3)[:num_documents]
    cutoff = int(rng.integers(1, num_documents + 1))
    assert_same(best_ranks(table, documents, targets, cutoff), slow_best(table, documents, targets, cutoff))


def test_blocks_change_nothing(small_blocks):
    rng = np.random.default_rng(7)
    for cutoff in (1, 2, 5, 30):
        table, targets, documents = grid(rng, 30, 4), grid(rng, 5, 4), rng.permutation(30)
        assert_same(best_ranks(table, documents, targets, cutoff), slow_best(table, documents, targets, cutoff))


@pytest.mark.parametrize("documents_at_once", [64, 100, 1000])
def test_embeddings_come_to_the_same_bits_in_blocks_of_any_size(monkeypatch, documents_at_once):
    rng = np.random.default_rng(3)
    table, targets = rng.normal(size=(900, 16)).astype(np.float32), rng.normal(size=(40, 16)).astype(np.float32)
    table[rng.integers(900, size=300)] = table[:300]
    documents = rng.permutation(900)
    whole = best_ranks(table, documents, targets, 20)
    monkeypatch.setattr(best_rank, "DOCUMENTS_AT_ONCE", documents_at_once)
    monkeypatch.setattr(best_rank, "TARGETS_AT_ONCE", 7)
    monkeypatch.setattr(best_rank, "FIRST_LOOK", 1)
    assert_same(best_ranks(table, documents, targets, 20), whole)


def test_many_twins_fill_no_more_than_the_lists(monkeypatch):
    monkeypatch.setattr(best_rank, "DOCUMENTS_AT_ONCE", 50)
    table, widest = np.ones((1000, 3), dtype=np.float32), []
    settle = best_rank._Search.settle

    def watched(search):
        widest.append(search.cosines.shape[1])
        settle(search)

    monkeypatch.setattr(best_rank._Search, "settle", watched)
    lists = nearest_documents(table, np.arange(1000), np.ones((2, 3)), 4)
    assert lists.places.tolist() == [[0, 1, 2, 3]] * 2
    assert max(widest) < 150


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_permuting_targets_and_lengthening_vectors_changes_no_rank(seed):
    rng = np.random.default_rng(seed)
    table, targets = rng.normal(size=(30, 4)), rng.normal(size=(6, 4))
    found, shuffled = best_ranks(table, np.arange(30), targets, 3), rng.permutation(6)
    moved = best_ranks(4 * table, np.arange(30), 0.5 * targets[shuffled], 3)
    assert_same(found, replace(moved, targets=np.where(moved.targets >= 0, shuffled[moved.targets], -1)))


def test_permuting_the_table_changes_no_rank():
    rng = np.random.default_rng(5)
    table, targets, moved = grid(rng, 25), grid(rng, 4), rng.permutation(25)
    places = np.argsort(moved)
    assert_same(best_ranks(table, np.arange(25), targets, 4), best_ranks(table[moved], places, targets, 4))


def test_a_target_named_twice_changes_the_means_and_no_best_rank():
    twice = TWO[[0, 1, 0]]
    assert_same(best_ranks(FOUR, ALL, twice, 4), best_ranks(FOUR, ALL, TWO, 4))
    means = mean_values(FOUR, ALL, twice, np.full(3, 1 / 3), "log")
    assert not np.allclose(means, mean_values(FOUR, ALL, TWO, np.full(2, 1 / 2), "log"))


def test_the_cutoff_grows_until_the_lists_cover_what_is_needed(monkeypatch):
    monkeypatch.setattr(best_rank, "LEAST_CUTOFF", 1)
    rng = np.random.default_rng(2)
    table = rng.normal(size=(64, 3))
    # Targets alike have lists alike, so that four times as many entries as needed are not enough.
    targets = np.array([1.0, 0.0, 0.0]) + 0.01 * rng.normal(size=(20, 3))
    found = covering_ranks(table, np.arange(64), targets, 32)
    assert found.cutoff > 7
    assert found.num_ranked >= 32
    exact = best_ranks(table, np.arange(64), targets, 64)
    assert found.order[:32].tolist() == exact.order[:32].tolist()


def test_planted_paraphrases_come_first_by_best_rank_and_not_by_one_centroid():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(40, 32))
    table = np.concatenate([rng.normal(size=(1960, 32)), targets + 0.3 * rng.normal(size=(40, 32))])
    first = covering_ranks(table, np.arange(2000), targets, 40).order[:40]
    assert np.mean(first >= 1960) > 0.95
    centroid = directions(targets).mean(axis=0)
    assert np.mean(np.argsort(-(directions(table) @ centroid))[:40] >= 1960) < 0.6


def test_a_list_as_long_as_no_documents_is_refused():
    with pytest.raises(ValueError, match=r"num_nearest must be in \[1, 4\], the number of documents, got 5"):
        best_ranks(FOUR, ALL, TWO, 5)
