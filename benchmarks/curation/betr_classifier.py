"""The classifier of BETR: logistic regression on hashed words beside fastText, which the paper uses.

    pip install fasttext-community==0.11.9
    python benchmarks/curation/betr_classifier.py --data $TAMIS_DATA [--documents N] [--pairs 3]

Reads `betr_pool.parquet` and `betr_benchmarks.parquet`. The pool is ranked for the training examples of four school
exams, once, as the scorer `betr` does it. The tenth that comes first and as many others are what both sides learn to
tell apart: first those of one half of the pool, with AUROC and accuracy at the median on those of the other half, then
all of them, to score the whole pool, of whose words a tenth is kept. Ours is fitted on counts of words in 4,096
buckets. fastText has the paper's settings, which are of a hundred times the documents, and beside them a learning rate
of 0.5 and 25 epochs; one thread, with which its answers are the same again. Each run is a process of its own, in turn;
all begin with texts. Reading the pool, ranking and importing are not timed, peak memory is that of the whole process,
which holds the texts.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, roc_auc_score

from benchmarks.results.betr_table import EXAMS, TOKEN_FRACTION, WORDS, Pool, equal_numbers, signals_of
from curation.betr import labelled, num_positive, ranked
from curation.examiners.ngram_counts import NgramCounts
from curation.latent_space import MOST_FITTED, fitted_space
from curation.ngram_space import classifier, counts_of, likelihood, rarity, weighted
from curation.selectors.token_budget import TokenBudget
from curation.targets import at_most
from storage.index import ExampleIndex
from storage.values import Scores, Signals

Shares = NDArray[np.float64]
Rows = NDArray[np.int64]

POOL, QUESTIONS = "betr_pool.parquet", "betr_benchmarks.parquet"
LABELS = "labels"
"""The run that ranks the pool, in a process of its own, whose memory is not the others'."""
TOP_SHARE = 0.1
NUM_DIMENSIONS = 512
PENALTY = 100.0
FASTTEXT = {"lr": 0.03, "dim": 128, "ws": 10, "wordNgrams": 2, "minCount": 5, "epoch": 5, "thread": 1, "verbose": 0}
"""Settings of Mizrahi et al. 2025, https://arxiv.org/abs/2507.12466; one thread is ours."""


def by_tamis(texts: list[str], rows: Rows, belongs: NDArray[np.bool_]) -> Shares:
    """(N,) probability that each text belongs."""
    index = ExampleIndex(f"pool:{place:08}" for place in range(len(texts)))
    counts = NgramCounts(column="text", sizes=WORDS)(index, {"text": np.array(texts, dtype=object)})["ngram_counts"]
    fitted = classifier(counts, rows, belongs, rarity(counts, np.arange(len(texts))), PENALTY)
    return likelihood(counts, fitted)


def by_fasttext(texts: list[str], rows: Rows, belongs: NDArray[np.bool_], settings: Mapping[str, float]) -> Shares:
    """The same."""
    import fasttext

    lines = [" ".join(text.split()) for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labelled.txt"
        path.write_text(
            "".join(f"__label__{int(own)} {lines[row]}\n" for row, own in zip(rows, belongs, strict=True)),
            encoding="utf-8",
        )
        model = fasttext.train_supervised(str(path), **settings)
    names, found = model.predict(lines, k=2)
    return np.array(
        [dict(zip(own, shares, strict=True))["__label__1"] for own, shares in zip(names, found, strict=True)]
    )


SIDES: Mapping[str, Callable[[list[str], Rows, NDArray[np.bool_]], Shares]] = {
    "tamis": by_tamis,
    "fasttext": partial(by_fasttext, settings=FASTTEXT),
    "fasttext, longer": partial(by_fasttext, settings={**FASTTEXT, "lr": 0.5, "epoch": 25}),
}


def run(side: str, data: Path, documents: int | None, labels: Path) -> None:
    """One run in this process, told as a line of JSON."""
    pool = Pool.read(data / POOL, documents)
    stored = np.load(labels)
    rows, belongs, first_half = stored["rows"], stored["belongs"], stored["first_half"]
    scored = SIDES[side]
    inside = first_half[rows]
    half = scored(pool.texts, rows[inside], belongs[inside])[rows[~inside]]
    began = time.perf_counter()
    whole = scored(pool.texts, rows, belongs)
    seconds = time.perf_counter() - began
    signals = Signals(index=pool.index, arrays={"num_tokens": pool.num_tokens})
    rule = TokenBudget(score="it", token_fraction=TOKEN_FRACTION)
    scores = Scores(index=pool.index, values=whole, high_means="similar")
    kept = rule(signals, {"it": scores}, np.random.default_rng(0)).kept
    told = {
        "seconds": seconds,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "accuracy": float(accuracy_score(belongs[~inside], half > np.median(half))),
        "auroc": float(roc_auc_score(belongs[~inside], half)),
        "textbooks": pool.precision(kept),
        "sum": float(whole.sum()),
    }
    sys.stdout.write(json.dumps(told))


def write_labels(data: Path, documents: int | None, path: Path) -> None:
    """Rank the pool for the exams, and store what is to be told apart."""
    pool = Pool.read(data / POOL, documents)
    questions = exams(data / QUESTIONS)
    counts = counts_of(signals_of(pool, questions, WORDS))
    places = np.arange(len(counts))
    documents = places[: len(pool.texts)]
    rare = rarity(counts, documents)
    space = fitted_space(weighted(counts, at_most(documents, MOST_FITTED, 0), rare), rare, NUM_DIMENSIONS, 0)
    num_first = num_positive(TOP_SHARE, len(documents))
    table = space.coordinates(weighted(counts, places, rare))
    order = ranked(table, documents, places[len(documents) :], "max", num_first).order
    rows, belongs = labelled(order, num_first, 0)
    np.savez(path, rows=rows, belongs=belongs, first_half=np.random.default_rng(0).random(len(documents)) < 0.5)
    told = {"documents": len(documents), "first": int(belongs.sum())}
    sys.stdout.write(json.dumps(told))


def exams(path: Path) -> pl.DataFrame:
    """Training examples of the exams, as many of each."""
    questions = pl.read_parquet(path, columns=["id", "benchmark", "split", "text"])
    return equal_numbers(questions.filter((pl.col("split") == "train") & pl.col("benchmark").is_in(EXAMS)))


def elsewhere(side: str, chosen: argparse.Namespace, labels: Path) -> dict[str, float]:
    """What a run in a process of its own tells."""
    command = [sys.executable, __file__, "--run", side, "--labels", str(labels), "--data", str(chosen.data)]
    command += [] if chosen.documents is None else ["--documents", str(chosen.documents)]
    paths = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths})
    told: dict[str, float] = json.loads(done.stdout)
    return told


def spread(values: Sequence[float]) -> str:
    """Least, middle and greatest value."""
    return f"{min(values):.1f} / {statistics.median(values):.1f} / {max(values):.1f}"


def main() -> None:
    """Both sides in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with both files; without it nothing is measured")
    parser.add_argument("--documents", type=int)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--run", choices=(LABELS, *SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--labels", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run == LABELS:
        write_labels(chosen.data, chosen.documents, chosen.labels)
        return
    if chosen.run:
        run(chosen.run, chosen.data, chosen.documents, chosen.labels)
        return
    if chosen.data is None:
        print("nothing to measure: name the folder of the pool by --data")
        return
    for name in (POOL, QUESTIONS):
        if not (chosen.data / name).is_file():
            parser.error(f"--data must be the folder of {POOL} and {QUESTIONS}, and there is no {chosen.data / name}")
    sides = [side for side in SIDES if side == "tamis" or importlib.util.find_spec("fasttext")]
    if len(sides) == 1:
        print("fastText is left out: pip install fasttext-community==0.11.9")
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.npz"
        found = elsewhere(LABELS, chosen, labels)
        print(f"{found['documents']:,} documents, {found['first']:,} to be recognised, {os.cpu_count()} cores")
        told: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(chosen.pairs):
            for side, runs in told.items():
                runs.append(elsewhere(side, chosen, labels))
    for side, runs in told.items():
        one, most = runs[0], max(run["megabytes"] for run in runs)
        again = "the same again" if len({run["sum"] for run in runs}) == 1 else "other scores again"
        print(
            f"{side:<16} {spread([run['seconds'] for run in runs])} s, {most:,.0f} MB; "
            f"other half: accuracy {one['accuracy']:.3f}, AUROC {one['auroc']:.3f}; "
            f"textbook share of kept words {100 * one['textbooks']:.1f} %; {again}"
        )
    ours, *peers = told.items()
    for side, runs in peers:
        ratios = [peer["seconds"] / own["seconds"] for own, peer in zip(ours[1], runs, strict=True)]
        print(f"{side} ÷ {ours[0]} {spread(ratios)}")


if __name__ == "__main__":
    main()
