import numpy as np
import pytest

from storage.index import ExampleIndex
from storage.values import Examples, Scores, Selection, Signals

INDEX = ExampleIndex(["d:a", "d:b", "d:c"])


def signals() -> Signals:
    return Signals(
        index=INDEX,
        arrays={"label": np.array([0, 1, 0]), "logits": np.arange(2 * 3 * 2 * 2, dtype=float).reshape(2, 3, 2, 2)},
        epochs={"logits": (1, 4)},
    )


def test_a_missing_signal_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"signal 'margin' was not recorded; this run has label, logits\. Add it"):
        signals()["margin"]


def test_an_epoch_is_found_by_its_number():
    assert np.array_equal(signals().at_epoch("logits", 4), signals()["logits"][:, :, 1])
    assert np.array_equal(signals().at_epoch("logits", None), signals()["logits"][:, :, 1])
    with pytest.raises(ValueError, match=r"epoch 2 of signal 'logits' was not recorded; recorded are 1, 4"):
        signals().at_epoch("logits", 2)


def test_taking_positions_takes_the_example_axis_of_every_array():
    taken = signals().take(np.array([2, 0]))
    assert list(taken.index) == ["d:c", "d:a"]
    assert taken["label"].tolist() == [0, 0]
    assert np.array_equal(taken["logits"], signals()["logits"][:, [2, 0]])


def test_signals_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match=r"signal 'label' has 2 rows for 3 examples"):
        Signals(index=INDEX, arrays={"label": np.array([0, 1])})
    with pytest.raises(ValueError, match=r"has 2 epochs, but 1 are named"):
        Signals(index=INDEX, arrays={"logits": np.zeros((1, 3, 2, 2))}, epochs={"logits": (1,)})


def test_signals_cannot_be_changed_in_place():
    with pytest.raises(TypeError):
        signals().arrays["label"] = np.zeros(3)  # type: ignore[index]


def test_scores_must_be_finite():
    with pytest.raises(ValueError, match=r"1 of 3 scores are not finite \(first: 'd:b'\)"):
        Scores(index=INDEX, values=np.array([0, np.nan, 1]), high_means="clean")


def test_suspicion_turns_clean_scores_round():
    values = np.array([1.0, 2.0, 3.0])
    assert Scores(index=INDEX, values=values, high_means="clean").suspicion.tolist() == [-1, -2, -3]
    assert Scores(index=INDEX, values=values, high_means="hard").suspicion.tolist() == [1, 2, 3]


def test_selection_weights_are_finite_and_not_negative():
    reasons = np.array(["x"] * 3, dtype=object)
    assert Selection(index=INDEX, weights=np.array([0, 1, 0.5]), reasons=reasons).kept.tolist() == [False, True, True]
    for bad in (-1, np.inf, np.nan):
        with pytest.raises(ValueError, match="weights must be finite and at least 0"):
            Selection(index=INDEX, weights=np.array([0, 1, bad]), reasons=reasons)


def test_labels_outside_the_classes_are_refused():
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\), got 0 to 2"):
        Examples(index=INDEX, inputs=np.zeros((3, 1), np.float32), labels=np.array([0, 1, 2]), classes=("a", "b"))


def softly_labelled(rows, labels=(0, 1, 0)) -> Examples:
    return Examples(
        index=INDEX,
        inputs=np.zeros((3, 1), np.float32),
        labels=None if labels is None else np.array(labels),
        classes=("x", "y"),
        soft_labels=np.array(rows, np.float32),
    )


def test_soft_labels_are_distributions_over_the_classes():
    assert softly_labelled([[0.2, 0.8], [1, 0], [1 / 3, 2 / 3]]).soft_labels.shape == (3, 2)
    with pytest.raises(ValueError, match=r"got a sum of 0\.9 and a least value of 0\.1 for 'd:b'; divide each row"):
        softly_labelled([[0.2, 0.8], [0.1, 0.8], [1, 0]])
    with pytest.raises(ValueError, match=r"got a sum of 1 and a least value of -0\.5 for 'd:c'"):
        softly_labelled([[0.2, 0.8], [1, 0], [1.5, -0.5]])
    with pytest.raises(ValueError, match="for 'd:a'"):
        softly_labelled([[np.nan, 0.8], [1, 0], [1, 0]])
    with pytest.raises(ValueError, match=r"must be float32 of shape \(3, 2\), got float32 of shape \(3, 3\)"):
        softly_labelled(np.eye(3))
    with pytest.raises(ValueError, match="soft_labels need labels beside them"):
        softly_labelled([[1, 0]] * 3, labels=None)
