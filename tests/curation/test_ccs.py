import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.allocation import equal_shares
from curation.scorers.el2n import EL2N
from curation.selectors.ccs import CCS, equal_width_bins
from storage.index import ExampleIndex
from storage.values import Scores, Selection, Signals
from tests.worlds import planted_flips


def run(selector: CCS, values: list[float], *, high_means: str = "hard", seed: int = 0) -> Selection:
    index = ExampleIndex(f"world:{number:03}" for number in range(len(values)))
    scores = {"el2n": Scores(index=index, values=np.array(values, dtype=float), high_means=high_means)}
    return selector(Signals(index=index, arrays={}), scores, np.random.default_rng(seed))


def test_bins_by_hand():
    # From 0 to 1 in 4 bins of 0.25; an inner edge opens the next bin, the highest value closes the last.
    values = np.array([0.0, 0.2, 0.25, 0.5, 0.74, 0.75, 1.0])
    assert equal_width_bins(values, 4).tolist() == [0, 0, 1, 2, 2, 3, 3]
    assert equal_width_bins(np.array([3.0, 3.0]), 50).tolist() == [0, 0]


def test_the_hardest_go_first_and_the_budget_is_spread_from_the_smallest_bin():
    # 10 examples: 9.0 and 8.0 are the hardest 20 %. Left are six in [0, 1) and two in [1, 2]: of a
    # budget of 4 the smaller bin gives its 2, the larger 2.
    values = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.5, 2.0, 8.0, 9.0]
    selection = run(CCS(score="el2n", fraction=0.4, drop_hardest=0.2, num_bins=2), values)
    assert selection.weights[6:].tolist() == [1, 1, 0, 0]
    assert selection.weights[:6].sum() == 2
    assert selection.reasons[9] == "el2n among the 20 % hardest"
    assert selection.reasons[6] == "drawn from its bin of el2n"
    dropped = np.flatnonzero(selection.weights[:6] == 0)[0]
    assert selection.reasons[dropped] == "not drawn from its bin of el2n"


def test_the_hard_end_is_the_one_that_the_score_says():
    values = [-9.0, -8.0, 0.0, 1.0]
    selector = CCS(score="el2n", fraction=0.5, drop_hardest=0.5)
    assert run(selector, values, high_means="hard").weights.tolist() == [1, 1, 0, 0]
    assert run(selector, values, high_means="clean").weights.tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="'el2n' is one of similarity"):
        run(selector, values, high_means="similar")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=10, max_size=60), st.floats(0.1, 0.9), st.floats(0, 1), st.integers(1, 9))
def test_each_bin_gets_its_share_of_what_is_left(values, fraction, part, num_bins):
    selector = CCS(score="el2n", fraction=fraction, drop_hardest=part * (1 - fraction), num_bins=num_bins)
    selection = run(selector, values)
    budget = int(fraction * len(values) + 0.5)
    dropped = min(int(part * (1 - fraction) * len(values) + 0.5), len(values) - budget)
    left = sorted(range(len(values)), key=lambda place: (-values[place], place))[dropped:]
    low, high = min(values[place] for place in left), max(values[place] for place in left)
    bins = dict.fromkeys(left, 0)
    for place in left:
        if high > low:
            bins[place] = min(int((values[place] - low) / (high - low) * num_bins), num_bins - 1)
    sizes = np.bincount(list(bins.values()), minlength=num_bins)
    kept = [bins[place] for place in np.flatnonzero(selection.kept)]
    assert np.bincount(kept, minlength=num_bins).tolist() == equal_shares(sizes, budget).tolist()


def test_draws_inside_a_bin_are_uniform():
    counts = sum(run(CCS(score="el2n", fraction=0.5), [1.0] * 8, seed=seed).weights for seed in range(600))
    # Each is drawn with probability one half: 300 with standard deviation sqrt(150) = 12.2.
    assert np.abs(counts - 300).max() < 50


def test_the_planted_hard_tail_is_left_out_and_the_rest_is_covered():
    world = planted_flips(rate=0.25)
    hard = EL2N(epoch=1)(world.signals)
    selector = CCS(score="el2n", fraction=0.3, drop_hardest=0.25)
    selection = selector(world.signals, {"el2n": hard}, np.random.default_rng(0))
    assert world.wrong[selection.kept].mean() < 0.1
    kept, easiest = hard.values[selection.kept], np.sort(hard.values)[:60]
    assert kept.mean() > easiest.mean()


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"fraction": 0.75, "drop_hardest": 0.3}, r"drop_hardest must be in .* = \[0, 0.25\], got 0.3"),
        ({"fraction": 0.5, "num_bins": 0}, "num_bins must be at least 1, got 0"),
        ({"fraction": 0.0}, r"fraction must be in \(0, 1\], got 0.0"),
    ],
)
def test_settings_outside_their_range_are_refused(given_settings, message):
    with pytest.raises(ValueError, match=message):
        CCS(score="el2n", **given_settings)
