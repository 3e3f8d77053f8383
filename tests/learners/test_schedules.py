import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.schedules import schedule_factor

NAMES = ("cosine", "constant", "one_cycle", "step")


def factors(name, total, **options):
    return [schedule_factor(name, step, total, **options) for step in range(total)]


def test_step_falls_to_a_tenth_at_each_milestone():
    found = factors("step", 8, milestones=(0.5, 0.75))
    assert found == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_warm_up_grows_by_equal_steps_and_the_schedule_fills_the_rest():
    # 0.3 of 10 steps: 1/4, 2/4, 3/4, then a cosine over 7 steps
    rest = [0.5 * (1 + math.cos(math.pi * step / 7)) for step in range(7)]
    assert factors("cosine", 10, warm_up=0.3) == pytest.approx([0.25, 0.5, 0.75, *rest])


def test_one_cycle_starts_at_a_25th_is_highest_after_30_percent_and_ends_near_0():
    assert schedule_factor("one_cycle", 0, 100) == pytest.approx(1 / 25)
    assert schedule_factor("one_cycle", 15, 100) == pytest.approx(0.52)  # half way: (1 + 1/25) / 2
    assert schedule_factor("one_cycle", 30, 100) == pytest.approx(1.0)
    assert schedule_factor("one_cycle", 100, 100) == pytest.approx(1 / 250_000)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.integers(1, 60), st.floats(0, 0.99))
def test_factors_are_in_0_to_1_for_any_length(name, total, warm_up):
    for step in range(total + 1):
        factor = schedule_factor(name, step, total, warm_up=0.0 if name == "one_cycle" else warm_up, milestones=(0.5,))
        assert 0 <= factor <= 1 + 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_has_the_same_shape_over_twice_as_many_steps(name):
    short, long = (factors(name, total, milestones=(0.5, 0.75)) for total in (20, 40))
    assert long[::2] == pytest.approx(short)
