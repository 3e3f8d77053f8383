"""`[evaluation]`: what else trained models are asked on the test split than what they predict there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ATTACKS = ("fgsm", "pgd_20", "pgd_50", "pgd_50_10", "margin_pgd_20", "auto_attack")
"""Names of the attacks that a recipe can ask for."""
ATTACKED = 500


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Attacks on trained models; without any, nothing is attacked."""

    attacks: tuple[str, ...] = ()
    """Attacks on the model of the last epoch: `fgsm`, `pgd_20`, `pgd_50`, `pgd_50_10`, `margin_pgd_20`,
    `auto_attack`."""
    best_attacks: tuple[str, ...] = ()
    """Attacks on the model of the best epoch, of the same names."""
    attacked: int | Literal["all"] = ATTACKED
    """Test examples that are attacked, at least 1: drawn uniformly by the recipe's seed, the same for every model."""
    masking: bool = False
    """Whether signs of gradient masking are looked for, on the attacked examples and at the last epoch."""
    threat: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `learners.attacks.Threat`: norm, radius and bounds."""

    def __post_init__(self) -> None:
        for key in ("attacks", "best_attacks"):
            names = getattr(self, key)
            for name in names:
                if name not in ATTACKS:
                    raise ValueError(f"{key} must be of {', '.join(ATTACKS)}, got {name!r}")
            if len(set(names)) < len(names):
                raise ValueError(f"{key} must name each attack once, got {', '.join(names)}")
        if self.attacked != "all" and self.attacked < 1:
            raise ValueError(f"attacked must be at least 1, or 'all', got {self.attacked}")
        if self.threat.get("epsilon") == 0:
            raise ValueError("threat.epsilon must be above 0 for an evaluation under attack, got 0")
        given = {"attacked": self.attacked != ATTACKED, "masking": self.masking, "threat": bool(self.threat)}
        unused = [key for key, is_given in given.items() if is_given]
        if unused and not (self.attacks or self.best_attacks):
            raise ValueError(f"{unused[0]} has no effect without attacks; name some in evaluation.attacks")
