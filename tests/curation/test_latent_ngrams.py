import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.latent_ngrams import LatentNgrams
from curation.latent_space import LatentSpace

METHOD = LatentNgrams(column="text", num_buckets=64, num_dimensions=3)
TEXTS = ["atom heat cell", "cell heat", "sail mast tide", "tide mast crew", "atom cell cell", "crew sail"]
SPACE = METHOD.fitted(TEXTS)


def test_the_space_is_that_of_the_singular_vectors_of_the_weighted_counts():
    words = sorted({word for text in TEXTS for word in text.split()})
    counts = np.array([[text.split().count(word) for word in words] for text in TEXTS])
    rare = 1 + np.log((1 + len(TEXTS)) / (1 + (counts > 0).sum(axis=0)))
    rows = np.where(counts > 0, (1 + np.log(np.maximum(counts, 1))) * rare, 0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = rows @ np.linalg.svd(rows)[2][:3].T
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    embedding = METHOD.embedded(TEXTS, SPACE)
    np.testing.assert_allclose(embedding @ embedding.T, found @ found.T, atol=1e-5)
    assert embedding.dtype == np.float32
    assert abs(embedding[:2] @ embedding[2:4].T).max() < 0.1


@given(texts=st.lists(st.text(alphabet="atom el", max_size=12), min_size=1, max_size=6))
@settings(deadline=None, max_examples=20)
def test_a_text_has_the_same_bits_whatever_stands_beside_it_and_in_a_space_made_of_its_arrays(texts):
    together = METHOD.embedded(texts, SPACE)
    again = LatentSpace.from_state({name: array.copy() for name, array in SPACE.state.items()})
    for row, text in zip(together, texts, strict=True):
        np.testing.assert_array_equal(row, METHOD.embedded([text], again)[0])


def test_texts_without_ngrams_are_zeros_and_cannot_be_fitted_on():
    assert not METHOD.embedded(["", "  "], SPACE).any()
    with pytest.raises(ValueError, match="none of the 2 texts to fit on has an n-gram; see column 'text'"):
        METHOD.fitted(["", "  "])


def test_the_texts_that_are_drawn_do_not_depend_on_the_order_of_the_rows():
    ids = pl.Series([f"a:{one:03}" for one in range(50)])
    method = LatentNgrams(column="text", most_fitted=9)
    drawn = method.drawn(ids)
    assert len(drawn) == 9
    assert drawn.to_list() == method.drawn(ids.reverse()).to_list() == drawn.sort().to_list()
    assert drawn.to_list() != LatentNgrams(column="text", most_fitted=9, seed=1).drawn(ids).to_list()
    assert len(LatentNgrams(column="text").drawn(ids)) == 50
