"""Several seeds of one network: one after the other, at once by `torch.vmap`, or in processes.

Run: python benchmarks/learners/seed_ensembles.py --rounds 20

Each way takes the same steps of stochastic gradient descent from the same weights on the same batches; that the first
two end with the same weights is checked before anything is timed. Batch normalisation takes its statistics from the
batch alone, which is what `vmap` allows. Processes have one thread each and are started before the clock; one process
has as many threads as there are processes, so that each way may use as many cores. Wall-clock time is what counts.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, replace_all_batch_norm_modules_, stack_module_state, vmap
from torch.nn.functional import cross_entropy

from learners.model import Model
from learners.models.mlp import MLP
from learners.models.small_cnn import SmallCNN
from storage.index import ExampleIndex
from storage.values import Examples

RATE = 0.02
BATCH = 128
FAMILIES: dict[str, tuple[Model, tuple[int, ...]]] = {
    "mlp 128-128, 54 features": (MLP(), (54,)),
    "small_cnn of width 16, 28x28": (SmallCNN(width=16), (28, 28)),
}
"""Model and shape of an input, by what the table calls them."""

Weights = dict[str, Tensor]


def network(family: str, seed: int) -> nn.Module:
    """A fresh network with its weights drawn by the seed."""
    model, shape = FAMILIES[family]
    images = len(shape) == 2
    draws = np.random.default_rng(0)
    inputs = draws.integers(0, 256, (64, *shape), dtype=np.uint8) if images else draws.normal(size=(64, *shape))
    examples = Examples(
        index=ExampleIndex(f"random:{row}" for row in range(64)),
        inputs=inputs if images else inputs.astype(np.float32),
        labels=np.arange(64) % 10,
        classes=tuple("0123456789"),
    )
    made = model.build(examples, seed)
    replace_all_batch_norm_modules_(made)
    return made.train()


def batches(family: str, steps: int) -> list[tuple[Tensor, Tensor]]:
    """Random batches, the same for every seed."""
    _, shape = FAMILIES[family]
    draws = torch.Generator().manual_seed(1)
    size = (1, *shape) if len(shape) == 2 else shape
    return [
        (torch.rand(BATCH, *size, generator=draws), torch.randint(10, (BATCH,), generator=draws)) for _ in range(steps)
    ]


def trained(family: str, steps: int, seed: int) -> Weights:
    """One network after so many steps."""
    made = network(family, seed)
    weights = list(made.parameters())
    for inputs, labels in batches(family, steps):
        gradients = torch.autograd.grad(cross_entropy(made(inputs), labels), weights)
        with torch.no_grad():
            torch._foreach_add_(weights, gradients, alpha=-RATE)
    return {name: weight.detach() for name, weight in made.named_parameters()}


def one_by_one(family: str, steps: int, seeds: Sequence[int]) -> list[Weights]:
    """Each network by itself."""
    return [trained(family, steps, seed) for seed in seeds]


def at_once(family: str, steps: int, seeds: Sequence[int]) -> list[Weights]:
    """All networks as one, their weights stacked."""
    made = [network(family, seed) for seed in seeds]
    stacked, buffers = stack_module_state(made)
    weights = {name: weight.detach() for name, weight in stacked.items()}

    def loss(own: Weights, fixed: Weights, inputs: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(functional_call(made[0], (own, fixed), (inputs,)), labels)

    gradients = vmap(grad(loss), in_dims=(0, 0, None, None))
    for inputs, labels in batches(family, steps):
        found = gradients(weights, buffers, inputs, labels)
        torch._foreach_add_(list(weights.values()), [found[name] for name in weights], alpha=-RATE)
    return [{name: weight[row] for name, weight in weights.items()} for row in range(len(seeds))]


def in_processes(pool: ProcessPoolExecutor, family: str, steps: int, seeds: Sequence[int]) -> list[Weights]:
    """A network a process, as many at a time as the pool has; weights stay there."""
    list(pool.map(partial(_in_process, family, steps), seeds))
    return []


def _in_process(family: str, steps: int, seed: int) -> None:
    torch.set_num_threads(1)
    trained(family, steps, seed)


def check(family: str, seeds: Sequence[int]) -> None:
    """Fail unless both ways in one process end with the same weights."""
    for alone, together in zip(one_by_one(family, 5, seeds), at_once(family, 5, seeds), strict=True):
        for name, weight in alone.items():
            torch.testing.assert_close(together[name], weight, rtol=1e-3, atol=1e-4, msg=f"{family}: {name} differs")


def seconds(run: Callable[[], object]) -> float:
    """Wall-clock time of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.processes)
    seeds = range(chosen.seeds)
    print(f"{chosen.seeds} seeds, {chosen.steps} steps, {chosen.processes} processes, {chosen.rounds} rounds")
    with ProcessPoolExecutor(chosen.processes, mp_context=get_context("spawn")) as pool:
        for family in FAMILIES:
            check(family, seeds)
            ways: dict[str, Callable[[], object]] = {
                "one by one": partial(one_by_one, family, chosen.steps, seeds),
                "vmap": partial(at_once, family, chosen.steps, seeds),
                "processes": partial(in_processes, pool, family, chosen.steps, seeds),
            }
            for run in ways.values():
                run()
            turns = [{name: seconds(run) for name, run in ways.items()} for _ in range(chosen.rounds)]
            for name in ways:
                ratios = [turn[name] / turn["one by one"] for turn in turns]
                spent = np.median([turn[name] for turn in turns])
                low, middle, high = min(ratios), np.median(ratios), max(ratios)
                print(f"{family}: {name} {spent:.3f} s, / one by one {low:.2f} / {middle:.2f} / {high:.2f}")


if __name__ == "__main__":
    main()
