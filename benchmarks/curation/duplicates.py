"""Near duplicates among short texts beside datasketch, then further texts against what is known.

    python benchmarks/curation/duplicates.py [--rows 1000000] [--new 100000] [--pairs 3]

Each run is a process of its own: ours, datasketch, and ours once more over all rows at once, taking turns, after one
of each on few rows that is not counted. Texts are 10 to 30 words of a Zipf vocabulary; of 100, about 10 are copies
with one word changed and 5 exact copies. Both sides sign word trigrams with 128 hashes, cut signatures into
the same bands and call a text a duplicate where a candidate's estimated similarity reaches 0.8. datasketch
hashes with SHA-1, as it does by default, keeps its index in memory and stops at the first such candidate.
`found` is the share of texts called duplicates. Making the texts is not timed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

NUM_HASHES = 128
THRESHOLD = 0.8
SIDES = ("tamis", "datasketch", "tamis, all again")


def random_texts(num_texts: int) -> list[str]:
    """Texts of which about 15 % are copies of earlier ones."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{rank}" for rank in range(50_000)])
    texts: list[str] = []
    kinds, lengths = rng.random(num_texts), rng.integers(10, 31, size=num_texts)
    drawn = words[np.minimum(rng.zipf(1.3, size=int(lengths.sum())), len(words)) - 1]
    ends = np.cumsum(lengths)
    for row in range(num_texts):
        if row and kinds[row] < 0.15:
            copied = texts[int(kinds[row] / 0.15 * 7919 * row) % row]
            if kinds[row] >= 0.05:
                parts = copied.split()
                parts[-1] = "changed"
                copied = " ".join(parts)
            texts.append(copied)
        else:
            texts.append(" ".join(drawn[ends[row] - lengths[row] : ends[row]]))
    return texts


def with_tamis(texts: list[str], num_first: int) -> dict[str, float]:
    """Seconds for the first texts and for the others, and the share found."""
    from curation.examiners.minhash import MinHash
    from curation.scorers.near_duplicates import NearDuplicates
    from storage.index import ExampleIndex
    from storage.values import Signals

    examiner = MinHash(column="text", num_hashes=NUM_HASHES)
    scorer = NearDuplicates(threshold=THRESHOLD, alarm_share=1.0)
    cells = np.array(texts, dtype=object)

    def signals(start: int, stop: int) -> Signals:
        index = ExampleIndex(f"bench:{row}" for row in range(start, stop))
        return Signals(index=index, arrays=examiner(index, {"text": cells[start:stop]}))

    began = time.perf_counter()
    before = scorer.start(signals(0, num_first))
    first = time.perf_counter() - began
    scores, began = before.new, time.perf_counter()
    if num_first < len(texts):
        scores = scorer.extend(before.state, before.new, signals(num_first, len(texts))).over(before.new)
    return {"first": first, "new": time.perf_counter() - began, "found": float(scores.values.mean())}


def with_datasketch(texts: list[str], num_first: int) -> dict[str, float]:
    """The same with datasketch."""
    from datasketch import MinHash, MinHashLSH

    from curation.signature_index import bands_for

    bands = bands_for(NUM_HASHES, THRESHOLD, 0.95)
    index, signed, found = MinHashLSH(num_perm=NUM_HASHES, params=(bands.number, bands.size)), [], 0
    began = time.perf_counter()
    for row, text in enumerate(texts):
        if row == num_first:
            first, began = time.perf_counter() - began, time.perf_counter()
        words = text.split()
        signature = MinHash(num_perm=NUM_HASHES)
        signature.update_batch([" ".join(words[at : at + 3]).encode() for at in range(max(1, len(words) - 2))])
        found += any(signature.jaccard(signed[other]) >= THRESHOLD for other in index.query(signature))
        index.insert(row, signature, check_duplication=False)
        signed.append(signature)
    return {"first": first, "new": time.perf_counter() - began, "found": found / len(texts)}


def child(side: str, rows: int, new: int) -> None:
    """Run one side, and print what it measured."""
    texts = random_texts(rows + new)
    if side == "datasketch":
        print(json.dumps(with_datasketch(texts, rows)))
    else:
        print(json.dumps(with_tamis(texts, rows if side == "tamis" else rows + new)))


def measure(side: str, rows: int, new: int) -> dict[str, float]:
    """What a child process measured, and its peak resident memory in MB."""
    command = [sys.executable, str(Path(__file__)), "--child", side, "--rows", str(rows), "--new", str(new)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert process.stdout is not None
    answer = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{side} ended with {process.returncode}")
    return {**json.loads(answer), "peak": usage.ru_maxrss / 1024}


def spread(values: list[float]) -> str:
    """Least, middle and greatest value."""
    return f"min {min(values):8.2f}  median {statistics.median(values):8.2f}  max {max(values):8.2f}"


def main() -> None:
    """Print times, their ratios, the share found and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--new", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child, chosen.rows, chosen.new)
        return
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for pair in range(chosen.pairs + 1):
        for side in SIDES:
            result = measure(side, chosen.rows if pair else 1000, chosen.new if pair else 100)
            if pair:
                found[side].append(result)
    print(f"{chosen.rows:,} texts and {chosen.new:,} new ones, {chosen.pairs} pairs, {os.cpu_count()} cores")
    for side, results in found.items():
        for part in ("first", "new"):
            print(f"{side:16} {part:5} {spread([one[part] for one in results])} s")
        peak = max(one["peak"] for one in results)
        print(f"{side:16} found {results[0]['found']:.4f}, peak {peak:.0f} MB with the texts")
    ours, peer, again = (found[side] for side in SIDES)
    for name, above, below in (
        ("datasketch / tamis, first", [one["first"] for one in peer], [one["first"] for one in ours]),
        ("datasketch / tamis, new", [one["new"] for one in peer], [one["new"] for one in ours]),
        ("all again / new alone", [one["first"] for one in again], [one["new"] for one in ours]),
    ):
        print(f"{name:26} {spread([over / under for over, under in zip(above, below, strict=True)])}")


if __name__ == "__main__":
    main()
