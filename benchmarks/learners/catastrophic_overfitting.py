"""Catastrophic overfitting: random-start FGSM training with and without AAER, attacked with PGD-20 as it goes on.

Run: python benchmarks/learners/catastrophic_overfitting.py --images fashion_mnist_train.parquet --seeds 3

Of the images (columns `image`, flat and square, and `label`) the first are trained on, and as many as `--attacked`
of the following ones are attacked. Without a file, scikit-learn's digits are enlarged to 16x16. Random-start FGSM is
`aaer` with lam1 = 0. Each line is written when its epochs end; the last ones sum up the last epoch over seeds.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from learners.attacks import Attack, Threat
from learners.evaluate import accuracy, predict_logits
from learners.fit import fit
from learners.methods.aaer import AAER
from learners.models.small_cnn import SmallCNN
from learners.robustness import adversarial_logits, evaluation_attacks
from learners.training import Training
from storage.index import ExampleIndex
from storage.values import Examples


def images_of(path: Path | None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(N, H, W) images and (N,) labels of a file, or the digits in an order of their own."""
    if path is None:
        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))
        large = np.kron(digits.images[order], np.ones((2, 2)))
        return (large * 255 / 16).astype(np.uint8), digits.target[order].astype(np.int64)
    frame = pl.read_parquet(path, columns=["image", "label"])
    flat = frame["image"].to_numpy()
    side = round(flat.shape[1] ** 0.5)
    return flat.reshape(-1, side, side).astype(np.uint8), frame["label"].to_numpy().astype(np.int64)


def examples_of(images: NDArray[np.uint8], labels: NDArray[np.int64], rows: slice) -> Examples:
    """Examples of some rows."""
    return Examples(
        index=ExampleIndex(f"image:{row}" for row in range(*rows.indices(len(images)))),
        inputs=images[rows],
        labels=labels[rows],
        classes=tuple(str(one) for one in range(int(labels.max()) + 1)),
    )


def last_robustness(
    learner: AAER, trained: Examples, attacked: Examples, training: Training, model: SmallCNN, seed: int, every: int
) -> float:
    """PGD-20 accuracy after the last epoch; prints it on the way."""
    attacks = evaluation_attacks(Threat(epsilon=learner.epsilon))
    single, many = attacks["fgsm"].attack, attacks["pgd_20"].attack
    labels, robust = attacked.labels, 0.0
    assert labels is not None

    def stood(models: list[torch.nn.Module], attack: Attack) -> float:
        return accuracy(adversarial_logits(models, attacked, attack), labels)

    for report in fit(learner, trained, model=model, training=training, seed=seed):
        if report.epoch % every and report.epoch < report.epochs:
            continue
        models = report.state.models
        clean, robust = accuracy(predict_logits(models, attacked), labels), stood(models, many)
        shares = f"clean {clean:.3f}  FGSM {stood(models, single):.3f}  PGD-20 {robust:.3f}"
        print(f"  epoch {report.epoch:3}  {shares}  abnormal {report.metrics['abnormal']:.3f}", flush=True)
    return robust


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="Parquet file of images")
    parser.add_argument("--examples", type=int, default=10_000, help="images trained on")
    parser.add_argument("--attacked", type=int, default=400, help="further images, attacked")
    parser.add_argument("--epsilon", type=float, default=0.3, help="radius")
    parser.add_argument("--step", type=float, default=1.25, help="length of the single step, in units of epsilon")
    parser.add_argument("--lam3", type=float, nargs="+", default=[1.5], help="weights of AAER's excess move")
    parser.add_argument("--lam2", type=float, default=0.0, help="weight of AAER's fall of the loss")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--every", type=int, default=5, help="epochs between two attacks")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--schedule", default="one_cycle", choices=["cosine", "constant", "one_cycle", "step"])
    parser.add_argument("--width", type=int, default=16, help="of small_cnn")
    parser.add_argument("--hidden", type=int, default=512, help="of small_cnn")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    images, labels = images_of(chosen.images)
    size = min(chosen.examples, len(images) - chosen.attacked)
    trained = examples_of(images, labels, slice(size))
    attacked = examples_of(images, labels, slice(size, size + chosen.attacked))
    training = Training(
        epochs=chosen.epochs,
        batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate,
        weight_decay=chosen.weight_decay,
        schedule=chosen.schedule,
    )
    single = {"epsilon": chosen.epsilon, "step_range": chosen.step}
    learners = {"random-start FGSM": AAER(**single, lam1=0.0)}
    learners |= {f"AAER, lam3 {lam3:g}": AAER(**single, lam2=chosen.lam2, lam3=lam3) for lam3 in chosen.lam3}
    model = SmallCNN(width=chosen.width, hidden=chosen.hidden)
    found: dict[str, list[float]] = {name: [] for name in learners}
    for seed in range(chosen.seeds):
        for name, learner in learners.items():
            print(f"{name}, seed {seed}, {size} images", flush=True)
            found[name].append(last_robustness(learner, trained, attacked, training, model, seed, chosen.every))
    for name, robust in found.items():
        print(f"{name}: PGD-20 after the last epoch {', '.join(f'{one:.3f}' for one in robust)}")


if __name__ == "__main__":
    main()
