from hashlib import blake2b

import numpy as np
import pytest

from curation.examiners.content_hash import ContentHash, content_hashes
from storage.index import ExampleIndex


def hashed(examiner: ContentHash, **columns: np.ndarray) -> np.ndarray:
    size = len(next(iter(columns.values())))
    return examiner(ExampleIndex(f"world:{number}" for number in range(size)), columns)["content_hash"]


def test_a_hash_is_the_first_16_bytes_of_blake2b():
    digest = blake2b(b"abc", digest_size=16).digest()
    assert digest.hex() == "cf4ab791c62b8d2b2109c90275287816"
    assert content_hashes([b"abc"]).tolist() == [[0x2B8D2BC691B74ACF, 0x1678287502C90921]]
    assert content_hashes([b"abc"])[0, 0] == int.from_bytes(digest[:8], "little")
    assert content_hashes([]).shape == (0, 2)


def test_equal_rows_of_features_and_only_they_have_equal_hashes():
    rows = np.array([[[0.0, 1.0]], [[-0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]], dtype=np.float32)
    found = hashed(ContentHash(), inputs=rows)
    assert (found[0] == found[1]).all()
    assert (found[0] == found[3]).all()
    assert (found[0] != found[2]).all()
    images = np.random.default_rng(0).integers(0, 2, size=(300, 2, 3), dtype=np.uint8)
    assert len(np.unique(hashed(ContentHash(), inputs=images), axis=0)) == len(
        np.unique(images.reshape(300, 6), axis=0)
    )


def test_a_normalised_text_is_hashed_without_case_and_spaces():
    cells = np.array(["A  text ", "a text", "atext", "A  text "], dtype=object)
    exact = hashed(ContentHash(column="body"), body=cells)
    loose = hashed(ContentHash(column="body", form="normalized"), body=cells)
    assert len(np.unique(exact, axis=0)) == 3
    assert (exact[0] == exact[3]).all()
    assert len(np.unique(loose, axis=0)) == 2
    assert (loose[0] == loose[1]).all()


def test_what_is_no_setting_or_no_feature_is_refused():
    with pytest.raises(ValueError, match="form must be one of exact, normalized, got 'loose'"):
        ContentHash(column="body", form="loose")
    with pytest.raises(ValueError, match="form 'normalized' has no effect on features; name a text column"):
        ContentHash(form="normalized")
    with pytest.raises(ValueError, match="column must name a text column, got 'inputs'"):
        ContentHash(column="inputs")
    with pytest.raises(ValueError, match="the features must be numbers, got <U1"):
        hashed(ContentHash(), inputs=np.array(["a"]))
