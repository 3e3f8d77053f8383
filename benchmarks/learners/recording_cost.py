"""What recording signals costs: training with every signal of a pass over the examples against training with none.

Run: python benchmarks/learners/recording_cost.py --pairs 20

Runs alternate, so that whatever else the machine does falls on both alike; the ratio of each
pair is what counts. The images are random: the cost does not depend on what they show.
"""

import argparse
import time

import numpy as np
import torch

from learners.fit import fit
from learners.methods.elr import ELR
from learners.models.small_cnn import SmallCNN
from learners.signals import EVERY_LEARNER_GIVES, Recorder
from learners.training import Training
from storage.index import ExampleIndex
from storage.values import Examples

RECIPE_EPOCHS = (1, 2, 3, 4, 6, 8, 12, 16, 20)
"""Epochs at which the Fashion-MNIST recipe records `logits` and the learner's buffers."""


def random_images(num_examples: int) -> Examples:
    """28x28 grey images with ten random labels."""
    rng = np.random.default_rng(0)
    return Examples(
        index=ExampleIndex(f"random:{row}" for row in range(num_examples)),
        inputs=rng.integers(0, 256, size=(num_examples, 28, 28), dtype=np.uint8),
        labels=rng.integers(0, 10, size=num_examples),
        classes=tuple("0123456789"),
    )


def seconds_of_a_run(examples: Examples, training: Training, recorder: Recorder | None) -> float:
    """Wall time of one training run."""
    began = time.perf_counter()
    for _ in fit(ELR(), examples, model=SmallCNN(), training=training, seed=0, recorder=recorder):
        pass
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20, help="pairs of runs")
    parser.add_argument("--examples", type=int, default=1024, help="images")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of each run")
    parser.add_argument("--at", type=int, nargs="+", default=RECIPE_EPOCHS, help="epochs of logits and buffers")
    parser.add_argument("--every", action="store_true", help="record logits and buffers at every epoch")
    parser.add_argument("--gradients", action="store_true", help="record grad_norm too, a backward pass an image")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    every = tuple(range(1, chosen.epochs + 1))
    at = every if chosen.every else tuple(epoch for epoch in chosen.at if epoch <= chosen.epochs)
    given = [name for name in (*EVERY_LEARNER_GIVES, *ELR.gives) if name != "grad_norm" or chosen.gradients]
    choice = dict.fromkeys(given, at) | {"train_logits": every}
    examples, training = random_images(chosen.examples), Training(epochs=chosen.epochs)
    seconds_of_a_run(examples, Training(epochs=1), Recorder(dict.fromkeys(choice, (1,))))  # warm-up

    ratios, plain = [], []
    for pair in range(chosen.pairs):
        recorders = [None, Recorder(choice)]
        order = (0, 1) if pair % 2 == 0 else (1, 0)
        times = {place: seconds_of_a_run(examples, training, recorders[place]) for place in order}
        ratios.append(times[1] / times[0])
        plain.append(times[0])
    steps = training.epochs * training.batches_per_pass(chosen.examples)
    print(f"{chosen.examples} images, {chosen.epochs} epochs, {chosen.threads} threads, {chosen.pairs} pairs")
    others = ", ".join(name for name in choice if name != "train_logits")
    print(f"train_logits at every epoch; {others} at {len(at)} epochs")
    print(f"without recording: median {1000 * np.median(plain) / steps:.1f} ms a step")
    print(f"ratio with / without: min {min(ratios):.3f}  median {np.median(ratios):.3f}  max {max(ratios):.3f}")


if __name__ == "__main__":
    main()
