"""AutoAttack beside the authors' own code: the robust accuracy each leaves, attack by attack, and its time.

    python benchmarks/learners/autoattack.py [--examples 100] [--queries 1000] [--pairs 3] [--norm linf]

The peer is `pyautoattack`, a package of the authors' code (https://github.com/fra31/auto-attack); it is no
dependency of tamis: `pip install pyautoattack==0.2.0`. A small network is trained with PGD on scikit-learn's
digits. The two take turns, each pair with another seed; each attack then runs alone on all examples that
are right without one.
"""

import argparse
import resource
import statistics
import time
from importlib import import_module

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from learners.attacks import Attack, Threat, label_loss
from learners.auto_attack.apgd import apgd
from learners.auto_attack.ensemble import AutoAttack, auto_attack
from learners.auto_attack.fab import fab
from learners.auto_attack.logit_ratios import likeliest_others, targeted_objective
from learners.auto_attack.offsets import OffsetSpace
from learners.auto_attack.square import square
from learners.batches import input_tensor, network_inputs
from learners.fit import fit
from learners.methods.pgd_training import PGDTraining
from learners.models.small_cnn import SmallCNN
from learners.randomness import torch_generator
from learners.training import Training
from storage.index import ExampleIndex
from storage.values import Examples

PEER_NAMES = {"apgd_ce": "apgd-ce", "apgd_targeted": "apgd-t", "fab_targeted": "fab-t", "square": "square"}
PEER_NORMS = {"linf": "Linf", "l2": "L2"}


def digits(start: int, stop: int) -> Examples:
    """Handwritten digits, 8x8 pixels."""
    found = load_digits()
    return Examples(
        index=ExampleIndex(f"digit:{row}" for row in range(start, stop)),
        inputs=(found.images[start:stop] * 255 / 16).round().astype(np.uint8),
        labels=found.target[start:stop].astype(np.int64),
        classes=tuple("0123456789"),
    )


def robust_network() -> nn.Module:
    """A small network after six epochs of PGD training."""
    learner = PGDTraining(attack=Attack(epsilon=0.15, step_size=0.04, num_steps=5))
    reports = fit(
        learner, digits(0, 1400), model=SmallCNN(width=8, hidden=32), training=Training(epochs=12, threads=1), seed=0
    )
    return list(reports)[-1].state.models[0].eval()


def alone(name: str, space: OffsetSpace, settings: AutoAttack, seed: int) -> float:
    """Share of the rows of a space that one of our attacks leaves standing."""
    clean = space.logits(space.box.centre)
    standing = ~space.fooled(clean)
    others = likeliest_others(clean, space.labels, min(settings.num_targets, clean.shape[1] - 1))
    for rank in range(others.shape[1] if name.endswith("targeted") else 1):
        rows = torch.nonzero(standing).flatten()
        left, targets, draws = space.take(rows), others[rows, rank], torch_generator(seed, name, 0, rank)
        if name == "square":
            offsets = square(left, num_queries=settings.num_queries, generator=draws)
        elif name == "fab_targeted":
            offsets = left.projected(fab(left, targets, num_steps=settings.num_steps))
        else:
            objective = label_loss(left.labels) if name == "apgd_ce" else targeted_objective(left.labels, targets)
            offsets = apgd(left, objective, num_steps=settings.num_steps, generator=draws)
        standing[rows[left.fooled(left.logits(left.reached(offsets)))]] = False
    return float(standing.float().mean())


def peer_accuracy(network: nn.Module, space: OffsetSpace, queries: int, seed: int, attacks: list[str] | None) -> float:
    """Share of rows that the authors' code leaves standing."""
    from pyautoattack import AutoAttack as Peer

    threat = space.threat
    version = {"version": "standard"} if attacks is None else {"version": "custom", "attacks": attacks}
    peer = Peer(network, norm=PEER_NORMS[threat.norm], eps=threat.epsilon, seed=seed, **version)
    peer.square.n_queries = queries
    peer.square.resc_schedule = True
    peer.apgd.n_restarts = peer.fab.n_restarts = 1
    peer.fab.n_target_classes = peer.apgd_targeted.n_target_classes = 9
    attacked = peer.run_standard_evaluation(space.box.centre, space.labels, batch_size=len(space))[0]
    return float((~space.fooled(space.logits(attacked))).float().mean())


def main() -> None:
    """Print accuracies, their differences, times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--norm", choices=sorted(PEER_NORMS), default="linf")
    parser.add_argument("--epsilon", type=float, help="default 0.1 in linf, 0.6 in l2")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    try:
        import_module("pyautoattack")
    except ImportError:
        print("nothing to compare with: pip install pyautoattack==0.2.0")
        return
    examples = digits(1400, 1400 + chosen.examples)
    epsilon = chosen.epsilon or {"linf": 0.1, "l2": 0.6}[chosen.norm]
    threat, settings = Threat(norm=chosen.norm, epsilon=epsilon), AutoAttack(num_queries=chosen.queries)
    network = robust_network()
    space = OffsetSpace.around(
        network, network_inputs(input_tensor(examples.inputs)), torch.tensor(examples.labels), threat
    )
    clean = float((~space.fooled(space.logits(space.box.centre))).float().mean())
    print(f"{len(examples)} digits, {chosen.norm} {epsilon:g}, {chosen.queries} queries; clean accuracy {clean:.3f}")
    print("alone, seed 0        ours   peer   difference")
    for name, peer_name in PEER_NAMES.items():
        ours = alone(name, space, settings, 0)
        theirs = peer_accuracy(network, space, chosen.queries, 0, [peer_name])
        print(f"{name:18} {ours:6.3f} {theirs:6.3f}   {ours - theirs:+.3f}")
    differences, ratios, seconds = [], [], []
    for seed in range(chosen.pairs):
        found: dict[str, tuple[float, float]] = {}
        for side in ("ours", "peer") if seed % 2 == 0 else ("peer", "ours"):
            began = time.perf_counter()
            if side == "ours":
                accuracy = auto_attack([network], examples, threat, settings, seed=seed).robust_accuracy
            else:
                accuracy = peer_accuracy(network, space, chosen.queries, seed, None)
            found[side] = accuracy, time.perf_counter() - began
        differences.append(found["ours"][0] - found["peer"][0])
        ratios.append(found["ours"][1] / found["peer"][1])
        seconds.append(found["ours"][1])
        print(f"ensemble, seed {seed}   {found['ours'][0]:6.3f} {found['peer'][0]:6.3f}   {differences[-1]:+.3f}")
    print(f"largest difference of the ensembles: {100 * max(map(abs, differences)):.1f} points")
    print(
        f"seconds ours / peer: min {min(ratios):.2f}  median {statistics.median(ratios):.2f}  max {max(ratios):.2f}; "
        f"ours median {statistics.median(seconds):.1f} s; "
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
    )


if __name__ == "__main__":
    main()
