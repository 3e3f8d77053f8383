"""What torchrun starts in test_distributed: every learner trained by all processes; each writes its end state."""

import sys
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

from learners.attacks import Attack
from learners.checkpoint import save_state
from learners.distributed import joined_ranks
from learners.fit import fit
from learners.methods.cvar_dro import CVaRDRO
from learners.methods.dro_irat import DROIRAT
from learners.methods.elr import ELR
from learners.methods.elr_plus import ELRPlus
from learners.methods.erm import ERM
from learners.methods.gce import GCE
from learners.methods.group_dro import GroupDRO
from learners.methods.pgd_training import PGDTraining
from learners.methods.ps_kd import PSKD
from learners.models.mlp import MLP
from learners.signals import Recorder
from learners.training import Training
from storage.index import ExampleIndex
from storage.values import Examples

SETTINGS = {"gradient_accumulation": 2, "clip_norm": 1.0, "ema": 0.9, "optimizer": "sam"}

CASES = {
    "erm": (ERM(), {}),
    "elr": (ELR(), {}),
    "ps_kd": (PSKD(), {}),
    "dro_irat": (DROIRAT(attack=Attack(start="zero")), {}),
    "pgd_training": (PGDTraining(attack=Attack(start="zero")), {}),
    "cvar_dro": (CVaRDRO(fraction=0.5), {}),
    "group_dro": (GroupDRO(groups="label", eta=0.1, adjustment=1.0), {}),
    "gce": (GCE(), {}),
    "elr_plus": (ELRPlus(mixup_alpha=0.0), {}),
    "elr_all_settings": (ELR(), SETTINGS),
}
"""Learners without draws that belong to places in a batch, and settings."""


def clouds():
    """Four Gaussian clouds of which two overlap; 61 rows, of which four have weight 0."""
    rng = np.random.default_rng(11)
    labels = np.arange(61) % 4
    inputs = np.eye(4)[labels] * 2 + rng.normal(size=(61, 4))
    weights = rng.uniform(0.5, 2.0, size=61).astype(np.float32)
    weights[::17] = 0
    return Examples(
        index=ExampleIndex(f"cloud:{row}" for row in range(61)),
        inputs=inputs.astype(np.float32),
        labels=labels,
        classes=("a", "b", "c", "d"),
        weights=weights,
    )


def end_state(name, ranks=None):
    """Arrays of the end state, and the last epoch's metrics."""
    learner, settings = CASES[name]
    recorder = Recorder({"logits": [3], "train_logits": [2, 3], **{signal: [3] for signal in learner.gives}})
    training = Training(epochs=3, batch_size=17, learning_rate=0.1, **settings)
    model = MLP(widths=(8,))
    reports = fit(learner, clouds(), model=model, training=training, seed=2, recorder=recorder, ranks=ranks)
    last = list(reports)[-1]
    metrics = {f"metrics/{name}": np.array([value]) for name, value in last.metrics.items()}
    return {**save_state(last.state, recorder).arrays, **metrics}


def main(folder):
    torch.set_num_threads(1)
    with joined_ranks() as ranks:
        for name in CASES:
            path = Path(folder) / f"{name}-{ranks.rank}.safetensors"
            path.write_bytes(safetensors.numpy.save(end_state(name, ranks)))


if __name__ == "__main__":
    main(sys.argv[1])
