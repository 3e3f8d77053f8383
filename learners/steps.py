"""One step of training: a batch in parts, walked once or twice, on one or several ranks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.sharpness import Memories
from learners.state import TrainState
from learners.validation import BEST


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    if device.type == "cpu":
        return batch
    tensors = {name: getattr(batch, name) for name in ("inputs", "labels", "positions", "weights", "groups", "targets")}
    return replace(batch, **{name: tensor.to(device) for name, tensor in tensors.items() if tensor is not None})


def num_parts(size: int, wanted: int, world_size: int) -> int:
    """Parts that a batch of this size is cut into: as many as wanted, while every rank has two rows of each.

    Batch normalisation has no variance over one row.
    """
    return max(1, min(wanted, size // (2 * world_size)))


def take_step(learner: Learner, state: TrainState, parts: Sequence[Batch], totals: Sequence[int]) -> StepReport:
    """Train on one batch, and report on all of it.

    Args:
        learner: the training rule.
        state: is moved on by one update of every network; the caller counts the step.
        parts: this rank's rows of each part of the batch.
        totals: rows of each part over all ranks.

    Returns:
        Losses and logits in the order of the batch, all ranks' rows.
    """
    if state.descent.sam_radius is None:
        return _walk(learner, state, parts, totals)
    gathered = [state.descent.ranks.gathered(part.positions, total) for part, total in zip(parts, totals, strict=True)]
    positions = torch.cat(gathered)
    before = _memories(state, positions)
    with _climbing(state):
        report = _walk(learner, state, parts, totals)
    after = _memories(state, positions)
    before.put_back(state.buffers, state.vectors, positions)
    _walk(learner, state, parts, totals)
    after.put_back(state.buffers, state.vectors, positions)
    return report


def _memories(state: TrainState, positions: Tensor) -> Memories:
    networks = [*state.models, *state.copies.values()]
    return Memories.of(state.buffers, state.vectors, networks, positions)


@contextmanager
def _climbing(state: TrainState) -> Iterator[None]:
    state.descent.climbing = True
    try:
        yield
    finally:
        state.descent.climbing = False


def _walk(learner: Learner, state: TrainState, parts: Sequence[Batch], totals: Sequence[int]) -> StepReport:
    """The learner's step on each part; weights move at the end of the last."""
    descent, reports = state.descent, []
    descent.num_parts = len(parts)
    for number, (part, total) in enumerate(zip(parts, totals, strict=True)):
        descent.part, descent.total, descent.share = number, total, len(part) / sum(totals)
        report = learner.step(state, part)
        if descent.ranks.world_size > 1:
            report = _shared(state, part, report, total)
        reports.append(report)
    descent.part, descent.num_parts, descent.total, descent.share = 0, 1, None, 1.0
    return reports[0] if len(reports) == 1 else _joined(reports, totals)


def _shared(state: TrainState, part: Batch, report: StepReport, total: int) -> StepReport:
    """Tell all ranks what each wrote into memories, and report on all ranks' rows."""
    ranks = state.descent.ranks
    positions = ranks.gathered(part.positions, total)
    for buffer in state.buffers.values():
        buffer[positions] = ranks.gathered(buffer[part.positions], total)
    for name, vector in state.vectors.items():
        if name != BEST:  # all ranks have the same, which a mean of three would round
            vector.copy_(ranks.means(vector))
    sums = torch.tensor([value * len(part) for value in report.metrics.values()], dtype=torch.float64)
    means = ranks.means(sums.to(state.device)) * ranks.world_size / total
    return StepReport(
        losses=ranks.gathered(report.losses, total),
        logits=ranks.gathered(report.logits, total),
        metrics=dict(zip(report.metrics, means.tolist(), strict=True)),
    )


def _joined(reports: Sequence[StepReport], totals: Sequence[int]) -> StepReport:
    return StepReport(
        losses=torch.cat([report.losses for report in reports]),
        logits=torch.cat([report.logits for report in reports]),
        metrics={
            name: sum(one.metrics[name] * total for one, total in zip(reports, totals, strict=True)) / sum(totals)
            for name in reports[0].metrics
        },
    )
