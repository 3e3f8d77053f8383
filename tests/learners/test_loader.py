import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from learners.batches import Batches, batch_positions, loader
from learners.order import Order, num_scheduled, scheduled_rows
from learners.training import Training
from storage.index import ExampleIndex
from storage.store import Store
from storage.subset import Subset
from storage.values import Schedule
from tests.storage.houses import toy_selection, toy_store

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
KILLED_AFTER = 5
SCRIPT = """
import json, os, sys
from pathlib import Path
from learners.batches import loader
from storage.store import Store

if __name__ == "__main__":
    subset = Store.open(sys.argv[1]).subset("toys-clean@1")
    batches = loader(subset, batch_size=4, seed=7, workers=int(sys.argv[3]), start=sys.argv[4] or None)
    given = 0
    while True:
        for batch in batches:
            given += 1
            print(*batch.positions.tolist(), flush=True)
            Path(sys.argv[2]).write_text(json.dumps(batches.state_dict()))
            if given == int(sys.argv[5]):
                os._exit(9)
"""


@dataclass(frozen=True, kw_only=True)
class Made:
    """Rows in memory, for loaders without a store."""

    inputs: np.ndarray
    labels: np.ndarray | None
    weights: np.ndarray
    positions: np.ndarray
    groups: np.ndarray | None = None
    targets: np.ndarray | None = None
    schedule: Schedule | None = None

    def __len__(self) -> int:
        return len(self.inputs)


def made(num_rows: int = 30, **changes: object) -> Made:
    rng = np.random.default_rng(0)
    arrays = {
        "inputs": rng.integers(0, 256, (num_rows, 3, 3), dtype=np.uint8),
        "labels": np.arange(num_rows) % 3,
        "weights": 1 + np.arange(num_rows, dtype=np.float32),
        "positions": np.arange(num_rows) * 10,
    }
    return Made(**{**arrays, **changes})


def positions(batches) -> list[list[int]]:
    return [batch.positions.tolist() for batch in batches]


@pytest.fixture(scope="module")
def subset(tmp_path_factory) -> Subset:
    """26 of 39 rows, every third dropped."""
    import polars as pl

    rows = pl.DataFrame(
        {
            "example_id": [f"toys:{row}" for row in range(39)],
            "split": "train",
            "label": ["cat", "dog", "dog"] * 13,
            "size": np.arange(39.0),
            "fur": "long",
        }
    )
    store = toy_store(Path(tmp_path_factory.mktemp("loader")) / "store", rows)
    toy_selection(store, [float(row % 3) for row in range(39)])
    return store.subset("toys-clean")


def test_ten_rows_in_steps_of_four_make_four_four_two():
    assert [len(rows) for rows in Order(num_rows=10, batch_size=4, seed=0).batches(0)] == [4, 4, 2]


def test_two_ranks_share_steps_of_eight_and_a_rest_of_three_joins_the_step_before():
    # 19 rows: 8 + 8 + 3, and 3 is fewer than two for each of two ranks, so 8 + 11; the ranks get 4 + 6 and 4 + 5
    sizes = [
        [len(rows) for rows in Order(num_rows=19, batch_size=4, seed=0, rank=rank, world_size=2).batches(0)]
        for rank in range(2)
    ]
    assert sizes == [[4, 6], [4, 5]]


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 300), st.integers(1, 40), st.sampled_from([1, 2, 4]), st.integers(0, 3), st.integers(0, 3))
def test_ranks_partition_every_epoch_and_take_as_many_steps(num_rows, batch_size, world_size, seed, epoch):
    ranks = [
        list(
            Order(num_rows=num_rows, batch_size=batch_size, seed=seed, rank=rank, world_size=world_size).batches(epoch)
        )
        for rank in range(world_size)
    ]
    assert sorted(row for batches in ranks for rows in batches for row in rows) == list(range(num_rows))
    order = Order(num_rows=num_rows, batch_size=batch_size, seed=seed, world_size=world_size)
    assert {len(batches) for batches in ranks} == {order.num_steps}
    for shares in zip(*ranks, strict=True):
        sizes = [len(rows) for rows in shares]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 200), st.integers(2, 9), st.integers(0, 5))
def test_one_rank_sees_the_batches_that_training_sees(num_rows, batch_size, seed):
    kept = np.arange(num_rows) * 3
    order = Order(num_rows=num_rows, batch_size=batch_size, seed=seed)
    trained = batch_positions(
        kept, Training(batch_size=batch_size), seed=seed, first_step=0, num_steps=2 * order.num_steps
    )
    mine = [kept[rows].tolist() for epoch in range(2) for rows in order.batches(epoch)]
    assert mine == [batch.tolist() for batch in trained]


def test_steps_of_one_size_hold_the_same_rows_for_any_number_of_ranks():
    def step(world_size: int, number: int) -> set[int]:
        ranks = range(world_size)
        orders = [Order(num_rows=50, batch_size=16 // world_size, seed=1, rank=r, world_size=world_size) for r in ranks]
        return {int(row) for order in orders for row in list(order.batches(2))[number]}

    for number in range(2):
        assert step(1, number) == step(2, number) == step(4, number)


def test_epochs_and_seeds_differ_in_order():
    order, other = Order(num_rows=40, batch_size=40, seed=0), Order(num_rows=40, batch_size=40, seed=1)
    (first,), (second,), (third,) = order.batches(0), order.batches(1), other.batches(0)
    assert first.tolist() != second.tolist()
    assert first.tolist() != third.tolist()


@pytest.mark.parametrize(
    ("settings_", "sentence"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"rank": 2, "world_size": 2}, r"rank must be in \[0, 2\), got 2"),
        ({"world_size": 9}, "8 rows in an epoch are too few for 9 ranks"),
    ],
)
def test_settings_out_of_range_are_named(settings_, sentence):
    with pytest.raises(ValueError, match=sentence):
        Order(**{"num_rows": 8, "batch_size": 2, "seed": 0, **settings_})


def test_dealt_hands_cover_all_rows_before_any_comes_again():
    schedule = Schedule(rule="dealt", fraction=0.25, seed=3)
    for deal in range(3):
        hands = [scheduled_rows(schedule, 12, 4 * deal + hand).tolist() for hand in range(4)]
        assert [len(hand) for hand in hands] == [3, 3, 3, 3]
        assert sorted(row for hand in hands for row in hand) == list(range(12))


def test_a_rest_smaller_than_a_hand_is_shuffled_again():
    # 10 rows in hands of 4: two hands, and the last two rows go back
    schedule = Schedule(rule="dealt", fraction=0.4, seed=0)
    first, second, third = (set(scheduled_rows(schedule, 10, epoch).tolist()) for epoch in range(3))
    assert not first & second
    assert len(third) == 4
    assert third & (first | second)


def test_redrawn_epochs_are_uniform_draws_without_repeats():
    schedule = Schedule(rule="redrawn", fraction=0.3, seed=0)
    counts = np.zeros(10)
    for epoch in range(2000):
        rows = scheduled_rows(schedule, 10, epoch)
        assert len(set(rows.tolist())) == num_scheduled(schedule, 10) == 3
        counts[rows] += 1
    # Binomial(2000, 0.3): standard deviation 20.5; 5 of them
    assert np.abs(counts - 600).max() < 103


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rule": "rs3"}, "rule must be one of redrawn, dealt, got 'rs3'"),
        ({"fraction": 0}, r"fraction must be in \(0, 1\], got 0"),
        ({"seed": -2}, "seed must be at least 0, got -2"),
    ],
)
def test_a_schedule_out_of_range_is_named(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        Schedule(**{"rule": "dealt", "fraction": 0.5, "seed": 0, **change})


def test_a_schedule_makes_epochs_shorter_and_is_shared_by_ranks():
    schedule = Schedule(rule="dealt", fraction=0.5, seed=0)
    ranks = [
        list(Order(num_rows=40, batch_size=4, seed=5, rank=rank, world_size=2, schedule=schedule).batches(3))
        for rank in range(2)
    ]
    visited = sorted(int(row) for batches in ranks for rows in batches for row in rows)
    assert visited == sorted(scheduled_rows(schedule, 40, 3).tolist())
    assert len(visited) == 20


def test_a_batch_has_inputs_for_a_network_and_all_that_is_known_of_each_row():
    rows = made(groups=np.arange(30) % 2, targets=np.random.default_rng(1).random((30, 3)).astype(np.float32))
    for batch in loader(rows, batch_size=8):
        places = batch.positions.numpy() // 10
        np.testing.assert_allclose(batch.inputs[:, 0], rows.inputs[places] / 255, atol=1e-6)
        np.testing.assert_array_equal(batch.labels, rows.labels[places])
        np.testing.assert_array_equal(batch.weights, rows.weights[places])
        np.testing.assert_array_equal(batch.groups, rows.groups[places])
        np.testing.assert_array_equal(batch.targets, rows.targets[places])


def test_a_subset_is_served_without_its_dropped_rows(subset):
    batches = loader(subset, batch_size=4)
    visited = [position for batch in positions(batches) for position in batch]
    assert sorted(visited) == [row for row in range(39) if row % 3]
    assert len(batches) == 7
    assert batches.epoch == 1
    assert sorted(row for batch in positions(batches) for row in batch) == sorted(visited)
    assert batches.epoch == 2


def test_stored_targets_reach_the_batches(subset):
    index = ExampleIndex([f"toys:{row}" for row in range(39)])
    soft = subset.with_targets(index, np.column_stack([np.arange(39), np.zeros(39)]))
    for batch in loader(soft, batch_size=5, workers=1):
        assert batch.targets[:, 0].tolist() == batch.positions.tolist()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_the_order_is_the_same_for_any_number_of_workers_epoch_after_epoch(subset, start):
    alone = loader(subset, batch_size=4, seed=2)
    expected = [positions(alone) for _ in range(3)]
    for workers in (1, 2, 3) if start == "fork" else (2,):
        batches = loader(subset, batch_size=4, seed=2, workers=workers, start=start)
        assert [positions(batches) for _ in range(3)] == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_leaving_an_epoch_and_coming_back_carries_on_where_it_was_left(subset, workers):
    whole = loader(subset, batch_size=4, seed=2)
    expected = positions(whole) + positions(whole)
    batches, found = loader(subset, batch_size=4, seed=2, workers=workers), []
    for batch in batches:
        found.append(batch.positions.tolist())
        if len(found) == 3:
            break
    while batches.epoch < 2:
        found += positions(batches)
    assert found == expected


def test_a_state_is_a_few_numbers_and_leads_to_the_next_batch(subset):
    whole = loader(subset, batch_size=4, seed=2)
    expected = positions(whole) + positions(whole)
    for number in range(1, len(expected)):
        batches = loader(subset, batch_size=4, seed=2)
        taken = 0
        while taken < number:
            for _ in batches:
                taken += 1
                if taken == number:
                    break
        state = batches.state_dict()
        assert set(map(type, state.values())) == {int}
        resumed = loader(subset, batch_size=4, seed=2)
        resumed.load_state_dict(state)
        rest = positions(resumed) + (positions(resumed) if resumed.epoch < 2 else [])
        assert rest == expected[number:]


def test_a_state_carries_over_to_another_number_of_ranks():
    one = loader(made(50), batch_size=16, seed=1)
    for number, _ in enumerate(one, start=1):
        if number == 2:
            break
    ranks = [loader(made(50), batch_size=8, seed=1, rank=rank, world_size=2) for rank in range(2)]
    for rank in ranks:
        rank.load_state_dict(one.state_dict())
    rest = {position for rank in ranks for batch in positions(rank) for position in batch}
    assert rest == {position for batch in positions(one) for position in batch}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 5}, "the state is of another order: seed is 5 there and 0 here"),
        ({"num_rows": 31}, "num_rows is 31 there and 30 here"),
        ({"step": 99}, "at step 99 of epoch 0, which does not exist"),
        ({"epoch": -1}, "at step 0 of epoch -1, which does not exist"),
    ],
)
def test_a_state_of_another_order_is_refused(change, sentence):
    batches = loader(made(), batch_size=8)
    with pytest.raises(ValueError, match=sentence):
        batches.load_state_dict({**batches.state_dict(), **change})


def test_the_state_of_a_subset_of_equal_size_is_refused():
    state = loader(made(), batch_size=8).state_dict()
    other = made(positions=np.arange(30) * 10 + 1)
    with pytest.raises(ValueError, match="another order: rows is"):
        loader(other, batch_size=8).load_state_dict(state)
    seeds = [made(schedule=Schedule(fraction=0.5, rule="redrawn", seed=seed)) for seed in (1, 2)]
    with pytest.raises(ValueError, match="another order: rows is"):
        loader(seeds[1], batch_size=8).load_state_dict(loader(seeds[0], batch_size=8).state_dict())


def test_a_state_that_is_none_is_refused():
    with pytest.raises(ValueError, match="the state lacks 'epoch'"):
        loader(made()).load_state_dict({})


@pytest.mark.parametrize(
    ("rows", "settings_", "error", "sentence"),
    [
        (made(labels=None), {}, ValueError, "training needs labels"),
        (made(weights=np.zeros(30, np.float32)), {}, ValueError, "rows of weight above 0"),
        (made(inputs=np.zeros((30, 2))), {}, TypeError, "got float64 of shape"),
        (made(0), {}, ValueError, "0 rows in an epoch are too few for 1 ranks"),
        (made(), {"workers": -1}, ValueError, "workers must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_served_is_refused_when_the_loader_is_made(rows, settings_, error, sentence):
    with pytest.raises(error, match=sentence):
        loader(rows, **settings_)


def test_a_data_loader_of_ones_own_shares_the_batches_out_to_its_workers():
    order = Order(num_rows=30, batch_size=4, seed=0)
    expected = [(rows * 10).tolist() for rows in order.batches(0)]
    for workers in (0, 2):
        given = DataLoader(Batches(made(), order), batch_size=None, num_workers=workers)
        assert [batch.batch().positions.tolist() for batch in given] == expected


def test_the_caller_s_generators_are_left_alone(subset):
    before = torch.get_rng_state()
    np.random.seed(3)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    positions(loader(subset, batch_size=4))
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before)


def run_until_killed(subset: Subset, root: Path, tmp_path: Path, workers: int, start: str) -> tuple[list, dict]:
    import json

    script, state = tmp_path / "train.py", tmp_path / "state.json"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(root), str(state), str(workers), start, str(KILLED_AFTER)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert done.returncode == 9, done.stderr
    given = [[int(one) for one in line.split()] for line in done.stdout.splitlines()]
    return given, json.loads(state.read_text())


@pytest.mark.parametrize(
    ("workers", "start", "resumed"),
    [
        (0, "", [(0, None), (2, "fork")]),
        (2, "fork", [(0, None), (1, "fork"), (2, "fork"), (3, "fork")]),
        pytest.param(2, "spawn", [(1, "spawn"), (3, "fork")], marks=pytest.mark.slow),
    ],
)
def test_after_a_crash_the_rest_comes_in_the_same_order_with_any_number_of_workers(
    subset, tmp_path, workers, start, resumed
):
    whole = loader(subset, batch_size=4, seed=7)
    expected = positions(whole) + positions(whole)
    root = next(iter(subset._paths.values())).parents[3]
    assert Store.open(root).names("subset") == ["toys-clean"]
    given, state = run_until_killed(subset, root, tmp_path, workers, start)
    assert given == expected[:KILLED_AFTER]
    for other, way in resumed:
        batches = loader(subset, batch_size=4, seed=7, workers=other, start=way)
        batches.load_state_dict(state)
        assert positions(batches) + positions(batches) == expected[KILLED_AFTER:]
