import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from curation.examiners.hashed_ngrams import HashedNgrams, projected
from curation.shingles import shingles
from storage.index import ExampleIndex


def embedded(texts: list[str], **settings) -> np.ndarray:
    index = ExampleIndex(f"world:{number}" for number in range(len(texts)))
    return HashedNgrams(column="text", **settings)(index, {"text": np.array(texts, dtype=object)})["embedding"]


def random_texts(num_texts: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{word}" for word in rng.integers(30, size=rng.integers(4, 20))) for _ in range(num_texts)]


def test_counts_add_up_in_the_projection():
    sums = projected(shingles(["a", "b", "a b a"], "word", 1), 16, 4, seed=0)
    np.testing.assert_array_equal(sums[2], 2 * sums[0] + sums[1])
    assert np.abs(sums[0]).sum() == 4
    assert not (sums[0] == sums[1]).all()


def test_a_length_of_one_by_hand():
    found = embedded(["a", "a a", ""], sizes=(1,), num_dimensions=64, num_signs=4)
    np.testing.assert_array_equal(found[0], found[1])
    # Four signs at distinct places are 1 / sqrt(4) = 0.5 each.
    assert np.count_nonzero(found[0]) == 4
    assert set(np.abs(found[0][found[0] != 0]).tolist()) == {0.5}
    assert found[2].tolist() == [0] * 64
    assert found.dtype == np.float32


@pytest.mark.parametrize("sizes", [(1,), (1, 2)])
def test_cosines_are_near_those_of_the_counts_themselves(sizes):
    texts = random_texts(80, seed=1)
    counts = CountVectorizer(ngram_range=(min(sizes), max(sizes)), token_pattern=r"\S+").fit_transform(texts).toarray()
    counts = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    found = embedded(texts, sizes=sizes, num_dimensions=4096)
    errors = found @ found.T - counts @ counts.T
    # Of order 1 / sqrt(4096) = 0.016.
    assert np.abs(errors.mean()) < 0.004
    assert errors.std() < 0.02


def test_another_seed_is_another_projection_with_the_same_likenesses():
    texts = random_texts(30, seed=2)
    first, second = (embedded(texts, seed=seed, num_dimensions=4096) for seed in (0, 1))
    assert np.abs(first - second).max() > 0.1
    assert np.abs(first @ first.T - second @ second.T).max() < 0.2


def test_settings_outside_their_range_are_refused():
    for settings, message in (
        ({"sizes": ()}, r"sizes must name at least one size and none twice, got \(\)"),
        ({"sizes": (1, 1)}, "none twice"),
        ({"sizes": (0,)}, "size must be at least 1, got 0"),
        ({"num_dimensions": 1}, "num_dimensions must be at least 2, got 1"),
        ({"num_signs": 0}, "num_signs must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            HashedNgrams(column="text", **settings)
