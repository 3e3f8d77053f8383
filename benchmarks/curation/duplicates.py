"""Near duplicates among short texts beside datasketch, then further texts against what is known, and who is right.

    python benchmarks/curation/duplicates.py [--rows 1000000] [--new 100000] [--pairs 3] [--sample 5000]
                                             [--datatrove PYTHON]

Each run is a process of its own: ours, datasketch, and ours once more over all rows at once, taking turns, after one
of each on few rows that is not counted. Texts are 10 to 30 words of a Zipf vocabulary; of 100, about 10 are copies
with one word changed and 5 exact copies. Both sides sign word trigrams with 128 hashes, cut signatures into
the same bands and call a text a duplicate where a candidate's estimated similarity reaches 0.8. datasketch
hashes with SHA-1, as it does by default, keeps its index in memory and stops at the first such candidate.
`found` is the share of texts called duplicates. Making the texts is not timed.

On a sample, clusters are compared with those that exact Jaccard similarities of 0.8 make: precision and recall are of
pairs of texts in one cluster. datasketch once gets our signatures, and its clusters must then be ours. datatrove is no
dependency and needs an environment of its own: `python -m venv trove && trove/bin/pip install datatrove spacy
tokenizers orjson regex`, then `--datatrove trove/bin/python`; it gets the same trigrams and bands, counts a shared
band as a duplicate without looking further, and runs once, timed with reading and writing its files, with a worker
for each core.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NUM_HASHES = 128
THRESHOLD = 0.8
SIDES = ("tamis", "datasketch", "tamis, all again")
JUDGED = ("tamis", "datasketch", "datasketch on the signatures of tamis")
Keepers = NDArray[np.int64]
"""(N,) the first text of each text's cluster."""


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


def signed(texts: list[str]) -> NDArray[np.uint32]:
    """Our signatures."""
    from curation.examiners.minhash import MinHash
    from storage.index import ExampleIndex

    index = ExampleIndex(f"bench:{row}" for row in range(len(texts)))
    return MinHash(column="text", num_hashes=NUM_HASHES)(index, {"text": np.array(texts, dtype=object)})["minhash"]


def tamis_keepers(texts: list[str]) -> Keepers:
    """Clusters by our scorer."""
    from curation.scorers.near_duplicates import NearDuplicates
    from storage.index import ExampleIndex
    from storage.values import Signals

    index = ExampleIndex(f"bench:{row}" for row in range(len(texts)))
    signals = Signals(index=index, arrays={"minhash": signed(texts)})
    return NearDuplicates(threshold=THRESHOLD, alarm_share=1.0).start(signals).state["keepers"]


def datasketch_keepers(texts: list[str], signatures: NDArray[np.uint32] | None) -> Keepers:
    """Clusters by datasketch, of its own signatures or of given ones."""
    from datasketch import MinHash, MinHashLSH

    from curation.signature_index import bands_for

    bands, made, pairs = bands_for(NUM_HASHES, THRESHOLD, 0.95), [], []
    index = MinHashLSH(num_perm=NUM_HASHES, params=(bands.number, bands.size))
    for row, text in enumerate(texts):
        words = text.split()
        if signatures is None:
            one = MinHash(num_perm=NUM_HASHES)
            one.update_batch([" ".join(words[at : at + 3]).encode() for at in range(max(1, len(words) - 2))])
        else:
            one = MinHash(num_perm=NUM_HASHES, hashvalues=signatures[row], scheme="affine32")
        pairs += [(other, row) for other in index.query(one) if one.jaccard(made[other]) >= THRESHOLD]
        index.insert(row, one, check_duplication=False)
        made.append(one)
    return united(len(texts), pairs)


def exact_keepers(texts: list[str]) -> Keepers:
    """Clusters of texts that pairs of exact Jaccard similarity at least the threshold connect."""
    from scipy.sparse import csr_array

    sets = [{" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2))} for words in map(str.split, texts)]
    places: dict[str, int] = {}
    columns = [places.setdefault(one, len(places)) for shingles in sets for one in sorted(shingles)]
    sizes = np.array([len(shingles) for shingles in sets])
    table = csr_array((np.ones(len(columns), dtype=np.int32), columns, np.concatenate([[0], np.cumsum(sizes)])))
    shared = (table @ table.T).tocoo()
    first, second = shared.coords
    alike = shared.data >= THRESHOLD * (sizes[first] + sizes[second] - shared.data) - 1e-9
    return united(len(texts), zip(first[alike].tolist(), second[alike].tolist(), strict=True))


def datatrove_keepers(texts: list[str], interpreter: str) -> tuple[Keepers, dict[str, float]]:
    """Clusters by datatrove in an environment of its own, and its seconds and peak memory."""
    from curation.signature_index import bands_for

    bands = bands_for(NUM_HASHES, THRESHOLD, 0.95)
    length = -(-len(texts) // (os.cpu_count() or 1))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "texts").mkdir()
        for part, first in enumerate(range(0, len(texts), length)):
            lines = [json.dumps({"text": text, "id": str(row)}) for row, text in enumerate(texts[first:][:length])]
            (Path(folder) / "texts" / f"{part:03d}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        command = [interpreter, str(Path(__file__)), "--child", "datatrove", "--folder", folder]
        command += ["--rows", str(bands.number), "--new", str(bands.size)]
        measured = run(command, "datatrove")
        files = sorted((Path(folder) / "clusters").glob("*.clusters"))
        found = np.concatenate([np.empty((0, 2), dtype=np.int64), *(_numbered(path, length) for path in files)])
    heads: dict[int, int] = {}
    keepers = np.arange(len(texts))
    for row, cluster in found[np.argsort(found[:, 0], kind="stable")].tolist():
        keepers[row] = heads.setdefault(cluster, row)
    return keepers, {**measured, "found": float((keepers != np.arange(len(texts))).mean())}


def _numbered(path: Path, length: int) -> NDArray[np.int64]:
    """(L, 2) rows of all texts and their clusters, from what datatrove wrote for one file of so many texts."""
    pairs = np.frombuffer(path.read_bytes(), dtype="<u4").reshape(-1, 2).astype(np.int64)
    pairs[:, 0] += int(path.stem) * length
    return pairs


def with_datatrove(folder: Path, num_buckets: int, hashes_per_bucket: int) -> dict[str, float]:
    """Seconds for signatures, buckets and clusters of the texts in a folder; run where datatrove is."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.text import TextNormConfig

    config = MinhashConfig(
        n_grams=3,
        num_buckets=num_buckets,
        hashes_per_bucket=hashes_per_bucket,
        norm_config=TextNormConfig(norm_numbers=False),
        hash_config=HashConfig(hash_fc="sha1"),
    )
    at = {name: str(folder / name) for name in ("texts", "signatures", "buckets", "clusters")}
    parts = len(list((folder / "texts").iterdir()))
    sign = [JsonlReader(at["texts"]), MinhashDedupSignature(output_folder=at["signatures"], config=config)]
    stages = (
        ("signing", sign, parts),
        ("buckets", [MinhashDedupBuckets(at["signatures"], at["buckets"], config=config)], num_buckets),
        ("clusters", [MinhashDedupCluster(at["buckets"], at["clusters"], config=config, save_cluster_id=True)], 1),
    )
    seconds: dict[str, float] = {}
    for name, steps, tasks in stages:
        began = time.perf_counter()
        log = str(folder / f"log_{name}")
        LocalPipelineExecutor(steps, tasks=tasks, workers=min(parts, tasks), logging_dir=log).run()
        seconds[name] = time.perf_counter() - began
    return {**seconds, "first": sum(seconds.values())}


def united(size: int, pairs: Iterable[tuple[int, int]]) -> Keepers:
    """The first text of each connected part."""
    keepers = list(range(size))

    def root(row: int) -> int:
        while keepers[row] != row:
            keepers[row] = keepers[keepers[row]]
            row = keepers[row]
        return row

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        keepers[high] = low
    return np.array([root(row) for row in range(size)])


def together(keepers: Keepers) -> set[tuple[int, int]]:
    """All pairs of texts in one cluster."""
    order = np.argsort(keepers, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(keepers[order])) + 1)
    return {(int(one), int(other)) for part in parts for at, other in enumerate(part) for one in part[:at]}


def judge(sample: int, interpreter: str | None) -> None:
    """Print the precision and recall of pairs, and whether datasketch finds our clusters in our signatures."""
    texts = random_texts(sample)
    truth = together(exact_keepers(texts))
    clusters = {
        JUDGED[0]: tamis_keepers(texts),
        JUDGED[1]: datasketch_keepers(texts, None),
        JUDGED[2]: datasketch_keepers(texts, signed(texts)),
    }
    if interpreter is None:
        print("datatrove is left out: it needs an environment of its own, see --help")
    else:
        clusters["datatrove"], _ = datatrove_keepers(texts, interpreter)
    print(f"{sample:,} texts, {len(truth):,} pairs in clusters of exact similarities")
    for name, keepers in clusters.items():
        pairs = together(keepers)
        both = len(pairs & truth)
        print(f"  {name:38} precision {both / max(1, len(pairs)):.4f}, recall {both / max(1, len(truth)):.4f}")
    same = np.array_equal(clusters[JUDGED[0]], clusters[JUDGED[2]])
    print(f"  datasketch finds the clusters of tamis in its signatures: {'yes' if same else 'no'}")


def child(side: str, rows: int, new: int) -> None:
    """Run one side, and print what it measured."""
    texts = random_texts(rows + new)
    if side == "datasketch":
        print(json.dumps(with_datasketch(texts, rows)))
    else:
        print(json.dumps(with_tamis(texts, rows if side == "tamis" else rows + new)))


def run(command: list[str], side: str) -> dict[str, float]:
    """What a child process measured, and the peak resident memory in MB of it or of one of its own."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert process.stdout is not None
    answer = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{side} ended with {process.returncode}")
    return {**json.loads(answer.splitlines()[-1]), "peak": usage.ru_maxrss / 1024}


def measure(side: str, rows: int, new: int) -> dict[str, float]:
    """One side, in a process of its own."""
    command = [sys.executable, str(Path(__file__)), "--child", side, "--rows", str(rows), "--new", str(new)]
    return run(command, side)


def spread(values: list[float]) -> str:
    """Least, middle and greatest value."""
    return f"min {min(values):8.2f}  median {statistics.median(values):8.2f}  max {max(values):8.2f}"


def main() -> None:
    """Print times, their ratios, the share found and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--new", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--sample", type=int, default=5000, help="texts whose clusters are compared")
    parser.add_argument("--datatrove", metavar="PYTHON", help="interpreter of an environment that has datatrove")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=(*SIDES, "datatrove"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child == "datatrove":
        print(json.dumps(with_datatrove(chosen.folder, chosen.rows, chosen.new)))
        return
    if chosen.child:
        child(chosen.child, chosen.rows, chosen.new)
        return
    judge(chosen.sample, chosen.datatrove)
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
    if chosen.datatrove:
        _, trove = datatrove_keepers(random_texts(chosen.rows), chosen.datatrove)
        stages = ", ".join(f"{name} {trove[name]:.0f} s" for name in ("signing", "buckets", "clusters"))
        print(f"datatrove, 1 run {trove['first']:.1f} s ({stages})")
        print(f"datatrove        found {trove['found']:.4f}, peak {trove['peak']:.0f} MB")
        print(f"datatrove / tamis, first   {trove['first'] / statistics.median(one['first'] for one in ours):.2f}")
    for name, above, below in (
        ("datasketch / tamis, first", [one["first"] for one in peer], [one["first"] for one in ours]),
        ("datasketch / tamis, new", [one["new"] for one in peer], [one["new"] for one in ours]),
        ("all again / new alone", [one["first"] for one in again], [one["new"] for one in ours]),
    ):
        print(f"{name:26} {spread([over / under for over, under in zip(above, below, strict=True)])}")


if __name__ == "__main__":
    main()
