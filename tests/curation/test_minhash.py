from itertools import pairwise

import numpy as np
import pytest
from datasketch import MinHash as Sketch

from curation.examiners import minhash
from curation.examiners.minhash import MinHash, affine_maps, signatures
from curation.shingles import normalized, shingles
from storage.index import ExampleIndex


def signed(texts: list[str], **settings) -> np.ndarray:
    index = ExampleIndex(f"world:{number}" for number in range(len(texts)))
    return MinHash(column="text", **settings)(index, {"text": np.array(texts, dtype=object)})["minhash"]


def sketch(hashes: np.ndarray, num_hashes: int, seed: int) -> Sketch:
    found = Sketch(num_perm=num_hashes, seed=seed, hashfunc=int, scheme="affine32")
    found.update_batch(hashes.tolist())
    return found


def random_texts(num_texts: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{word}" for word in rng.integers(40, size=rng.integers(0, 30))) for _ in range(num_texts)]


def test_a_signature_by_hand():
    # The finaliser maps 1 to 0x514E28B7 (MurmurHash3's published fmix32) and 0 to 0.
    hashes = np.array([1, 0], dtype=np.uint32)
    factors, terms = affine_maps(3, seed=5)
    expected = [
        min((0x514E28B7 * int(factor) + int(term)) % 2**32, int(term))
        for factor, term in zip(factors, terms, strict=True)
    ]
    assert (factors % 2 == 1).all()
    assert signatures(hashes, np.array([0, 2]), 3, seed=5).tolist() == [expected]


@pytest.mark.parametrize("seed", [1, 7])
@pytest.mark.parametrize("num_hashes", [16, 128])
def test_signatures_are_those_of_datasketch_on_the_same_hashes(num_hashes, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 12, size=60)
    hashes = rng.integers(2**32, size=lengths.sum(), dtype=np.uint32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    found = signatures(hashes, offsets, num_hashes, seed)
    for row, (begin, end) in enumerate(pairwise(offsets)):
        np.testing.assert_array_equal(found[row], sketch(hashes[begin:end], num_hashes, seed).hashvalues)


def test_texts_get_the_signatures_of_their_shingles():
    texts = random_texts(20)
    found = signed(texts, num_hashes=32)
    for row, text in enumerate(texts):
        hashes = (shingles([normalized(text)], "word", 3).hashes >> np.uint64(32)).astype(np.uint32)
        np.testing.assert_array_equal(found[row], sketch(hashes, 32, seed=1).hashvalues)


def test_agreement_estimates_the_jaccard_similarity_of_the_shingle_sets():
    texts = random_texts(60, seed=3)
    sets = [{text.split()[place] for place in range(len(text.split()))} for text in texts]
    found = signed(texts, size=1, num_hashes=512)
    errors = []
    for first in range(len(texts)):
        for second in range(first):
            if sets[first] and sets[second]:
                exact = len(sets[first] & sets[second]) / len(sets[first] | sets[second])
                errors.append((found[first] == found[second]).mean() - exact)
    # The standard error is at most 0.5 / sqrt(512) = 0.022.
    assert np.abs(np.mean(errors)) < 0.005
    assert np.std(errors) < 0.022
    assert np.abs(errors).max() < 0.11


def test_the_size_of_a_block_changes_nothing(monkeypatch):
    texts = random_texts(50)
    whole = signed(texts)
    monkeypatch.setattr(minhash, "TEXTS_AT_ONCE", 7)
    np.testing.assert_array_equal(signed(texts), whole)


def test_empty_texts_agree_with_each_other_and_hardly_with_others():
    found = signed(["", "  ", "a word"], num_hashes=64)
    assert (found[0] == 2**32 - 1).all()
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).sum() == 0


def test_settings_outside_their_range_are_refused():
    for settings, message in (
        ({"num_hashes": 1}, "num_hashes must be at least 2, got 1"),
        ({"seed": -1}, r"seed must be in \[0, 2\^32\), got -1"),
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"unit": "line"}, "unit must be one of word, char, got 'line'"),
    ):
        with pytest.raises(ValueError, match=message):
            MinHash(column="text", **settings)
