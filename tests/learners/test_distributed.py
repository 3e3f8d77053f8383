import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from learners.distributed import LostRankError, Ranks, joined_ranks
from learners.fit import fit
from learners.methods.erm import ERM
from learners.models.mlp import MLP
from learners.order import Order
from learners.training import Training
from tests.learners import ranked_training

ROOT = Path(ranked_training.__file__).parents[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folder with what two processes wrote."""
    folder = tmp_path_factory.mktemp("ranks")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*torchrun, "-m", "tests.learners.ranked_training", str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=300,
    )
    return folder


def read(folder, name, rank):
    return safetensors.numpy.load((folder / f"{name}-{rank}.safetensors").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("name", ranked_training.CASES)
def test_two_processes_train_what_one_trains(written, name):
    alone, together = ranked_training.end_state(name), read(written, name, 0)
    assert alone.keys() == together.keys()
    for key, array in alone.items():
        np.testing.assert_allclose(together[key], array, rtol=1e-5, atol=1e-5, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", ranked_training.CASES)
def test_every_process_ends_with_the_same_state_bit_for_bit(written, name):
    one, other = (read(written, name, rank) for rank in (0, 1))
    assert one.keys() == other.keys()
    for key, array in one.items():
        np.testing.assert_array_equal(array, other[key], err_msg=key)


def test_ranks_share_a_batch_as_loaders_deal_it():
    batch = torch.tensor(np.concatenate(list(Order(num_rows=7, batch_size=7, seed=3).batches(0))))
    for rank in (0, 1):
        order = Order(num_rows=7, batch_size=4, seed=3, rank=rank, world_size=2)
        assert Ranks(rank=rank, world_size=2).share(batch).tolist() == next(order.batches(0)).tolist()


def test_outside_of_torchrun_a_process_trains_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_ranks() as ranks:
        assert ranks == Ranks()
        assert ranks.gathered(torch.arange(3), 3).tolist() == [0, 1, 2]
        assert ranks.told("a training") == "a training"
        assert ranks.speaks_first()


def test_of_several_processes_that_end_the_first_to_ask_speaks():
    counted = iter([1, 2, 3])
    ranks = [Ranks(rank=rank, world_size=3, speakers=lambda: next(counted)) for rank in range(3)]
    assert [one.speaks_first() for one in ranks] == [True, False, False]


def test_a_process_that_can_ask_nobody_speaks():
    def unreachable() -> int:
        raise RuntimeError("Connection reset by peer")

    assert Ranks(world_size=2, speakers=unreachable).speaks_first()


def test_what_the_transport_says_of_a_lost_process_becomes_a_sentence(monkeypatch):
    def broken(*_):
        raise RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer")

    monkeypatch.setattr("torch.distributed.all_reduce", broken)
    with pytest.raises(LostRankError, match="another process of this training has ended or cannot be reached; run the"):
        Ranks(world_size=2).means(torch.ones(2))


def test_a_last_batch_too_small_for_its_processes_is_refused(make_table):
    training = Training(batch_size=28)
    with pytest.raises(
        ValueError, match="the last batch of a pass has 4 examples, fewer than two for each of 8 processes"
    ):
        fit(ERM(), make_table(), model=MLP(), training=training, seed=0, ranks=Ranks(world_size=8))


def test_a_rank_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"rank must be in \[0, 2\), got 2"):
        Ranks(rank=2, world_size=2)
