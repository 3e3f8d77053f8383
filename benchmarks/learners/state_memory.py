"""What the memory of ELR costs: peak memory and time of a step against K, in float32 and float16.

Run: python benchmarks/learners/state_memory.py --examples 200000 --classes 10 100 1000

Each case is a process of its own, so that its peak is its own. A step is the whole of ELR on a linear network
over 32 random features, in batches of 128 drawn at random from all N examples; ERM takes the same steps without
a memory. Rounds alternate between the cases of one K.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from torch import nn

from learners.batch import Batch
from learners.learner import Learner
from learners.methods.elr import ELR
from learners.methods.erm import ERM
from learners.optimizers import make_optimizer, make_scheduler
from learners.state import TrainState
from learners.training import Training

FEATURES, BATCH_SIZE, MEBIBYTE = 32, 128, 2**20
CASES = {"erm": (ERM(), "float32"), "elr float32": (ELR(), "float32"), "elr float16": (ELR(), "float16")}


def new_state(num_examples: int, num_classes: int, buffers: str, num_steps: int) -> TrainState:
    """A linear network's state before its first step."""
    training, network = Training(), nn.Linear(FEATURES, num_classes)
    optimizer = make_optimizer(training, network.parameters())
    return TrainState(
        models=[network],
        optimizers=[optimizer],
        schedulers=[make_scheduler(training, optimizer, num_steps)],
        num_examples=num_examples,
        num_classes=num_classes,
        total_epochs=1,
        total_steps=num_steps,
        identity={},
        buffer_type=getattr(torch, buffers),
    )


def seconds_a_step(learner: Learner, state: TrainState, num_steps: int) -> float:
    """Median time of a step."""
    draws = torch.Generator().manual_seed(0)
    times = []
    for _ in range(num_steps):
        batch = Batch(
            inputs=torch.rand(BATCH_SIZE, FEATURES, generator=draws),
            labels=torch.randint(state.num_classes, (BATCH_SIZE,), generator=draws),
            positions=torch.randint(state.num_examples, (BATCH_SIZE,), generator=draws).unique(),
            weights=torch.ones(BATCH_SIZE),
        )
        size = len(batch.positions)
        batch = Batch(
            inputs=batch.inputs[:size],
            labels=batch.labels[:size],
            positions=batch.positions,
            weights=batch.weights[:size],
        )
        began = time.perf_counter()
        learner.step(state, batch)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def measure(case: str, num_examples: int, num_classes: int, num_steps: int) -> None:
    """Print the time of a step in microseconds and the growth of peak memory in bytes."""
    learner, buffers = CASES[case]
    seconds_a_step(learner, new_state(BATCH_SIZE, num_classes, buffers, num_steps), num_steps // 4)  # warm-up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    state = new_state(num_examples, num_classes, buffers, num_steps)
    seconds = seconds_a_step(learner, state, num_steps)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(seconds * 1e6, grown * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="rounds over the cases")
    parser.add_argument("--examples", type=int, default=200_000, help="N")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000], help="values of K")
    parser.add_argument("--steps", type=int, default=400, help="steps of a round")
    parser.add_argument("--case", choices=CASES, help="measure this case alone, in this process")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.case:
        measure(chosen.case, chosen.examples, chosen.classes[0], chosen.steps)
        return
    print(f"N {chosen.examples}, batches of {BATCH_SIZE}, {chosen.steps} steps, {chosen.pairs} rounds, 1 thread")
    print("    K  case          N*K*bytes MiB  peak growth MiB  us/step median  ratio to erm min/median/max")
    sizes = ["--examples", str(chosen.examples), "--steps", str(chosen.steps)]
    for classes in chosen.classes:
        found: dict[str, list[tuple[float, float]]] = {case: [] for case in CASES}
        for number in range(chosen.pairs):
            for case in list(CASES)[:: 1 if number % 2 == 0 else -1]:
                command = [sys.executable, __file__, "--case", case, "--classes", str(classes), *sizes]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found[case].append(tuple(float(one) for one in output.split()))
        for case, (_, buffers) in CASES.items():
            width = 0 if case == "erm" else getattr(torch, buffers).itemsize
            ratios = [one[0] / plain[0] for one, plain in zip(found[case], found["erm"], strict=True)]
            print(
                f"{classes:5d}  {case:12s} {chosen.examples * classes * width / MEBIBYTE:13.1f}"
                f"  {np.median([one[1] for one in found[case]]) / MEBIBYTE:15.1f}"
                f"  {np.median([one[0] for one in found[case]]):14.0f}"
                f"  {min(ratios):.3f} / {np.median(ratios):.3f} / {max(ratios):.3f}"
            )


if __name__ == "__main__":
    main()
