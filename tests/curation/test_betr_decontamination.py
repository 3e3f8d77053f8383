import numpy as np
import pytest

from curation.decontamination import evaluation_ngrams, shared_ngrams

EVALUATION = ["One two three four!", "five six", "two, three FOUR seven"]


def slow_shared(pool: list[str], evaluation: list[str], size: int) -> list[int]:
    def grams(text: str) -> list[tuple[str, ...]]:
        words = "".join(letter if letter.isalnum() else " " for letter in text.casefold()).split()
        return [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]

    wanted = {gram for text in evaluation for gram in grams(text)}
    return [sum(gram in wanted for gram in grams(text)) for text in pool]


def test_shared_ngrams_by_hand():
    known = evaluation_ngrams(EVALUATION, 3)
    # one-two-three, two-three-four and three-four-seven; of "five six" there is none.
    assert len(known.hashes) == 3
    assert known.num_short == 1
    found = shared_ngrams(
        lambda: [["zero one two-three four", "five six"], ["three four seven three four seven", ""]], known
    )
    assert found.num_shared.tolist() == [2, 0, 2, 0]
    assert found.num_ngrams.tolist() == [3, 0, 4, 0]
    assert found.evaluation.tolist() == [0, -1, 2, -1]


def test_an_ngram_belongs_to_the_first_text_that_has_it():
    known = evaluation_ngrams(EVALUATION, 3)
    found = shared_ngrams(lambda: [["two three four"]], known)
    assert found.evaluation.tolist() == [0]


def test_ngrams_that_the_pool_repeats_too_often_are_ignored():
    known = evaluation_ngrams(["a b c", "d e f"], 3)
    pool = ["a b c"] * 4 + ["d e f"]
    assert shared_ngrams(lambda: [pool], known, 4).num_shared.tolist() == [1, 1, 1, 1, 1]
    found = shared_ngrams(lambda: [pool[:2], pool[2:]], known, 3)
    assert found.num_shared.tolist() == [0, 0, 0, 0, 1]
    assert found.num_ignored == 1


@pytest.mark.parametrize("size", [1, 2, 4])
def test_counts_are_those_of_comparing_word_for_word_in_blocks_of_any_size(size):
    rng = np.random.default_rng(size)
    words = ["Sieve", "sieve,", "drum", "-", "a", "b;", "C"]
    pool = [" ".join(rng.choice(words, size=rng.integers(0, 12))) for _ in range(40)]
    evaluation = [" ".join(rng.choice(words, size=rng.integers(0, 8))) for _ in range(6)]
    known = evaluation_ngrams(evaluation, size)
    for blocks in ([pool], [pool[:7], [], pool[7:]]):
        found = shared_ngrams(lambda blocks=blocks: blocks, known)
        assert found.num_shared.tolist() == slow_shared(pool, evaluation, size)
        assert ((found.evaluation >= 0) == (found.num_shared > 0)).all()


def test_a_planted_evaluation_text_is_found_and_nothing_else():
    rng = np.random.default_rng(0)
    pool = [" ".join(f"w{number}" for number in rng.integers(5000, size=60)) for _ in range(50)]
    question = "Which of these is most likely to happen when the water in a lake turns to ice in winter?"
    pool[17] += f" {question.upper()} nothing"
    found = shared_ngrams(lambda: [pool], evaluation_ngrams([pool[3][:20], question]))
    assert np.flatnonzero(found.num_shared).tolist() == [17]
    assert found.num_shared[17] == 19 - 13 + 1
    assert found.evaluation[17] == 1


def test_an_empty_pool_and_no_evaluation_text_share_nothing():
    known = evaluation_ngrams([])
    assert shared_ngrams(lambda: [["some words"]], known).num_shared.tolist() == [0]
    assert shared_ngrams(lambda: [], known).num_shared.tolist() == []


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        evaluation_ngrams(["a"], 0)
    with pytest.raises(ValueError, match="most_in_pool must be at least 1, got 0"):
        shared_ngrams(lambda: [[]], evaluation_ngrams(["a"]), 0)
