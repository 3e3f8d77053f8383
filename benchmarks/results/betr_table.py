"""Documents like the examples of benchmarks: BETR beside its peers on a pool of twelve domains.

    python -m benchmarks.results.betr_table --data $TAMIS_DATA [--document docs/results.md] [--documents N]
                                            [--kept FOLDER]

Reads `betr_pool.parquet` (id, text, domain) and `betr_benchmarks.parquet` (id, benchmark, split, text, gold_doc_id).
Each method keeps the highest scores that make up a tenth of the pool's words. Two runs, with training examples alone as
targets. With school exams: the share of kept words that textbooks of science and mathematics have (domain
precision), and the perplexity, on test examples of these exams, of a trigram model trained on what is kept. With BoolQ:
the share of the passages kept that its test questions were written from (recall). A row is written when it ends.
"""

import argparse
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.results.document import markdown
from benchmarks.results.dsir_package import VERSION, is_installed, package_weights
from benchmarks.results.kept_rows import Row, digest, rows_of
from benchmarks.results.word_model import Vocabulary, WordModel
from curation.examiners.ngram_counts import NgramCounts
from curation.examiners.num_tokens import NumTokens
from curation.latent_ngrams import LatentNgrams
from curation.scorer import Scorer, scores_at
from curation.scorers.betr import BETR
from curation.scorers.betr_mixed import BETRMixed
from curation.scorers.cosine_max import CosineMax
from curation.scorers.dsir import DSIR
from curation.scorers.target_classifier import TargetClassifier
from curation.selectors.token_budget import TokenBudget
from storage.index import ExampleIndex
from storage.values import Scores, Signals

Kept = NDArray[np.bool_]

EXAMS = ("arc_easy", "arc_challenge", "openbookqa", "gsm8k")
TEXTBOOKS = ("science_textbook", "math_textbook")
"""Domains that the exams are about."""
TOKEN_FRACTION = 0.1
RANDOM_SEEDS = 5
WORDS, PAIRS = (1,), (1, 2)
METHODS: tuple[tuple[str, tuple[int, ...], Scorer], ...] = (
    ("betr", WORDS, BETR(num_dimensions=512, penalty=100.0)),
    ("betr_mixed", WORDS, BETRMixed(penalty=100.0)),
    ("cosine_max", WORDS, CosineMax(num_dimensions=512)),
    ("target_classifier", WORDS, TargetClassifier(penalty=10.0)),
    ("dsir", PAIRS, DSIR()),
)
"""Name, sizes of n-grams and settings, as chosen on 5,000 documents by domain precision for the exams; those of
`betr_mixed` are the ones of `betr`."""
EMBEDDING = LatentNgrams(column="text", num_dimensions=256)
"""Of documents and targets where a method reads one; fitted on documents alone."""
BEGIN, END = "<!-- betr_pool -->", "<!-- end of betr_pool -->"


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Documents, in an order that does not say anything of them."""

    index: ExampleIndex
    texts: list[str]
    domains: NDArray[np.object_]
    num_tokens: NDArray[np.int64]

    @classmethod
    def read(cls, path: Path, most: int | None) -> "Pool":
        """The documents of a file; of more than `most` so many, drawn."""
        frame = pl.read_parquet(path, columns=["id", "text", "domain"])
        frame = frame if most is None else frame.sample(min(most, len(frame)), seed=0)
        index = ExampleIndex(f"pool:{key}" for key in frame["id"])
        texts = frame["text"].to_list()
        tokens = NumTokens(column="text")(index, {"text": np.array(texts, dtype=object)})["num_tokens"]
        return cls(index=index, texts=texts, domains=frame["domain"].to_numpy(), num_tokens=tokens)

    def kept(self, scorer: Scorer, signals: Signals) -> Kept:
        """(N,) documents that a score keeps; they are the first rows of the signals."""
        return self.kept_by(scores_at(scorer(signals), np.arange(len(self.texts))))

    def kept_by(self, scores: Scores) -> Kept:
        """(N,) documents that scores of all of them keep."""
        rule = TokenBudget(score="it", token_fraction=TOKEN_FRACTION)
        own = Signals(index=self.index, arrays={"num_tokens": self.num_tokens})
        return rule(own, {"it": scores}, np.random.default_rng(0)).kept

    def drawn(self, seed: int) -> Kept:
        """(N,) documents kept at random, as many as have a tenth of the tokens."""
        order = np.random.default_rng(seed).permutation(len(self.texts))
        kept = np.zeros(len(order), dtype=np.bool_)
        kept[order[np.cumsum(self.num_tokens[order]) <= TOKEN_FRACTION * self.num_tokens.sum()]] = True
        return kept

    def precision(self, kept: Kept) -> float:
        """Share of the kept tokens that textbooks have."""
        return float(self.num_tokens[kept & np.isin(self.domains, TEXTBOOKS)].sum() / self.num_tokens[kept].sum())

    def recall(self, kept: Kept, wanted: Sequence[int]) -> float:
        """Share of the wanted documents, those of them that are in the pool, that are kept."""
        keys = {f"pool:{key}" for key in wanted}
        there = np.array([one in keys for one in self.index.ids])
        return float(kept[there].mean())


def signals_of(pool: Pool, targets: pl.DataFrame, sizes: tuple[int, ...]) -> Signals:
    """N-gram counts of documents, then targets; which benchmark each target is of."""
    names = targets["benchmark"].unique().sort().to_list()
    ids = [*pool.index.ids, *(f"target:{key}" for key in targets["id"])]
    texts = np.array([*pool.texts, *targets["text"]], dtype=object)
    counts = NgramCounts(column="text", sizes=sizes)(ExampleIndex(ids), {"text": texts})
    benchmark = np.array([*[-1] * len(pool.texts), *(names.index(name) for name in targets["benchmark"])])
    return Signals(index=ExampleIndex(ids), arrays={**counts, "benchmark": benchmark})


def with_embedding(pool: Pool, targets: pl.DataFrame, signals: Signals) -> Signals:
    """The signals with an embedding beside them, as a recipe's `[embedding]` makes it of the pool and maps targets."""
    places = pool.index.positions(EMBEDDING.drawn(pool.index.ids))
    space = EMBEDDING.fitted([pool.texts[place] for place in places])
    embedding = EMBEDDING.embedded([*pool.texts, *targets["text"]], space)
    return Signals(index=signals.index, arrays={**signals.arrays, "embedding": embedding})


def equal_numbers(targets: pl.DataFrame) -> pl.DataFrame:
    """As many examples of each benchmark as the smallest has, drawn."""
    least = min(targets.group_by("benchmark").len()["len"])
    drawn = targets.sort("id").sample(fraction=1.0, shuffle=True, seed=0)
    return drawn.group_by("benchmark", maintain_order=True).head(least).sort("id")


def kept_digest(pool: Pool, kept: Kept) -> str:
    """First digits of the SHA-256 hash of the kept ids."""
    ids = "\n".join(sorted(pool.index.ids.filter(pl.Series(kept))))
    return hashlib.sha256(ids.encode()).hexdigest()[:12]


def main(arguments: Sequence[str] | None = None) -> None:
    """Select with every method for both kinds of targets, and write the table row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets' Parquet files")
    parser.add_argument("--document", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--documents", type=int, help="documents drawn from the pool; else all")
    parser.add_argument("--without-boolq", action="store_true", help="leave recall out, as in choosing settings")
    parser.add_argument("--kept", type=Path, help="folder with rows that need not be made again")
    chosen = parser.parse_args(arguments)
    began = time.perf_counter()
    paths = [chosen.data / "betr_pool.parquet", chosen.data / "betr_benchmarks.parquet"]
    of = digest(paths, f"{chosen.documents} {chosen.without_boolq}")
    trial = cache(lambda: Trial.read(*paths, chosen.documents, with_boolq=not chosen.without_boolq))
    parts: dict[str, Callable[[], list[Row]]] = {"random": lambda: [trial().random_row()]}
    for name, sizes, scorer in METHODS:
        parts[name] = partial(_rows, trial, name, sizes, scorer)
    if is_installed():
        parts["package"] = lambda: [trial().package_row()]
    rows: list[Row] = []
    for name, make in parts.items():
        rows += rows_of(chosen.kept, f"betr_{name}", of, make)
        write(chosen.document, rows)
        print(f"{time.perf_counter() - began:6.0f} s  " + "  ".join(rows[-1].values()), flush=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """The pool, what to look for in it, and what a selection is judged by."""

    pool: Pool
    exams: pl.DataFrame
    """Training examples of the exams, as many of each; one kind of targets."""
    boolq: pl.DataFrame | None
    """Training examples of BoolQ, the other kind; None leaves recall out."""
    held_out: list[str]
    """Test examples of the exams."""
    gold: list[int]
    """Documents that BoolQ's test questions were written from."""
    vocabulary: Vocabulary
    """Of the pool and the exams."""

    @classmethod
    def read(cls, pool: Path, benchmarks: Path, most: int | None, *, with_boolq: bool) -> "Trial":
        """From the two files; of more than `most` documents so many, drawn."""
        documents = Pool.read(pool, most)
        questions = pl.read_parquet(benchmarks, columns=["id", "benchmark", "split", "text", "gold_doc_id"])
        training = questions.filter(pl.col("split") == "train")
        exams = equal_numbers(training.filter(pl.col("benchmark").is_in(EXAMS)))
        tested = questions.filter(pl.col("split") == "test")
        return cls(
            pool=documents,
            exams=exams,
            boolq=training.filter(pl.col("benchmark") == "boolq") if with_boolq else None,
            held_out=tested.filter(pl.col("benchmark").is_in(EXAMS))["text"].to_list(),
            gold=tested["gold_doc_id"].drop_nulls().unique().to_list(),
            vocabulary=Vocabulary.of([*documents.texts, *exams["text"]]),
        )

    def random_row(self) -> Row:
        """Documents drawn at random, several times."""
        random = [self.pool.drawn(seed) for seed in range(RANDOM_SEEDS)]
        recall = "" if self.boolq is None else spread([100 * self.pool.recall(one, self.gold) for one in random], "%")
        return {
            "documents kept": f"random, {RANDOM_SEEDS} seeds",
            "textbook share of words": spread([100 * self.pool.precision(one) for one in random], "%"),
            "perplexity": spread([self.perplexity(one) for one in random], ""),
            "BoolQ passages": recall,
            "ids": "",
        }

    def row(self, name: str, sizes: tuple[int, ...], scorer: Scorer) -> Row:
        """What a method keeps for the exams, and for BoolQ."""
        signals = self._signals(self.exams, sizes, scorer)
        kept = self.pool.kept(scorer, signals)
        row = {
            "documents kept": f"`{name}`",
            "textbook share of words": f"{100 * self.pool.precision(kept):.1f} %",
            "perplexity": f"{self.perplexity(kept):.1f}",
            "BoolQ passages": "",
            "ids": kept_digest(self.pool, kept),
        }
        if name == "betr":
            again = kept_digest(self.pool, self.pool.kept(scorer, signals)) == row["ids"]
            row["ids"] += ", again the same" if again else ", then others"
        if self.boolq is not None:
            del signals
            kept = self.pool.kept(scorer, self._signals(self.boolq, sizes, scorer))
            row["BoolQ passages"] = f"{100 * self.pool.recall(kept, self.gold):.1f} %"
        return row

    def _signals(self, targets: pl.DataFrame, sizes: tuple[int, ...], scorer: Scorer) -> Signals:
        signals = signals_of(self.pool, targets, sizes)
        return with_embedding(self.pool, targets, signals) if "embedding" in scorer.reads else signals

    def package_row(self) -> Row:
        """What DSIR's own package keeps, the documents of highest weight as for `dsir`."""
        kept = self._kept_by_package(self.exams)
        return {
            "documents kept": f"data-selection {VERSION}",
            "textbook share of words": f"{100 * self.pool.precision(kept):.1f} %",
            "perplexity": f"{self.perplexity(kept):.1f}",
            "BoolQ passages": ""
            if self.boolq is None
            else f"{100 * self.pool.recall(self._kept_by_package(self.boolq), self.gold):.1f} %",
            "ids": kept_digest(self.pool, kept),
        }

    def _kept_by_package(self, targets: pl.DataFrame) -> Kept:
        weights = package_weights(self.pool.texts, targets["text"].to_list())
        return self.pool.kept_by(Scores(index=self.pool.index, values=weights, high_means="similar"))

    def perplexity(self, kept: Kept) -> float:
        """On held-out texts, of a model trained on the kept documents."""
        model = WordModel.trained([self.pool.texts[place] for place in np.flatnonzero(kept)], self.vocabulary)
        return model.perplexity(self.held_out)


def _rows(trial: Callable[[], Trial], name: str, sizes: tuple[int, ...], scorer: Scorer) -> list[Row]:
    return [trial().row(name, sizes, scorer)]


def spread(values: Sequence[float], unit: str) -> str:
    """Mean over seeds and its standard error."""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.1f} ± {error:.1f} {unit}".rstrip()


def write(document: Path, rows: Sequence[Row]) -> None:
    """Put the rows between their marks in the document, or at its end."""
    text = document.read_text(encoding="utf-8")
    section = f"{BEGIN}\n\n{markdown(rows)}\n\n{END}"
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    found = pattern.search(text) is not None
    text = pattern.sub(lambda _: section, text) if found else f"{text.rstrip()}\n\n{section}\n"
    document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
