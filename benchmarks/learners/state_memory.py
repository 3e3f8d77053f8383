"""What the memory of ELR costs: resident memory and time of a step against K, by type and by place.

    python benchmarks/learners/state_memory.py --examples 200000 --classes 10 100 1000

Each case is a process of its own, so that its peak is its own. A step is the whole of ELR on a linear network
over 32 random features, in batches of 128 that together visit all N examples once, in random order; ERM takes the
same steps without a memory. Rounds alternate between the cases of one K.

Growth is from before the memory is made to the end of the pass. Of a process's resident memory the kernel can take
back pages of a file at any time, by writing them out, and so a peak that includes them is no need; what it cannot
take back without swap is anonymous memory.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from learners.batch import Batch
from learners.learner import Learner
from learners.memory import BuffersOn
from learners.methods.elr import ELR
from learners.methods.erm import ERM
from learners.optimizers import make_optimizer, make_scheduler
from learners.state import TrainState
from learners.training import Training

FEATURES, BATCH_SIZE, MEBIBYTE = 32, 128, 2**20


@dataclass(frozen=True, kw_only=True)
class Case:
    """A learner, and how and where it remembers."""

    learner: Learner
    """The training rule."""
    held_as: torch.dtype = torch.float32
    """How its buffers are held."""
    buffers_on: BuffersOn = "memory"
    """Where they are held."""


CASES = {
    "erm": Case(learner=ERM()),
    "elr float32": Case(learner=ELR()),
    "elr float16": Case(learner=ELR(), held_as=torch.float16),
    "elr float32 on disk": Case(learner=ELR(), buffers_on="disk"),
    "elr float16 on disk": Case(learner=ELR(), held_as=torch.float16, buffers_on="disk"),
}


def new_state(case: Case, num_examples: int, num_classes: int) -> TrainState:
    """A linear network's state before its first step."""
    training, network = Training(), nn.Linear(FEATURES, num_classes)
    optimizer = make_optimizer(training, network.parameters())
    num_steps = -(-num_examples // BATCH_SIZE)
    return TrainState(
        models=[network],
        optimizers=[optimizer],
        schedulers=[make_scheduler(training, optimizer, num_steps)],
        num_examples=num_examples,
        num_classes=num_classes,
        total_epochs=1,
        total_steps=num_steps,
        identity={},
        buffer_type=case.held_as,
        buffers_on=case.buffers_on,
    )


def random_batches(num_examples: int, num_classes: int) -> Iterator[Batch]:
    """One pass over random examples in random order."""
    draws = torch.Generator().manual_seed(0)
    order = torch.randperm(num_examples, generator=draws)
    for begin in range(0, num_examples, BATCH_SIZE):
        positions = order[begin : begin + BATCH_SIZE]
        yield Batch(
            inputs=torch.rand(len(positions), FEATURES, generator=draws),
            labels=torch.randint(num_classes, (len(positions),), generator=draws),
            positions=positions,
            weights=torch.ones(len(positions)),
        )


def seconds_a_step(learner: Learner, state: TrainState) -> tuple[float, float]:
    """Median CPU time of a step of one pass, and on the clock."""
    times = []
    for batch in random_batches(state.num_examples, state.num_classes):
        cpu, clock = time.process_time(), time.perf_counter()
        learner.step(state, batch)
        times.append((time.process_time() - cpu, time.perf_counter() - clock))
    cpu, clock = np.median(times, axis=0)
    return float(cpu), float(clock)


def resident_mebibytes() -> tuple[float, float, float]:
    """Peak resident memory of this process, its anonymous memory now, and its pages of files now."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    anonymous, *files = (int(status[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile", "RssShmem"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, anonymous, sum(files)


def measure(case: Case, num_examples: int, num_classes: int) -> None:
    """Print a step's CPU time and time on the clock in microseconds, and the growths of `resident_mebibytes`."""
    seconds_a_step(case.learner, new_state(case, 50 * BATCH_SIZE, num_classes))  # warm-up
    before = resident_mebibytes()
    state = new_state(case, num_examples, num_classes)
    cpu, clock = seconds_a_step(case.learner, state)
    print(cpu * 1e6, clock * 1e6, *(now - then for now, then in zip(resident_mebibytes(), before, strict=True)))


def measured(name: str, num_examples: int, num_classes: int) -> tuple[float, ...]:
    """What `measure` prints, in a process of its own."""
    sizes = ["--case", name, "--classes", str(num_classes), "--examples", str(num_examples)]
    output = subprocess.run([sys.executable, __file__, *sizes], check=True, capture_output=True, text=True).stdout
    return tuple(float(one) for one in output.split())


def row(name: str, found: dict[str, list[tuple[float, ...]]], num_examples: int, num_classes: int) -> str:
    """The table's row of one case."""
    width = 0 if name == "erm" else CASES[name].held_as.itemsize
    ratios = [one[0] / plain[0] for one, plain in zip(found[name], found["erm"], strict=True)]
    cpu, clock, peak, anonymous, files = np.median(found[name], axis=0)
    return (
        f"| {num_classes} | {name} | {num_examples * num_classes * width / MEBIBYTE:.0f} "
        f"| {peak:.0f} | {anonymous:.0f} | {files:.0f} | {cpu:.0f} "
        f"| {min(ratios):.2f} / {np.median(ratios):.2f} / {max(ratios):.2f} | {clock:.0f} |"
    )


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="rounds over the cases")
    parser.add_argument("--examples", type=int, default=200_000, help="N")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000], help="values of K")
    parser.add_argument("--case", choices=CASES, help="measure this case alone, in this process")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.case:
        measure(CASES[chosen.case], chosen.examples, chosen.classes[0])
        return
    print(f"`python benchmarks/learners/state_memory.py {' '.join(sys.argv[1:])}`:", end=" ")
    print(f"N {chosen.examples}, batches of {BATCH_SIZE}, {chosen.pairs} rounds, 1 thread; sizes and growths in MiB\n")
    print(
        "| K | case | N * K * bytes | peak | anonymous | files | CPU us a step | / ERM: min / median / max | clock us |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for num_classes in chosen.classes:
        found: dict[str, list[tuple[float, ...]]] = {name: [] for name in CASES}
        for number in range(chosen.pairs):
            for name in list(CASES)[:: 1 if number % 2 == 0 else -1]:
                found[name].append(measured(name, chosen.examples, num_classes))
        for name in CASES:
            print(row(name, found, chosen.examples, num_classes), flush=True)


if __name__ == "__main__":
    main()
