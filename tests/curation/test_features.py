import numpy as np
import pytest

from curation.examiners.features import Features
from storage.index import ExampleIndex

INDEX = ExampleIndex(["world:0", "world:1"])


def test_features_are_flattened_shifted_and_scaled():
    images = np.array([[[0, 255], [51, 102]], [[1, 2], [3, 4]]], dtype=np.uint8)
    assert Features()(INDEX, {"inputs": images})["embedding"].tolist() == [[0, 255, 51, 102], [1, 2, 3, 4]]
    found = Features(scale=(255.0,))(INDEX, {"inputs": images})["embedding"]
    np.testing.assert_allclose(found[0], [0, 1, 0.2, 0.4], rtol=1e-7)
    rows = np.array([[3.0, 10.0], [5.0, 30.0]])
    found = Features(mean=(3.0, 20.0), scale=(2.0, 10.0))(INDEX, {"inputs": rows})["embedding"]
    assert found.tolist() == [[0, -1], [1, 1]]
    assert found.dtype == np.float32


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="scale must be above 0, got 0"):
        Features(scale=(1.0, 0.0))
    with pytest.raises(ValueError, match="mean must hold finite numbers, at least one"):
        Features(mean=())
    with pytest.raises(ValueError, match="mean must hold 1 number or 3, one a feature, got 2"):
        Features(mean=(1.0, 2.0))(INDEX, {"inputs": np.ones((2, 3))})
    with pytest.raises(ValueError, match="leave the range of single precision"):
        Features(scale=(1e-30,))(INDEX, {"inputs": np.full((2, 3), 1e30)})
