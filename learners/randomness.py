"""Chance derived from (seed, purpose, counts) alone.

No generator lives through a training run, so a run that resumes at an epoch draws what an
unbroken one draws, without any generator state in its checkpoint.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def _sequence(seed: int, purpose: str, counts: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()), *counts))


def generator(seed: int, purpose: str, *counts: int) -> np.random.Generator:
    """A fresh NumPy generator; other purposes or counts give independent streams.

    Args:
        seed: the run's seed, at least 0.
        purpose: what is drawn, such as "order".
        counts: which draw of its kind, such as the number of the epoch.
    """
    return np.random.default_rng(_sequence(seed, purpose, counts))


def torch_generator(seed: int, purpose: str, *counts: int) -> torch.Generator:
    """A fresh torch generator; other purposes or counts give independent streams.

    Args:
        seed: the run's seed, at least 0.
        purpose: what is drawn, such as "attack".
        counts: which draw of its kind, such as the number of the step.
    """
    state = _sequence(seed, purpose, counts).generate_state(1, dtype=np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


@contextmanager
def torch_seeded(seed: int, purpose: str, *counts: int) -> Iterator[None]:
    """Seed torch's generators inside the block, and put the caller's states back after it.

    Networks draw their first weights and their dropout masks from these generators.
    """
    started: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = [torch.cuda.current_device()] if started else []
    with torch.random.fork_rng(devices=devices):
        state = _sequence(seed, purpose, counts).generate_state(1, dtype=np.uint64)
        torch.manual_seed(int(state[0]))
        yield
