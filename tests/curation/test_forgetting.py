import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.scorers.forgetting import Forgetting, correct_visits, forgetting_events, never_learnt
from storage.index import ExampleIndex
from storage.values import Signals


def visits(*sequences: str) -> np.ndarray:
    return np.array([[mark == "1" for mark in sequence] for sequence in sequences])


def recorded(correct: np.ndarray, epochs: tuple[int, ...] | None = None) -> Signals:
    """Logits (R, N, T, 2) of a model that is right, for label 0, where `correct` (R, N, T) says so."""
    right = np.where(correct, 1.0, -1.0)
    return Signals(
        index=ExampleIndex(f"world:{number}" for number in range(correct.shape[1])),
        arrays={"train_logits": np.stack([right, -right], axis=-1), "label": np.zeros(correct.shape[1], dtype=int)},
        epochs={"train_logits": epochs or tuple(range(1, correct.shape[2] + 1))},
    )


def test_events_are_counted_by_hand():
    # 0,1,1,0,1,0,0,1 loses the example twice: after the third and after the fifth visit.
    correct = visits("01101001", "00000000", "01111111", "10101010")
    assert forgetting_events(correct).tolist() == [2, 0, 0, 4]
    assert never_learnt(correct).tolist() == [False, True, False, False]


def test_never_learnt_counts_one_more_than_the_epochs_and_is_flagged():
    scores = Forgetting()(recorded(visits("011", "000", "101")[None]))
    assert scores.values.tolist() == [0.0, 4.0, 1.0]
    assert scores.columns["never_learnt"].tolist() == [False, True, False]
    assert scores.high_means == "hard"


def test_seeds_are_averaged_and_only_what_no_seed_learnt_is_flagged():
    scores = Forgetting()(recorded(np.stack([visits("101", "000", "000"), visits("111", "000", "010")])))
    assert scores.values.tolist() == [0.5, 4.0, 2.5]
    assert scores.columns["never_learnt"].tolist() == [False, True, False]


def test_right_means_above_all_others_so_a_tie_is_wrong():
    logits = np.array([[[2.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 3.0, 3.0]]])
    assert correct_visits(logits, np.array([0])).tolist() == [[True, False, False]]
    assert correct_visits(logits, np.array([1])).tolist() == [[False, False, False]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("01", min_size=6, max_size=6), min_size=1, max_size=8))
def test_events_agree_with_counting_in_the_text_and_stay_in_bounds(sequences):
    events = forgetting_events(visits(*sequences))
    assert events.tolist() == [sequence.count("10") for sequence in sequences]
    assert (events <= 3).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-5, 5), st.floats(0.1, 5))
def test_only_who_wins_matters(seed, constant, scale):
    rng = np.random.default_rng(seed)
    logits, labels, names = rng.normal(size=(5, 4, 3)), rng.integers(3, size=5), rng.permutation(3)
    plain = correct_visits(logits, labels)
    np.testing.assert_array_equal(correct_visits(scale * logits + constant, labels), plain)
    np.testing.assert_array_equal(correct_visits(logits[..., np.argsort(names)], names[labels]), plain)


def test_examples_learnt_by_heart_late_and_shakily_score_above_those_known_throughout():
    rng = np.random.default_rng(0)
    shaky = np.arange(100) < 20
    chance = np.where(shaky, 0.5, 0.99)
    scores = Forgetting()(recorded(rng.random((2, 100, 30)) < chance[None, :, None]))
    assert scores.values[shaky].min() > scores.values[~shaky].max()


def test_a_missing_epoch_is_named():
    with pytest.raises(ValueError, match=r"of every epoch, but epoch 2 was not recorded; set train_logits = \"every\""):
        Forgetting()(recorded(visits("011")[None], epochs=(1, 3, 4)))
