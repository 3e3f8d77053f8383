"""What each learner costs: time of an epoch relative to ERM, and to PGD training for those that attack.

    python benchmarks/learners/epoch_cost.py [--pairs 20] [--learner elr ps_kd]

The learners of a row take turns in one process with one thread, in alternating order, after a turn each that is not
counted. A turn is a short epoch: a fixed number of steps of the training loop, fewer where an attack makes each
step longer. What counts is the ratio within each round, of the CPU time of the process or of the clock. Images are
random: the cost does not depend on what they show. Settings are the learners' own, but for the variants named so.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from flows import resolve
from learners.fit import fit
from learners.learner import EpochReport, Learner
from learners.models.small_cnn import SmallCNN
from learners.training import Training
from storage.index import ExampleIndex
from storage.values import Examples

WIDTH, BATCH_SIZE = 16, 128
PLAIN, ATTACKED = "erm", "pgd_training"
VARIANTS = {"dro_irat, implicit": {"method": "dro_irat", "barrier": 0.001}}
"""Learners with other settings than their own, by what the table calls them."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a short epoch took."""

    cpu_seconds: float
    """CPU time of the process."""
    wall_seconds: float
    """Time on the clock."""


def named_learners() -> dict[str, Learner]:
    """Every learner by its name in recipes, and the variants."""
    settings: dict[str, dict[str, object]] = {name: {"method": name} for name in resolve.available("learner")}
    return {name: resolve.method("learner", one, name) for name, one in (settings | VARIANTS).items()}


def attacks(learner: Learner) -> bool:
    """Whether the learner attacks its batches."""
    return "adversarial_margins" in learner.gives


def random_images(num_examples: int) -> Examples:
    """28x28 grey images with ten random labels, in two groups."""
    rng = np.random.default_rng(0)
    return Examples(
        index=ExampleIndex(f"random:{row}" for row in range(num_examples)),
        inputs=rng.integers(0, 256, size=(num_examples, 28, 28), dtype=np.uint8),
        labels=rng.integers(0, 10, size=num_examples),
        classes=tuple("0123456789"),
        groups=rng.integers(0, 2, size=num_examples),
    )


def taken(run: Iterator[EpochReport]) -> Turn:
    """What the next epoch of a run takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    next(run)
    return Turn(cpu_seconds=time.process_time() - cpu, wall_seconds=time.perf_counter() - wall)


def rounds(learners: dict[str, Learner], examples: Examples, num_rounds: int) -> dict[str, list[Turn]]:
    """What each turn of each learner took, round by round."""
    training = Training(epochs=num_rounds + 1, batch_size=BATCH_SIZE, device="cpu")
    runs = {
        name: fit(learner, examples, model=SmallCNN(width=WIDTH), training=training, seed=0)
        for name, learner in learners.items()
    }
    for run in runs.values():
        next(run)  # warm-up
    turns: dict[str, list[Turn]] = {name: [] for name in runs}
    for number in range(num_rounds):
        for name in list(runs)[:: 1 if number % 2 == 0 else -1]:
            turns[name].append(taken(runs[name]))
    return turns


def row(name: str, learners: dict[str, Learner], num_rounds: int, num_steps: int) -> str:
    """The table's row of one learner; ERM takes its turns with itself, which shows the noise."""
    others = (PLAIN, ATTACKED) if attacks(learners[name]) and name != ATTACKED else (PLAIN,)
    together = {other: learners[other] for other in others} | {f"{name}, measured": learners[name]}
    turns = rounds(together, random_images(num_steps * BATCH_SIZE), num_rounds)
    measured = turns[f"{name}, measured"]
    milliseconds = 1000 * np.median([turn.cpu_seconds for turn in measured]) / num_steps
    cells = [ratios(measured, turns[other]) if other in turns else "| |" for other in (PLAIN, ATTACKED)]
    return f"| {name} | {milliseconds:.1f} {cells[0]}{cells[1][1:]}"


def ratios(turns: list[Turn], others: list[Turn]) -> str:
    """Two cells: least, median and greatest ratio of CPU times, and the median ratio of the clock's."""
    pairs = list(zip(turns, others, strict=True))
    cpu = [one.cpu_seconds / other.cpu_seconds for one, other in pairs]
    wall = [one.wall_seconds / other.wall_seconds for one, other in pairs]
    return f"| {min(cpu):.2f} / {np.median(cpu):.2f} / {max(cpu):.2f} | {np.median(wall):.2f} |"


def main() -> None:
    """Print a Markdown table."""
    learners = named_learners()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20, help="rounds of each row")
    parser.add_argument("--steps", type=int, default=20, help="steps of a turn")
    parser.add_argument("--attacked-steps", type=int, default=4, help="steps of a turn where a learner attacks")
    parser.add_argument("--learner", nargs="+", choices=learners, help="measure these alone")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"`python benchmarks/learners/epoch_cost.py {' '.join(sys.argv[1:])}`:", end=" ")
    print(f"small_cnn of width {WIDTH} on 28x28 images, batches of {BATCH_SIZE}, 1 thread, {chosen.pairs} rounds")
    print(f"of turns of {chosen.steps} steps, or {chosen.attacked_steps} where a learner attacks. min / median / max\n")
    print("| learner | CPU ms a step | CPU time / ERM | clock / ERM | CPU time / PGD | clock / PGD |")
    print("|---|---|---|---|---|---|")
    for name in chosen.learner or learners:
        num_steps = chosen.attacked_steps if attacks(learners[name]) else chosen.steps
        print(row(name, learners, chosen.pairs, num_steps), flush=True)


if __name__ == "__main__":
    main()
