import numpy as np
import polars as pl
import pytest

from benchmarks.results import betr_table
from benchmarks.results.word_model import BEGIN, Vocabulary, WordModel

TEXTS = ["a b c a b d", "a b c", "c b a d d d", "b d a c"]


@pytest.mark.parametrize("context", [(BEGIN, BEGIN), (2, 3), (3, 4), (5, 5), (0, 2), (2, 0)])
def test_probabilities_of_all_words_behind_a_context_sum_to_one(context):
    vocabulary = Vocabulary.of(TEXTS)
    rows = np.array([[*context, word] for word in range(len(vocabulary))])
    found = WordModel.trained(TEXTS, vocabulary).probabilities(rows)
    assert found.min() > 0
    np.testing.assert_allclose(found.sum(), 1, rtol=1e-12)


def test_a_probability_by_hand():
    # Trigrams and pairs of "a a b" occur once each, none twice: their discount is 1, all is left to the single words.
    vocabulary = Vocabulary.of(["a a b"], least=1)
    assert len(vocabulary) == 4
    found = WordModel.trained(["a a b"], vocabulary).probabilities(np.array([[2, 2, 3]]))
    # Of these a stands behind 2 different words, b behind 1: discount 1 / (1 + 2) and, for b, (1 - 1/3) / 3 of its own
    # and 2 * 1/3 / 3 of the uniform share of 4 words.
    np.testing.assert_allclose(found, [2 / 9 + 2 / 9 / 4], rtol=1e-12)


def test_texts_like_those_learnt_from_are_less_perplexing():
    vocabulary = Vocabulary.of(TEXTS)
    model = WordModel.trained(TEXTS, vocabulary)
    assert model.perplexity(["a b c"]) < model.perplexity(["d c b"])


def test_the_table_is_written_between_its_marks(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    about = {"science_textbook": "atom heat cell acid", "fiction": "sail mast tide crew", "math_textbook": "sum root"}

    def text(words: str, length: int) -> str:
        return " ".join(rng.choice([*words.split() * 2, "the", "of", "and"], length))

    domains = ["science_textbook", "fiction", "fiction", "math_textbook"] * 15
    pool = {"id": range(60), "text": [text(about[one], 20) for one in domains], "domain": domains}
    pl.DataFrame(pool).write_parquet(tmp_path / "betr_pool.parquet")
    names = [*betr_table.EXAMS, "boolq"] * 8
    split = ["train"] * 20 + ["test"] * 20
    words = [about["fiction"] if name == "boolq" else about["science_textbook"] for name in names]
    asked = {"id": range(40), "benchmark": names, "split": split, "text": [text(one, 8) for one in words]}
    gold = [1 if name == "boolq" else None for name in names]
    pl.DataFrame({**asked, "gold_doc_id": gold}).write_parquet(tmp_path / "betr_benchmarks.parquet")
    document = tmp_path / "results.md"
    document.write_text("before\n\n<!-- betr_pool -->\nold\n<!-- end of betr_pool -->\n\nafter\n")
    monkeypatch.setattr(betr_table, "METHODS", betr_table.METHODS[:2])
    arguments = ["--data", str(tmp_path), "--document", str(document), "--kept", str(tmp_path / "kept")]
    betr_table.main(arguments)
    text_now = document.read_text()
    assert text_now.startswith("before")
    assert text_now.endswith("after\n")
    assert "old" not in text_now
    row, mixed = [line for line in text_now.splitlines() if line.startswith("| `betr")]
    assert "| 100.0 % |" in row
    assert mixed.startswith("| `betr_mixed` | 100.0 % |")
    assert "again the same" in row
    # What is kept is not made again, unless what it is made of has changed.
    monkeypatch.setattr(betr_table.Trial, "read", None)
    document.write_text("")
    betr_table.main(arguments)
    assert row in document.read_text()
    with pytest.raises(TypeError, match="not callable"):
        betr_table.main([*arguments, "--documents", "50"])
