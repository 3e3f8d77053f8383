"""What `fit` costs over a loop written by hand: plain training of the same network on the same examples.

Run: python benchmarks/learners/loop_overhead.py --pairs 20

The loop by hand is what a user would write with plain PyTorch: bytes in a tensor, shuffled by `randperm`, divided by
255 and standardised in the loop, SGD with momentum, a cosine schedule, and the loss looked at once an epoch. Runs
alternate, so that whatever else the machine does falls on both alike; the ratio of each pair is what counts. A run
goes from arrays to a trained network, with all that is done once. The examples are random: the cost does not depend
on what they show.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from learners.fit import fit
from learners.image_inputs import channel_statistics
from learners.methods.erm import ERM
from learners.model import Model
from learners.models.mlp import MLP
from learners.models.small_cnn import SmallCNN
from learners.training import Training
from storage.index import ExampleIndex
from storage.values import Examples


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Seconds of one run."""

    processor: float
    wall: float


def random_images(num_examples: int) -> Examples:
    """28x28 grey images with ten random labels."""
    inputs = np.random.default_rng(0).integers(0, 256, size=(num_examples, 28, 28), dtype=np.uint8)
    return _labelled(inputs)


def random_table(num_examples: int) -> Examples:
    """54 features with ten random labels."""
    return _labelled(np.random.default_rng(0).normal(size=(num_examples, 54)).astype(np.float32))


def _labelled(inputs: np.ndarray) -> Examples:
    return Examples(
        index=ExampleIndex(f"random:{row}" for row in range(len(inputs))),
        inputs=inputs,
        labels=np.random.default_rng(1).integers(0, 10, size=len(inputs)),
        classes=tuple("0123456789"),
    )


def by_fit(examples: Examples, model: Model, training: Training) -> None:
    """Train with this project's loop."""
    for _ in fit(ERM(), examples, model=model, training=training, seed=0):
        pass


def by_hand(examples: Examples, model: Model, training: Training) -> float:
    """Train with a loop of one's own; the last loss that was looked at."""
    network = nn.Sequential(*list(model.build(examples, 0))[1:])  # without the layer that standardises
    inputs, labels = torch.from_numpy(examples.inputs), torch.from_numpy(examples.labels)
    images = inputs.dtype == torch.uint8
    mean, deviation = channel_statistics(examples.inputs) if images else (inputs.mean(0), inputs.std(0))
    mean, deviation = torch.as_tensor(mean).float(), torch.as_tensor(deviation).float()
    optimizer = torch.optim.SGD(
        network.parameters(), lr=training.learning_rate, momentum=training.momentum, weight_decay=training.weight_decay
    )
    steps = training.epochs * -(-len(labels) // training.batch_size)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    seen = float("nan")
    torch.manual_seed(0)
    network.train()
    for _ in range(training.epochs):
        order = torch.randperm(len(labels))
        for start in range(0, len(labels), training.batch_size):
            rows = order[start : start + training.batch_size]
            batch = inputs[rows]
            if images:
                batch = batch.unsqueeze(1).float() / 255
            loss = cross_entropy(network((batch - mean) / deviation), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        seen = loss.item()
    return seen


def spent(run: Callable[[Examples, Model, Training], object], *given: object) -> Spent:
    """Time that a run takes."""
    wall, processor = time.perf_counter(), time.process_time()
    run(*given)
    return Spent(processor=time.process_time() - processor, wall=time.perf_counter() - wall)


def compare(name: str, examples: Examples, model: Model, training: Training, pairs: int) -> None:
    """Print the ratios of one case."""
    small = Training(epochs=1, batch_size=training.batch_size)
    for run in (by_hand, by_fit):
        run(examples, model, small)  # warm-up
    found: list[tuple[Spent, Spent]] = []
    for pair in range(pairs):
        runs = (by_hand, by_fit) if pair % 2 == 0 else (by_fit, by_hand)
        times = {run: spent(run, examples, model, training) for run in runs}
        found.append((times[by_hand], times[by_fit]))
    steps = training.epochs * training.batches_per_pass(len(examples))
    hand = 1000 * np.median([one.processor for one, _ in found]) / steps
    print(f"{name}: by hand {hand:.2f} ms of processor time a step")
    for clock in ("processor", "wall"):
        ratios = [getattr(ours, clock) / getattr(theirs, clock) for theirs, ours in found]
        print(
            f"  fit / by hand, {clock} time: "
            f"min {min(ratios):.3f}  median {np.median(ratios):.3f}  max {max(ratios):.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20, help="pairs of runs")
    parser.add_argument("--examples", type=int, default=2048, help="images; tables have four times as many rows")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each run")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    training = Training(epochs=chosen.epochs, device="cpu")
    images, table = random_images(chosen.examples), random_table(4 * chosen.examples)
    print(f"{chosen.examples} images, {chosen.epochs} epochs, {chosen.threads} threads, {chosen.pairs} pairs")
    compare("small_cnn, width 16", images, SmallCNN(width=16), training, chosen.pairs)
    compare("small_cnn, width 32", images, SmallCNN(width=32), training, chosen.pairs)
    compare("mlp on a table", table, MLP(), training, chosen.pairs)


if __name__ == "__main__":
    main()
