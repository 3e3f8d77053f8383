import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.shingles import check_shingle, mixed, normalized, shingles

MASK = (1 << 64) - 1


def mix_by_hand(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return value ^ (value >> 31)


def sequence_by_hand(values: list[int]) -> int:
    golden = 0x9E3779B97F4A7C15
    return mix_by_hand(
        sum(mix_by_hand((value + (place + 1) * golden) & MASK) for place, value in enumerate(values)) & MASK
    )


def shingles_by_hand(text: str, unit: str, size: int) -> list[int]:
    if unit == "char":
        units = [mix_by_hand(ord(letter)) for letter in text]
    else:
        units = [sequence_by_hand(list(map(ord, word))) for word in text.split(" ") if word]
    if not units:
        return []
    return [sequence_by_hand(units[start : start + size]) for start in range(max(1, len(units) - size + 1))]


def test_the_mixer_gives_the_published_numbers():
    # First outputs of SplitMix64 seeded with 1234567, as listed with its reference code by Vigna.
    states = np.array([(1234567 + step * 0x9E3779B97F4A7C15) & MASK for step in (1, 2, 3)], dtype=np.uint64)
    assert mixed(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_case_width_and_white_space_do_not_count():
    assert normalized("  Two\tWORDS \n") == "two words"
    assert normalized("ﬁne\u00a0Ｗide straße") == "fine wide strasse"
    assert normalized("e\u0301") == normalized("\u00e9")


def test_a_text_has_a_shingle_for_each_run_and_a_short_one_has_one():
    found = shingles(["a b c d", "", "a b", "a b c"], "word", 3)
    assert found.offsets.tolist() == [0, 2, 2, 3, 4]
    assert found.hashes[3] == found.hashes[0]
    assert found.hashes[2] not in found.hashes[:2]
    letters = shingles(["abcd", "bcd", ""], "char", 3)
    assert letters.offsets.tolist() == [0, 2, 3, 3]
    assert letters.hashes[1] == letters.hashes[2]


def test_order_and_borders_of_words_matter():
    for one, other in (("a b", "b a"), ("ab c", "a bc"), ("aa", "a"), ("aa a", "a aa")):
        hashes = shingles([one, other], "word", 2).hashes
        assert hashes[0] != hashes[1]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text(alphabet="ab é𝔸", max_size=12), max_size=6),
    st.sampled_from(["word", "char"]),
    st.integers(1, 4),
)
def test_blocks_of_texts_agree_with_a_loop_over_each(texts, unit, size):
    texts = [normalized(text) for text in texts]
    found = shingles(texts, unit, size)
    parts = [found.hashes[begin:end].tolist() for begin, end in zip(found.offsets[:-1], found.offsets[1:], strict=True)]
    assert parts == [shingles_by_hand(text, unit, size) for text in texts]


def test_a_hundred_thousand_words_have_as_many_hashes():
    assert len(np.unique(shingles([" ".join(map(str, range(100_000)))], "word", 1).hashes)) == 100_000


def test_unknown_units_and_sizes_are_refused():
    with pytest.raises(ValueError, match="unit must be one of word, char, got 'byte'"):
        check_shingle("byte", 1)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        check_shingle("word", 0)
