"""Voting over several rankings within quotas, by every rule.

    python benchmarks/curation/voting.py [--rows 1000000] [--rankings 6] [--fraction 0.3] [--rounds 5] [--overlapping]

Half of the rankings follow one hidden quality and the others another, so that the rules differ. Quotas are floors and
ceilings over the crossings of 10 classes and 4 groups of unlike size; with `--overlapping` they are over the classes
and over the groups, both to be met, and the smallest group is ranked low. Each run is a process of its own; making the
scores and importing are not timed, peak memory is that of the whole process.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from curation.quotas import Quotas
from curation.selector import Selector
from curation.selectors.bloc import Bloc
from curation.selectors.borda import Borda
from curation.selectors.chamberlin_courant import ChamberlinCourant
from curation.selectors.owa import OWA
from curation.selectors.sntv import SNTV
from storage.index import ExampleIndex
from storage.values import Scores, Signals

RULES: Mapping[str, Callable[..., Selector]] = {
    "borda": Borda,
    "bloc": Bloc,
    "sntv": SNTV,
    "chamberlin_courant": ChamberlinCourant,
    "owa": OWA,
}
QUOTAS = Quotas(over=("label", "group"), floor=0.8, ceiling=1.5)
OVERLAPPING = (Quotas(over=("label",), floor=0.95, ceiling=1.05), Quotas(over=("group",), floor=0.9))
GROUP_SHARES = (0.6, 0.25, 0.1, 0.05)


def run(rule: str, rows: int, rankings: int, fraction: float, *, overlapping: bool) -> None:
    """One run in this process, told as a line of JSON."""
    rng = np.random.default_rng(0)
    index = ExampleIndex(f"bench:{row:09}" for row in range(rows))
    quality = rng.normal(size=(2, rows))
    arrays = {"label": rng.integers(0, 10, rows), "group": rng.choice(len(GROUP_SHARES), rows, p=GROUP_SHARES)}
    if overlapping:
        quality -= arrays["group"] == len(GROUP_SHARES) - 1
    names = [f"score_{number}" for number in range(rankings)]
    scores = {
        name: Scores(index=index, values=quality[number % 2] + rng.normal(size=rows), high_means="hard")
        for number, name in enumerate(names)
    }
    signals = Signals(index=index, arrays=arrays)
    selector = RULES[rule](prefer_high=tuple(names), fraction=fraction, quotas=OVERLAPPING if overlapping else QUOTAS)
    began = time.perf_counter()
    selection = selector(signals, scores, np.random.default_rng(0))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"seconds": seconds, "kept": int(selection.kept.sum()), "megabytes": peak}))


def elsewhere(rule: str, chosen: argparse.Namespace) -> dict[str, float]:
    """What a run in a process of its own tells."""
    command = [sys.executable, __file__, "--run", rule]
    for name in ("rows", "rankings", "fraction"):
        command += [f"--{name}", str(getattr(chosen, name))]
    command += ["--overlapping"] if chosen.overlapping else []
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    told: dict[str, float] = json.loads(
        subprocess.run(command, check=True, capture_output=True, env=environment).stdout
    )
    return told


def main() -> None:
    """Measure every rule, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rankings", type=int, default=6)
    parser.add_argument("--fraction", type=float, default=0.3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--overlapping", action="store_true", help="quotas over classes and over groups")
    parser.add_argument("--run", choices=list(RULES), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run:
        run(chosen.run, chosen.rows, chosen.rankings, chosen.fraction, overlapping=chosen.overlapping)
        return
    print(f"{chosen.rows:,} rows, {chosen.rankings} rankings, {chosen.rounds} rounds, {os.cpu_count()} cores")
    told: dict[str, list[dict[str, float]]] = {rule: [] for rule in RULES}
    for _ in range(chosen.rounds):
        for rule, runs in told.items():
            runs.append(elsewhere(rule, chosen))
    for rule, runs in told.items():
        seconds, peak = ([one[name] for one in runs] for name in ("seconds", "megabytes"))
        print(
            f"{rule:<20} {min(seconds):6.2f} / {statistics.median(seconds):6.2f} / {max(seconds):6.2f} s, "
            f"{max(peak):6,.0f} MB, {runs[0]['kept']:,} kept"
        )


if __name__ == "__main__":
    main()
