"""GraNd: the length of the loss gradient that an example causes, in the last layer or in all, early in training.

Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet: Finding Important Examples Early
in Training", NeurIPS 2021, definition of the GraNd score. https://arxiv.org/abs/2107.07075
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from curation.scorer import Scorer, check_epoch, check_finite, given_labels, mean_over_seeds
from curation.softmax import softmax
from storage.values import HighMeans, Scores, Signals

Layers = Literal["last", "all"]


def last_layer_gradient_norm(
    logits: NDArray[np.floating], labels: NDArray[np.integer], feature_norms: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Norm of the cross-entropy's gradient in the weights and biases of a linear last layer.

    The gradient is the outer product of the error (probabilities minus one-hot label) and the
    features with a 1 appended, so its norm is the product of their norms.

    Args:
        logits: (N, K) finite outputs of the layer, in evaluation mode, without augmentation.
        labels: (N,) given classes in [0, K), possibly wrong.
        feature_norms: (N,) Euclidean norms, at least 0, of what enters the layer.

    Returns:
        (N,) norms of at least 0; high where the example would move the layer far.
    """
    errors = softmax(logits)
    errors[np.arange(len(labels)), labels] -= 1.0
    lengths = feature_norms.astype(np.float64)
    norms: NDArray[np.float64] = np.linalg.norm(errors, axis=1) * np.sqrt(lengths**2 + 1)
    return norms


@dataclass(frozen=True, kw_only=True)
class GraNd(Scorer):
    """Rank examples by the norm of their gradient at one epoch, averaged over seeds.

    Of all layers it reads the signal `grad_norm` alone, which costs a backward pass for every example.

    Differs from the paper: unless `layers` is `all`, the gradient is in the last layer alone, for which this form
    is exact; and it is not for the untrained network, where the ranking is nearly that of the input norms
    (Kirsch, https://arxiv.org/abs/2303.14753).
    """

    reads: ClassVar[tuple[str, ...]] = ("logits", "feature_norm", "label")
    high_means: ClassVar[HighMeans] = "hard"
    per_example: ClassVar[bool] = True

    epoch: int | None = None
    """Epoch read, at least 1; None means the last one at which logits (of all layers: `grad_norm`) were recorded."""
    layers: Layers = field(default="last", metadata={"left_out_at_default": True})
    """`last` works the gradient out from `logits` and `feature_norm`; `all` reads `grad_norm`."""

    def __post_init__(self) -> None:
        check_epoch(self.epoch)
        if self.layers not in get_args(Layers):
            raise ValueError(f"layers must be one of {', '.join(get_args(Layers))}, got {self.layers!r}")
        if self.layers == "all":
            object.__setattr__(self, "reads", ("grad_norm",))  # of this instance; the class reads for the last layer

    def __call__(self, signals: Signals) -> Scores:
        """Mean over seeds of the norm, at least 0."""
        if self.layers == "all":
            lengths = _lengths(signals, "grad_norm", self.epoch)
            return mean_over_seeds(signals.index, lengths.astype(np.float64), high_means=self.high_means)
        logits = signals.at_epoch("logits", self.epoch)
        epoch = signals.epochs["logits"][-1] if self.epoch is None else self.epoch
        lengths = _lengths(signals, "feature_norm", epoch)
        check_finite(signals.index, "logits", logits)
        labels = given_labels(signals, logits.shape[-1])
        norms = [last_layer_gradient_norm(z, labels, h) for z, h in zip(logits, lengths, strict=True)]
        return mean_over_seeds(signals.index, norms, high_means=self.high_means)


def _lengths(signals: Signals, name: str, epoch: int | None) -> NDArray[np.floating]:
    """(R, N) finite numbers of at least 0."""
    lengths = signals.at_epoch(name, epoch)
    check_finite(signals.index, name, lengths)
    if lengths.min(initial=0) < 0:
        raise ValueError(f"signal {name!r} must be at least 0, got {lengths.min():g}")
    return lengths
