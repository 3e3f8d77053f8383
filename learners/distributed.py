"""Ranks: several processes that train one network together, each on its share of every batch.

    torchrun --nproc-per-node 2 train.py

with `fit(..., ranks=ranks)` inside `with joined_ranks() as ranks:` gives what one process gives, up to the order in
which numbers are added: `batch_size` is that of all ranks together. The rows of a batch are dealt out one each in
turn. Gradients are summed before every update; after every step each rank has what the others wrote into per-example
memories, found by position, and the same report. So every rank ends with the same state, and one of them may save it.

What a learner works out over a batch is worked out over a rank's share, as everywhere under PyTorch's data parallel
training, unless it asks for `TrainState.whole_batch`; batch normalisation takes its statistics from a rank's share,
and those of rank 0 are kept.

When one process ends, what the others wait for never comes: each gets a `LostRankError`, and `speaks_first` is True
for one of them alone, so that people read one sentence about it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

PATIENCE = timedelta(days=30)
"""How long a rank waits to be told of the next training; what rank 0 does meanwhile may take hours."""


class LostRankError(ConnectionError):
    """Another of the processes that train together has ended."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Which process this is, and of how many; the calls below must be made by all alike, but for `speaks_first`."""

    rank: int = 0
    """This process, in [0, world_size)."""
    world_size: int = 1
    """How many processes train together, at least 1."""
    patient: dist.ProcessGroup | None = None
    """The group in which they wait for rank 0; None where there is one process."""
    speakers: Callable[[], int] | None = None
    """How many, over all processes, have called this; None where there is one process."""

    def __post_init__(self) -> None:
        if self.world_size < 1:
            raise ValueError(f"world_size must be at least 1, got {self.world_size}")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank must be in [0, {self.world_size}), got {self.rank}")

    def share(self, rows: Tensor) -> Tensor:
        """This rank's rows of (B,) rows: every world_size-th."""
        return rows[self.rank :: self.world_size]

    def gathered(self, rows: Tensor, total: int) -> Tensor:
        """All ranks' rows in the order of the batch.

        Args:
            rows: (b, ...) what this rank has for its share.
            total: B, rows of the batch, at least world_size.

        Returns:
            (B, ...).
        """
        if self.world_size == 1:
            return rows
        most = -(-total // self.world_size)
        own = rows.new_zeros(most, *rows.shape[1:])
        own[: len(rows)] = rows
        parts = [torch.empty_like(own) for _ in range(self.world_size)]
        with _losses_told():
            dist.all_gather(parts, own)
        return torch.stack(parts, dim=1).flatten(0, 1)[:total]

    def sum_gradients(self, network: nn.Module) -> None:
        """Replace the network's gradients by their sums over all ranks."""
        if self.world_size == 1:
            return
        gradients = [one.grad for one in network.parameters() if one.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        with _losses_told():
            dist.all_reduce(flat)
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def means(self, numbers: Tensor) -> Tensor:
        """Means of (n,) numbers over all ranks."""
        if self.world_size == 1:
            return numbers
        summed = numbers.clone()
        with _losses_told():
            dist.all_reduce(summed)
        return summed / self.world_size

    def copy_statistics(self, networks: list[nn.Module]) -> None:
        """Give every rank the buffers of rank 0's networks."""
        if self.world_size > 1:
            for network in networks:
                for buffer in network.buffers():
                    with _losses_told():
                        dist.broadcast(buffer, src=0)

    def told(self, text: str = "") -> str:
        """The text that rank 0 gives, on every rank; the others wait for it as long as it takes."""
        if self.world_size == 1:
            return text
        data = np.frombuffer(text.encode(), np.uint8) if self.rank == 0 else np.empty(0, np.uint8)
        with _losses_told():
            size = torch.tensor(len(data))
            dist.broadcast(size, src=0, group=self.patient)
            letters = torch.from_numpy(np.resize(data, int(size)) if self.rank == 0 else np.empty(int(size), np.uint8))
            dist.broadcast(letters, src=0, group=self.patient)
        return letters.numpy().tobytes().decode()

    def speaks_first(self) -> bool:
        """Whether no other process asked this before: True for one of all that ask, who may tell people of an error."""
        try:
            return self.speakers is None or self.speakers() == 1
        except RuntimeError:
            return True


@contextmanager
def _losses_told() -> Iterator[None]:
    """Turn what the transport says when a process has gone into a sentence."""
    try:
        yield
    except RuntimeError as error:
        raise LostRankError(
            "another process of this training has ended or cannot be reached; run the same command again to carry on"
        ) from error


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun started; outside of torchrun this process trains alone.

    Uses NCCL for what is on GPUs where every process of a machine has one, and gloo otherwise.

    Yields:
        Which of them this process is.
    """
    if "WORLD_SIZE" not in os.environ:
        yield Ranks()
        return
    gpus = torch.cuda.is_available() and torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    meeting, rank, world_size = next(rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
    dist.init_process_group(backend, store=meeting, rank=rank, world_size=world_size)
    patient = dist.new_group(backend="gloo", timeout=PATIENCE)
    ended_well = False
    try:
        yield Ranks(rank=rank, world_size=world_size, patient=patient, speakers=partial(meeting.add, "tamis/spoken", 1))
        ended_well = True
    finally:
        if ended_well or not gpus:  # NCCL would wait for processes that are no longer there
            dist.destroy_process_group()
