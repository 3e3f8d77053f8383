"""Attacks: inputs near given ones on which a network does worse.

Single step: Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples",
ICLR 2015. https://arxiv.org/abs/1412.6572
Projected gradient (PGD): Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models
Resistant to Adversarial Attacks", ICLR 2018. https://arxiv.org/abs/1706.06083

A network is attacked in evaluation mode and left as it was: same mode, weights, statistics and
gradients. What an attack raises is an *objective*: a function from (B, K) logits to (B,) numbers.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from learners.losses import label_margins

Objective = Callable[[Tensor], Tensor]
Norm = Literal["linf", "l2"]
Start = Literal["uniform", "gaussian", "zero"]
Bound = float | tuple[float, ...] | Literal["observed"] | None
Scales = tuple[float, ...] | Literal["deviation"] | None

GAUSSIAN_START = 1e-3
"""Deviation of the gaussian start, in units of the scale: that of TRADES."""


class Threat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far inputs may be moved: the threat model of an evaluation.

    It stands inside the settings of learners, and so is a struct that refuses unknown keys by itself.
    `observed` and `deviation` are for tables; training fills them in from its examples (`learners.observed`).
    """

    norm: Norm = "linf"
    """`linf` bounds the largest change of a feature; `l2` the length of the change."""
    epsilon: float = 8 / 255
    """Radius, at least 0, in input units times `scales`; 0 leaves inputs as they are."""
    lower: Bound = None
    """Least value an attacked feature may take: one number, one per feature of a table, or `observed`: the least of
    the training examples; None means 0 for images and no bound for tables."""
    upper: Bound = None
    """Greatest value, given alike; None means 1 for images and no bound for tables."""
    scales: Scales = None
    """Unit of each of a table's D features, at least 0, or `deviation`: their standard deviations over the training
    examples; None means 1; 0 keeps a feature."""

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, get_args(Norm))
        if not 0 <= self.epsilon < math.inf:
            raise ValueError(f"epsilon must be at least 0, got {self.epsilon}")
        for name, word in (("lower", "observed"), ("upper", "observed"), ("scales", "deviation")):
            given = getattr(self, name)
            if isinstance(given, str) and given != word:
                raise ValueError(f"{name} must be in numbers or {word!r}, got {given!r}")
        if isinstance(self.scales, tuple) and not all(0 <= scale < math.inf for scale in self.scales):
            raise ValueError(f"scales must each be at least 0, got {self.scales}")
        lengths = {len(given) for given in (self.lower, self.upper, self.scales) if isinstance(given, tuple)}
        if len(lengths) > 1:
            raise ValueError(f"lower, upper and scales must be of one length, got {sorted(lengths)}")
        self._check_order()

    def _check_order(self) -> None:
        """Refuse bounds that leave a feature no value; equal ones of a single feature keep it as it is."""
        bounds = [bound for bound in (self.lower, self.upper) if bound is not None and not isinstance(bound, str)]
        if any(np.isnan(bound).any() for bound in bounds):
            raise ValueError(f"lower and upper must be in numbers, got {self.lower} and {self.upper}")
        if len(bounds) < 2:
            return
        low, high = np.broadcast_arrays(*bounds)
        if low.ndim == 0 and not low < high:
            raise ValueError(f"lower must be below upper, got {self.lower} and {self.upper}")
        for place in np.flatnonzero(low > high)[:1]:
            raise ValueError(
                f"lower must not be above upper, got {low[place]} and {high[place]} for feature {place} (from 0)"
            )

    def bounds(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Least and greatest value that features of these (B, ...) inputs may take, infinite without a bound.

        Returns:
            Two tensors, each () for all features alike or (D,).

        Raises:
            ValueError: bounds that are not one per feature, or were not yet observed.
        """
        image = inputs.ndim > 2
        lower = per_feature("lower", self.lower, inputs, otherwise=0.0 if image else -math.inf)
        return lower, per_feature("upper", self.upper, inputs, otherwise=1.0 if image else math.inf)


def per_feature(name: str, given: Bound | Scales, inputs: Tensor, *, otherwise: float) -> Tensor:
    """A limit of a threat model as a tensor, () or (D,), that broadcasts against the inputs.

    Args:
        name: of the limit, for messages.
        given: numbers, or a word that has to be filled in first.
        inputs: (B, ...) that it is for.
        otherwise: its value where none is given.

    Raises:
        ValueError: a word, or not one number per feature of a table.
    """
    if isinstance(given, str):
        raise ValueError(f"{name} is {given!r} still; learners.observed.observed_threat fills it in from examples")
    if isinstance(given, tuple) and (inputs.ndim != 2 or len(given) != inputs.shape[1]):
        raise ValueError(
            f"{name} must have one number per feature of a table, got {len(given)} "
            f"for inputs of shape {tuple(inputs.shape[1:])}"
        )
    return inputs.new_tensor(otherwise if given is None else given)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value of a setting that is none of its choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


class Attack(Threat, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far and in which steps a projected gradient attack moves an input.

    Defaults are those of the field for 32x32 images scaled to [0, 1].
    """

    step_size: float = 2 / 255
    """Length of a step, above 0, in the units of epsilon."""
    num_steps: int = 10
    """Gradient steps, at least 1."""
    start: Start = "uniform"
    """`uniform` in the ball, `gaussian` next to the input, or `zero`: at the input."""

    def __post_init__(self) -> None:
        Threat.__post_init__(self)
        check_choice("start", self.start, get_args(Start))
        if not 0 < self.step_size < float("inf"):
            raise ValueError(f"step_size must be above 0, got {self.step_size}")
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")

    @classmethod
    def against(cls, threat: Threat, *, step_size: float, num_steps: int, start: Start = "uniform") -> "Attack":
        """An attack within a threat model."""
        limits = {name: getattr(threat, name) for name in Threat.__struct_fields__}
        return cls(**limits, step_size=step_size, num_steps=num_steps, start=start)

    @classmethod
    def fast_gradient_sign(cls, epsilon: float, *, lower: Bound = None, upper: Bound = None) -> "Attack":
        """One step of full length from the input itself (FGSM)."""
        return cls(epsilon=epsilon, step_size=epsilon, num_steps=1, start="zero", lower=lower, upper=upper)


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """Where an attack may move some inputs: a box around each, inside the bounds."""

    centre: Tensor
    """(B, ...) the inputs themselves."""
    low: Tensor
    """(B, ...) least values within epsilon * scale and the bounds."""
    high: Tensor
    """(B, ...) greatest values."""
    scale: Tensor
    """Unit of each feature, broadcastable against the inputs."""


def region(inputs: Tensor, threat: Threat) -> Region:
    """The box of a threat model around each input.

    Args:
        inputs: (B, C, H, W) images or (B, D) features.
        threat: radius, bounds and scales; an `Attack` is one.

    Raises:
        ValueError: an input outside the bounds, or bounds or scales that do not fit.
    """
    lower, upper = threat.bounds(inputs)
    outside = (inputs < lower) | (inputs > upper)
    if outside.any():
        raise ValueError(_outside(inputs, lower, upper, outside))
    scale = per_feature("scales", threat.scales, inputs, otherwise=1.0)
    reach = threat.epsilon * scale
    return Region(
        centre=inputs, low=(inputs - reach).clamp_min(lower), high=(inputs + reach).clamp_max(upper), scale=scale
    )


def _outside(inputs: Tensor, lower: Tensor, upper: Tensor, outside: Tensor) -> str:
    """Which inputs lie outside which bounds: the first such feature where bounds differ by feature."""
    whose, found, place = "inputs", inputs, 0
    if lower.ndim or upper.ndim:
        place = int(outside.any(dim=0).nonzero()[0])
        whose, found = f"feature {place} (from 0) of inputs", inputs[:, place]
    low, high = (float(bound.expand(inputs.shape[1:])[place] if bound.ndim else bound) for bound in (lower, upper))
    least, greatest = torch.aminmax(found)
    return (
        f"{whose} must lie in the attack's bounds [{low:g}, {high:g}], "
        f"found [{float(least):g}, {float(greatest):g}]; set lower and upper"
    )


def pgd(network: nn.Module, inputs: Tensor, objective: Objective, attack: Attack, generator: torch.Generator) -> Tensor:
    """Inputs after the last step of projected gradient ascent on the objective.

    Args:
        network: from inputs to (B, K) logits.
        inputs: (B, ...) inside the attack's bounds.
        objective: what is raised, for each example on its own.
        attack: radius, steps, start and bounds.
        generator: of the random start.

    Returns:
        (B, ...) within the radius and the bounds, without a graph.
    """
    return pgd_path(network, inputs, objective, attack, generator)[0]


def pgd_path(
    network: nn.Module, inputs: Tensor, objective: Objective, attack: Attack, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """As `pgd`, and the (num_steps, B, K) logits before each step."""
    box = region(inputs, attack)
    current = _start(box, attack, generator)
    path = []
    with evaluation_mode(network):
        for _ in range(attack.num_steps):
            gradient, logits = input_gradient(network, current, objective)
            path.append(logits)
            current = _stepped(box, current, gradient, attack)
    return current, torch.stack(path)


def input_gradient(network: nn.Module, inputs: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """Gradient of the objective in the inputs, (B, ...), and the (B, K) logits there; both without a graph."""
    with torch.enable_grad():
        point = inputs.detach().requires_grad_()
        logits = network(point)
        (gradient,) = torch.autograd.grad(objective(logits).sum(), point)
    return gradient, logits.detach()


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block, and every part's earlier mode after it."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _start(box: Region, attack: Attack, generator: torch.Generator) -> Tensor:
    if attack.start == "zero":
        return box.centre
    if attack.start == "gaussian":
        offset = GAUSSIAN_START * torch.randn(box.centre.shape, generator=generator)
    else:
        offset = uniform_offsets(box.centre.shape, attack, generator)
    return _inside(box, box.centre + box.scale * offset.to(box.centre), attack)


def uniform_offsets(shape: torch.Size, threat: Threat, generator: torch.Generator) -> Tensor:
    """Offsets drawn uniformly from the ball, in units of the scale.

    Args:
        shape: (B, ...) of the inputs.
        threat: norm and radius.
        generator: of the draw.
    """
    if threat.norm == "linf":
        return threat.epsilon * (2 * torch.rand(shape, generator=generator) - 1)
    direction = torch.randn(shape, generator=generator)
    radii = torch.rand(len(direction), generator=generator) ** (1 / direction[0].numel())
    return threat.epsilon * per_row(radii, direction) * direction / row_lengths(direction)


def _stepped(box: Region, current: Tensor, gradient: Tensor, attack: Attack) -> Tensor:
    if attack.norm == "linf":
        return _inside(box, current + attack.step_size * box.scale * gradient.sign(), attack)
    rise = gradient * box.scale
    return _inside(box, current + box.scale * attack.step_size * rise / row_lengths(rise), attack)


def _inside(box: Region, points: Tensor, attack: Attack) -> Tensor:
    """The points moved into the ball, then into the box, which only brings them nearer to the centre."""
    if attack.norm == "l2":
        offset = torch.where(box.scale > 0, (points - box.centre) / box.scale, 0.0)
        points = box.centre + box.scale * offset * (attack.epsilon / row_lengths(offset)).clamp_max(1.0)
    return points.clamp(box.low, box.high)


def row_lengths(values: Tensor) -> Tensor:
    """Euclidean length of each row, broadcastable; a row of zeros has the least positive length."""
    lengths = values.flatten(1).norm(dim=1).clamp_min(torch.finfo(values.dtype).tiny)
    return per_row(lengths, values)


def per_row(numbers: Tensor, like: Tensor) -> Tensor:
    """(B,) numbers shaped to broadcast against (B, ...)."""
    return numbers.view(-1, *(1,) * (like.ndim - 1))


def label_loss(labels: Tensor) -> Objective:
    """The objective of most attacks: cross entropy with the given labels."""
    return lambda logits: cross_entropy(logits, labels, reduction="none")


def label_margin_loss(labels: Tensor) -> Objective:
    """The margin objective, called CW in tables: the largest other logit minus the label's."""
    return lambda logits: -label_margins(logits, labels)
