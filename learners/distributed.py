"""Ranks: several processes that train one network together, each on its share of every batch.

    torchrun --nproc-per-node 2 train.py

with `fit(..., ranks=ranks)` inside `with joined_ranks() as ranks:` gives what one process gives, up to the order in
which numbers are added: `batch_size` is that of all ranks together. The rows of a batch are dealt out one each in
turn. Gradients are summed before every update; after every step each rank has what the others wrote into per-example
memories, found by position, and the same report. So every rank ends with the same state, and one of them may save it.

What a learner works out over a batch is worked out over a rank's share, as everywhere under PyTorch's data parallel
training, unless it asks for `TrainState.whole_batch`; batch normalisation takes its statistics from a rank's share,
and those of rank 0 are kept.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Which process this is, and of how many; the calls below must be made by all alike."""

    rank: int = 0
    """This process, in [0, world_size)."""
    world_size: int = 1
    """How many processes train together, at least 1."""

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
        dist.all_gather(parts, own)
        return torch.stack(parts, dim=1).flatten(0, 1)[:total]

    def sum_gradients(self, network: nn.Module) -> None:
        """Replace the network's gradients by their sums over all ranks."""
        if self.world_size == 1:
            return
        gradients = [one.grad for one in network.parameters() if one.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def means(self, numbers: Tensor) -> Tensor:
        """Means of (n,) numbers over all ranks."""
        if self.world_size == 1:
            return numbers
        summed = numbers.clone()
        dist.all_reduce(summed)
        return summed / self.world_size

    def copy_statistics(self, networks: list[nn.Module]) -> None:
        """Give every rank the buffers of rank 0's networks."""
        if self.world_size > 1:
            for network in networks:
                for buffer in network.buffers():
                    dist.broadcast(buffer, src=0)


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun started; outside of torchrun this process trains alone.

    Uses NCCL where there is a GPU for every process of a machine, and gloo otherwise.

    Yields:
        Which of them this process is.
    """
    if "WORLD_SIZE" not in os.environ:
        yield Ranks()
        return
    gpus = torch.cuda.is_available() and torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if gpus else "gloo")
    try:
        yield Ranks(rank=dist.get_rank(), world_size=dist.get_world_size())
    finally:
        dist.destroy_process_group()
