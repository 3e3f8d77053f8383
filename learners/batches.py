"""Examples as tensors, the order of training, and the batches cut from it; loaders for scripts of one's own.

`learners.fit` prepares the tensors once and gathers batches from them by position: for arrays in
memory this costs far less per step than worker processes would. A script takes the same batches from a subset:

    from learners.batches import loader
    from storage import Store

    batches = loader(Store.open("./tamis-store").subset("fashion-clean@3"), batch_size=128, seed=0, workers=2)
    while batches.epoch < 10:
        for batch in batches:
            loss = (batch.weights * loss_of(model(batch.inputs), batch.labels)).mean()
            ...
            place = batches.state_dict()

`batches.load_state_dict(place)` in a new process carries on with the very next batch, with any number of workers.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from learners.batch import Batch
from learners.model import kept_rows
from learners.order import Order, num_scheduled, scheduled_rows
from learners.randomness import generator
from learners.training import Training
from storage.values import Array, Examples, Schedule


def input_tensor(inputs: Array) -> Tensor:
    """Inputs as a tensor of the same shape and type, sharing memory where that is safe.

    Raises:
        TypeError: neither uint8 images (N, H, W[, C]) nor float32 features (N, D).
    """
    images = inputs.dtype == np.uint8 and inputs.ndim in (3, 4)
    features = inputs.dtype == np.float32 and inputs.ndim == 2
    if not (images or features):
        raise TypeError(
            "inputs must be uint8 images (N, H, W) or (N, H, W, C), or float32 features (N, D), "
            f"got {inputs.dtype} of shape {inputs.shape}"
        )
    return torch.from_numpy(np.require(inputs, requirements=["C", "W"]))


def network_inputs(rows: Tensor) -> Tensor:
    """Some rows of an `input_tensor` as a network reads them.

    Args:
        rows: (B, H, W) or (B, H, W, C) uint8, or (B, D) float32.

    Returns:
        (B, C, H, W) float32 in [0, 1], or (B, D) float32.
    """
    if rows.dtype != torch.uint8:
        return rows
    scaled = rows.to(torch.float32).div_(255.0)
    return scaled.unsqueeze(1) if rows.ndim == 3 else scaled.permute(0, 3, 1, 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class ExampleTensors:
    """Labelled examples as tensors, from which batches are gathered."""

    inputs: Tensor
    """As `input_tensor` makes them: images stay uint8 in memory."""
    labels: Tensor
    """(N,) int64 given classes."""
    weights: Tensor
    """(N,) float32 weights."""
    groups: Tensor | None
    """(N,) int64 groups, or None."""

    @classmethod
    def of(cls, examples: Examples) -> "ExampleTensors":
        """Tensors of these examples.

        Raises:
            ValueError: the examples have no labels.
        """
        if examples.labels is None:
            raise ValueError("training needs labels, and these examples have none")
        weights = np.ones(len(examples), np.float32) if examples.weights is None else examples.weights
        return cls(
            inputs=input_tensor(examples.inputs),
            labels=torch.tensor(examples.labels, dtype=torch.int64),
            weights=torch.tensor(weights, dtype=torch.float32),
            groups=None if examples.groups is None else torch.tensor(examples.groups, dtype=torch.int64),
        )

    def batch(self, positions: Tensor) -> Batch:
        """The examples at these (B,) positions."""
        return Batch(
            inputs=network_inputs(self.inputs.index_select(0, positions)),
            labels=self.labels.index_select(0, positions),
            positions=positions,
            weights=self.weights.index_select(0, positions),
            groups=None if self.groups is None else self.groups.index_select(0, positions),
        )


def kept_positions(examples: Examples) -> NDArray[np.int64]:
    """(M,) positions of the examples with weight above 0: all that training ever visits.

    Raises:
        ValueError: fewer than two are left.
    """
    kept: NDArray[np.int64] = np.flatnonzero(kept_rows(examples))
    if len(kept) < 2:
        raise ValueError(f"training needs at least 2 examples of weight above 0, got {len(kept)} of {len(examples)}")
    return kept


def batch_positions(
    kept: NDArray[np.int64],
    training: Training,
    *,
    seed: int,
    first_step: int,
    num_steps: int,
    schedule: Schedule | None = None,
) -> Iterator[Tensor]:
    """Positions of consecutive batches of a run.

    A run is an endless row of passes over the kept examples, or over those that the schedule gives each pass, in a
    fresh order and cut into batches; step s takes batch s. So no example occurs twice in a batch, and the batches
    of any epoch follow from the seeds and the step alone.

    Args:
        kept: (M,) positions of the examples with weight above 0.
        training: gives the size of the batches.
        seed: of the order.
        first_step: number of the first batch asked for, counted from 0 over the whole run.
        num_steps: how many batches.
        schedule: which of the kept examples each pass visits; None is all of them.

    Yields:
        (B,) int64 positions.
    """
    num_visited = num_scheduled(schedule, len(kept))
    per_pass = training.batches_per_pass(num_visited)
    order = torch.empty(0, dtype=torch.int64)
    shuffled = -1
    for step in range(first_step, first_step + num_steps):
        number, place = divmod(step, per_pass)
        if number != shuffled:
            rows = kept[scheduled_rows(schedule, len(kept), number)]
            order = torch.from_numpy(generator(seed, "order", number).permutation(rows))
            shuffled = number
        start = place * training.batch_size
        stop = start + training.batch_size if place + 1 < per_pass else num_visited
        yield order[start:stop]


class Rows(Protocol):
    """Examples that a loader serves, such as a `storage.subset.Subset`: arrays over the same M rows."""

    def __len__(self) -> int: ...

    @property
    def inputs(self) -> Array:
        """(M, H, W[, C]) uint8 images or (M, D) float32 features."""

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """(M,) classes."""

    @property
    def weights(self) -> NDArray[np.float32]:
        """(M,) weights; those of 0 enter no batch."""

    @property
    def positions(self) -> NDArray[np.int64]:
        """(M,) row numbers in the training split."""

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """(M,) groups, or None."""

    @property
    def targets(self) -> NDArray[np.float32] | None:
        """(M, K) prior targets, or None."""

    @property
    def schedule(self) -> Schedule | None:
        """Which of the rows each epoch visits, or None."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Gathered:
    """The rows of a batch in NumPy: what a worker sends. `batch` makes tensors of it.

    Between processes some plain bytes are several times faster than as many shared tensors.
    """

    inputs: Array
    """(B, H, W[, C]) uint8 images or (B, D) float32 features."""
    labels: NDArray[np.int64]
    """(B,) classes."""
    positions: NDArray[np.int64]
    """(B,) row numbers in the training split."""
    weights: NDArray[np.float32]
    """(B,) weights above 0."""
    groups: NDArray[np.int64] | None
    """(B,) groups, or None."""
    targets: NDArray[np.float32] | None
    """(B, K) prior targets, or None."""

    def batch(self) -> Batch:
        """The batch as tensors, ready for a network."""
        return Batch(
            inputs=network_inputs(input_tensor(self.inputs)),
            labels=torch.from_numpy(self.labels),
            positions=torch.from_numpy(self.positions),
            weights=torch.from_numpy(self.weights),
            groups=None if self.groups is None else torch.from_numpy(self.groups),
            targets=None if self.targets is None else torch.from_numpy(self.targets),
        )


class Batches(IterableDataset[Gathered]):
    """The batches of an epoch as an iterable data set, for a DataLoader with `batch_size=None`.

    Worker processes take the batches in turn, and a DataLoader asks them in turn, so that batches come in the same
    order for any number of workers. `loader` makes the DataLoader and keeps count.
    """

    def __init__(self, rows: Rows, order: Order) -> None:
        """Serve some labelled rows, all of weight above 0.

        Args:
            rows: what batches are gathered from.
            order: which of them make each batch.
        """
        self.order = order
        self.digest = zlib.crc32(repr(order.schedule).encode(), zlib.crc32(rows.positions.tobytes()))
        """Tells these rows and their schedule from others."""
        self._rows = rows
        self._place: Tensor = torch.zeros(2, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def begin_at(self, epoch: int, step: int) -> None:
        """Let the next iteration, also in workers that live on, be over this epoch's batches from this step on."""
        self._place[0], self._place[1] = epoch, step

    def __iter__(self) -> Iterator[Gathered]:
        epoch, step = (int(one) for one in self._place)
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        source = self._rows
        assert source.labels is not None
        for rows in self.order.batches(epoch, step + worker, workers):
            yield Gathered(
                inputs=_taken(source.inputs, rows),
                labels=_taken(source.labels, rows),
                positions=_taken(source.positions, rows),
                weights=_taken(source.weights, rows),
                groups=None if source.groups is None else _taken(source.groups, rows),
                targets=None if source.targets is None else _taken(source.targets, rows),
            )


def _taken(array: Array, rows: NDArray[np.int64]) -> Array:
    """Rows of an array, copied out of what may be a mapped file."""
    return np.asarray(np.take(array, rows, axis=0))


class Loader:
    """Batches of a subset, epoch after epoch, with a place to carry on from.

    Iterating gives what is left of the current epoch; at its end the next epoch begins.
    """

    def __init__(self, batches: Batches, *, workers: int, start: str | None) -> None:
        """Start at the first epoch; `loader` is the way to get one."""
        self._batches = batches
        self._epoch = 0
        self._step = 0
        self._loader: DataLoader[Gathered] = DataLoader(
            batches,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context=start if workers else None,
            generator=torch.Generator(),  # else the caller's would be drawn from at every epoch
        )

    @property
    def epoch(self) -> int:
        """Epochs that are over."""
        return self._epoch

    def __len__(self) -> int:
        """Batches of an epoch, for each rank the same."""
        return self._batches.order.num_steps

    def __iter__(self) -> Iterator[Batch]:
        epoch, step = self._epoch, self._step
        self._batches.begin_at(epoch, step)
        for gathered in self._loader:
            step += 1
            self._epoch, self._step = (epoch, step) if step < len(self) else (epoch + 1, 0)
            yield gathered.batch()

    def state_dict(self) -> dict[str, int]:
        """The place behind the last batch that was given out: a few numbers, whatever the size of the data."""
        order = self._batches.order
        return {
            "epoch": self._epoch,
            "step": self._step,
            "seed": order.seed,
            "step_size": order.step_size,
            "num_visited": order.num_visited,
            "num_rows": order.num_rows,
            "rows": self._batches.digest,
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Carry on from a place, with any number of workers, and of ranks if batch size x ranks is the same.

        Raises:
            ValueError: the place is in another order: another seed, step size, subset or schedule.
        """
        own = self.state_dict()
        for name in own:
            if name not in state:
                raise ValueError(f"the state lacks {name!r}; it must be what state_dict() gave")
            if name not in ("epoch", "step") and state[name] != own[name]:
                raise ValueError(
                    f"the state is of another order: {name} is {state[name]} there and {own[name]} here; "
                    "make the loader as it was made then"
                )
        if state["epoch"] < 0 or not 0 <= state["step"] < len(self):
            raise ValueError(f"the state is at step {state['step']} of epoch {state['epoch']}, which does not exist")
        self._epoch, self._step = int(state["epoch"]), int(state["step"])


def loader(
    rows: Rows,
    *,
    batch_size: int = 128,
    seed: int = 0,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    start: Literal["fork", "spawn", "forkserver"] | None = None,
) -> Loader:
    """Shuffled batches of a subset, as `Batch`es whose inputs are ready for a network.

    Args:
        rows: M labelled examples of weight above 0, such as `Store.subset` gives.
        batch_size: rows of a batch, at least 1; how a rest is dealt with stands at `Order`.
        seed: of the order, at least 0.
        workers: processes that gather batches; 0 gathers them in this one, which is fastest for arrays that fit
            into memory.
        rank: which of the training processes this one is.
        world_size: how many training processes share each epoch.
        start: how workers are started; None is the platform's way.

    Raises:
        ValueError: a setting out of range, no labels, weights of 0, or fewer rows than ranks.
        TypeError: inputs of a type that no network reads.
    """
    if workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    if rows.labels is None:
        raise ValueError("training needs labels, and these examples have none")
    if len(rows) and not rows.weights.min() > 0:
        raise ValueError("a loader serves rows of weight above 0; leave out the others")
    input_tensor(rows.inputs[:1])
    order = Order(
        num_rows=len(rows),
        batch_size=batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
        schedule=rows.schedule,
    )
    return Loader(Batches(rows, order), workers=workers, start=start)
