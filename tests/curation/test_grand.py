import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from curation.scorers.el2n import error_l2_norm
from curation.scorers.grand import GraNd, last_layer_gradient_norm
from curation.softmax import log_softmax
from storage.index import ExampleIndex
from storage.values import Signals
from tests.worlds import planted_flips


def test_three_norms_worked_out_by_hand():
    # Probabilities (0.7, 0.2, 0.1), features (3, 4) of norm 5: sqrt(0.14) * sqrt(26) = 1.907878 for
    # class 0, sqrt(1.14) * sqrt(26) = 5.444263 for class 1; without features the error norm alone.
    logits = np.log([[0.7, 0.2, 0.1]] * 3)
    norms = last_layer_gradient_norm(logits, np.array([0, 1, 0]), np.array([5.0, 5.0, 0.0]))
    np.testing.assert_allclose(norms, [1.907878, 5.444263, 0.374166], atol=1e-6)


def test_norms_agree_with_finite_differences_in_every_weight_and_bias():
    rng = np.random.default_rng(0)
    weights, biases, features = rng.normal(size=(3, 4)), rng.normal(size=3), rng.normal(size=(5, 4))
    labels = rng.integers(3, size=5)

    def loss(row: int, layer: np.ndarray) -> float:
        logits = layer[:, :4] @ features[row] + layer[:, 4]
        return float(-log_softmax(logits)[labels[row]])

    layer = np.concatenate([weights, biases[:, None]], axis=1)
    for row in range(5):
        gradient = np.zeros_like(layer)
        for entry in np.ndindex(layer.shape):
            step = np.zeros_like(layer)
            step[entry] = 1e-5
            gradient[entry] = (loss(row, layer + step) - loss(row, layer - step)) / 2e-5
        logits = (weights @ features[row] + biases)[None]
        found = last_layer_gradient_norm(logits, labels[[row]], np.linalg.norm(features[[row]], axis=1))
        # Central differences of step 1e-5 are off by about 1e-10.
        assert found[0] == pytest.approx(np.linalg.norm(gradient), rel=1e-7)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-20, 20))
def test_norms_ignore_a_constant_and_grow_with_the_features(seed, constant):
    rng = np.random.default_rng(seed)
    logits, labels, lengths = rng.normal(size=(6, 4)), rng.integers(4, size=6), rng.uniform(0, 9, size=6)
    plain = last_layer_gradient_norm(logits, labels, lengths)
    np.testing.assert_allclose(last_layer_gradient_norm(logits + constant, labels, lengths), plain, rtol=1e-9)
    assert (last_layer_gradient_norm(logits, labels, lengths + 1) > plain).all()
    np.testing.assert_allclose(plain, error_l2_norm(logits, labels) * np.sqrt(lengths**2 + 1), rtol=1e-12)


def test_planted_flips_have_the_long_gradients_early_on():
    world = planted_flips()
    scores = GraNd(epoch=1)(world.signals)
    assert scores.high_means == "hard"
    assert roc_auc_score(world.wrong, scores.suspicion) > 0.95


def test_features_are_read_at_the_epoch_of_the_logits():
    logits = np.zeros((1, 1, 2, 2))
    signals = Signals(
        index=ExampleIndex(["a"]),
        arrays={"logits": logits, "feature_norm": np.array([[[0.0, 1.0, 9.0]]]), "label": np.array([0])},
        epochs={"logits": (1, 2), "feature_norm": (1, 2, 3)},
    )
    # Probabilities (0.5, 0.5): error norm sqrt(0.5); features of norm 1 at epoch 2: times sqrt(2).
    assert GraNd()(signals).values[0] == pytest.approx(1.0)
    assert GraNd(epoch=1)(signals).values[0] == pytest.approx(np.sqrt(0.5))


def test_a_negative_length_is_refused():
    signals = Signals(
        index=ExampleIndex(["a"]),
        arrays={"logits": np.zeros((1, 1, 1, 2)), "feature_norm": np.array([[[-1.0]]]), "label": np.array([0])},
        epochs={"logits": (1,), "feature_norm": (1,)},
    )
    with pytest.raises(ValueError, match="signal 'feature_norm' must be at least 0, got -1"):
        GraNd()(signals)


def test_norms_over_all_layers_are_read_as_they_were_recorded():
    scorer = GraNd(layers="all", epoch=2)
    assert (scorer.reads, GraNd().reads) == (("grad_norm",), ("logits", "feature_norm", "label"))
    signals = Signals(
        index=ExampleIndex(["a", "b"]),
        arrays={"grad_norm": np.array([[[9.0, 1.0], [9.0, 2.0]], [[9.0, 3.0], [9.0, 2.0]]])},
        epochs={"grad_norm": (1, 2)},
    )
    scores = scorer(signals)
    assert scores.values.tolist() == [2.0, 2.0]
    assert scores.standard_error is not None
    assert scores.standard_error.tolist() == [1.0, 0.0]  # of 1 and 3: deviation sqrt(2), over sqrt(2)
    with pytest.raises(ValueError, match="layers must be one of last, all, got 'first'"):
        GraNd(layers="first")
