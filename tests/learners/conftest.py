import numpy as np
import pytest
import torch

from learners.fit import fit
from learners.models.mlp import MLP
from learners.training import Training
from storage.index import ExampleIndex
from storage.values import Examples


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def train():
    """The state after training a small network."""

    def run(learner, examples, *, model=None, epochs=3, batch_size=16, seed=3, **settings):
        training = Training(epochs=epochs, batch_size=batch_size, **settings)
        return list(fit(learner, examples, model=model or MLP(widths=(8,)), training=training, seed=seed))[-1].state

    return run


@pytest.fixture(scope="session")
def make_table():
    """Examples whose class is where their features lie: K Gaussian clouds, far apart."""

    def make(num_examples=60, num_classes=3, seed=0, spread=0.3, features=4, weights=None, labels=None, groups=None):
        rng = np.random.default_rng(seed)
        clean = np.arange(num_examples) % num_classes
        centres = np.random.default_rng(99).normal(size=(num_classes, features)) * 2
        inputs = centres[clean] + rng.normal(size=(num_examples, features)) * spread
        return Examples(
            index=ExampleIndex([f"toy:{seed}-{row}" for row in range(num_examples)]),
            inputs=inputs.astype(np.float32),
            labels=(clean if labels is None else labels).astype(np.int64),
            classes=tuple("abcdefgh"[:num_classes]),
            weights=weights,
            groups=groups,
        )

    return make


@pytest.fixture
def make_images():
    """Noisy images with one bright quadrant per class."""

    def make(num_examples=40, shape=(8, 8), seed=0, weights=None):
        rng = np.random.default_rng(seed)
        labels = np.arange(num_examples) % 2
        images = rng.integers(0, 60, size=(num_examples, *shape))
        images[labels == 0, : shape[0] // 2] += 150
        images[labels == 1, shape[0] // 2 :] += 150
        return Examples(
            index=ExampleIndex([f"image:{row}" for row in range(num_examples)]),
            inputs=images.astype(np.uint8),
            labels=labels.astype(np.int64),
            classes=("top", "bottom"),
            weights=weights,
        )

    return make
