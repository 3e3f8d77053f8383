"""Recipes: one strict TOML file becomes frozen dataclasses; an unknown key is an error that names its neighbours.

A section that names a `method` keeps that method's own settings as they stand, so that
every default has one home: the method's file.
"""

import copy
import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from flows.evaluation_config import EvaluationConfig
from flows.recipe_sections import (
    ArmConfig,
    LearnerConfig,
    RebalanceConfig,
    ScorerConfig,
    SelectionConfig,
    Settings,
    SignalsConfig,
)
from storage.contract import Contract
from storage.errors import NotFoundError
from storage.files import check_name
from storage.ingest.source import Source
from storage.schemas import RESERVED, Roles
from storage.splits import SplitFractions

T = TypeVar("T")

SCORE_SUFFIXES = (
    *("se", "flagged", "suggested_label", "confidence", "never_learnt", "last"),
    *("keeper", "similarity", "frozen", "rank", "target"),
)
"""What follows a score's name in its further columns of `scored.*`."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One curation run, from source to comparison."""

    name: str
    """Name of the data set in the store."""
    seed: int = 0
    """The one seed that all chance is derived from."""
    seeds: int = 3
    """Trainings of each learner, at least 1; every reported number is their mean."""
    source: Source | None = None
    """Where examples come from; or else `dataset`."""
    dataset: str | None = None
    """A data set of the store, such as `reviews` or `reviews@2`, instead of a source."""
    columns: Roles = Roles()
    splits: SplitFractions = SplitFractions()
    contract: Contract = Contract()
    noise: Settings | None = None
    """Wrong labels planted in the training and validation splits: a `method` of `curation.noise` and its settings."""
    limit: int | None = None
    """Use only so many training examples, drawn by the seed and at least 1; None uses all."""
    embedding: Settings | None = None
    """What makes a vector of a text column: a `method`, such as `hashed_ngrams`, and its settings."""
    model: Settings | None = None
    """A `method` of `learners.models` and its settings; without learners there is none."""
    training: Settings = field(default_factory=dict)
    """Settings of `learners.training.Training` for every learner."""
    learners: Mapping[str, LearnerConfig] = field(default_factory=dict)
    signals: Mapping[str, SignalsConfig] = field(default_factory=dict)
    scorers: Mapping[str, ScorerConfig] = field(default_factory=dict)
    selection: SelectionConfig | None = None
    rebalance: RebalanceConfig | None = None
    """What evens out the classes of what the selection keeps, or of everything where there is none."""
    arms: tuple[ArmConfig, ...] = ()
    evaluation: EvaluationConfig = EvaluationConfig()

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.selection is not None:
            check_name(self.selection.subset)
        if self.rebalance is not None:
            check_name(self.rebalance.subset)
        if self.selection and self.rebalance and self.selection.subset == self.rebalance.subset:
            raise ValueError(
                f"rebalance.subset must differ from selection.subset, and both are {self.rebalance.subset!r}"
            )
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}")
        check_score_names(tuple(self.scorers))
        self._check_origin()
        if self.source is not None and self.columns.label is None and self.learners:
            raise ValueError(
                f"the learners {', '.join(self.learners)} need labels; name the label column in columns.label"
            )
        if self.source is not None and self.columns.label is None and self.rebalance is not None:
            raise ValueError("[rebalance] evens out classes; name the label column in columns.label")
        if self.arms and self.source is not None and self.columns.split is None and self.splits.test == 0:
            raise ValueError("the arms are evaluated on the test split, but splits.test is 0; give it a share")
        drawn = self.source is not None and self.columns.split is None
        if self.evaluation.best_attacks and drawn and self.splits.validation == 0:
            raise ValueError("evaluation.best_attacks needs a validation split to tell the best epoch, and it is 0")
        both = [name for name in self.signals if name in self.learners]
        if both:
            raise ValueError(f"learners and signals share the name {both[0]!r}; scorers could mean either, rename one")
        for name, scorer in self.scorers.items():
            if scorer.signals is not None and scorer.signals not in (*self.learners, *self.signals):
                raise ValueError(
                    f"scorers.{name}.signals names {scorer.signals!r}; the recipe has the learners "
                    f"{', '.join(self.learners) or 'none'} and the signals {', '.join(self.signals) or 'none'}"
                )
        if self.selection is not None and self.selection.signals not in (None, *self.learners, *self.signals):
            raise ValueError(
                f"selection.signals names {self.selection.signals!r}; the recipe has the learners "
                f"{', '.join(self.learners) or 'none'} and the signals {', '.join(self.signals) or 'none'}"
            )
        for arm in self.arms:
            if arm.learner not in self.learners:
                raise ValueError(f"an arm names the learner {arm.learner!r}; the recipe has {', '.join(self.learners)}")
            if arm.data == "subset" and self.subset is None:
                raise ValueError(f"the arm {arm.title!r} needs a [selection] or a [rebalance]")

    def _check_origin(self) -> None:
        """Refuse a recipe with two origins or none, and settings that would have no effect."""
        if (self.source is None) == (self.dataset is None):
            raise ValueError("examples come from a [source] or from a stored `dataset`; name one of the two")
        if self.dataset is not None:
            unused = [("columns", Roles()), ("splits", SplitFractions()), ("contract", Contract())]
            for key, default in unused:
                if getattr(self, key) != default:
                    raise ValueError(f"[{key}] has no effect on data set {self.dataset!r}, which is stored already")
        if self.learners and self.model is None:
            raise ValueError("learners need a [model]; name its method and settings")

    @property
    def subset(self) -> str | None:
        """Name of the subset that arms train on: the rebalanced one, else the selection's; None without either."""
        last = self.rebalance or self.selection
        return None if last is None else last.subset

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON values, every default written out."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


_METHOD_SECTIONS = (LearnerConfig, SignalsConfig, ScorerConfig, SelectionConfig, RebalanceConfig)


def load_recipe(reference: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe at a path, or one of the bundled ones by name, with `key.path=value` overrides.

    Raises:
        NotFoundError: there is no such file or bundled recipe.
        ValueError: the TOML is broken, a key is unknown or a value is not allowed.
    """
    text = _recipe_text(reference)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"recipe {reference} is not valid TOML: {error}") from None
    return parse_recipe(apply_overrides(raw, overrides))


def apply_overrides(raw: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of a recipe's plain values with `key.path=value` overrides; `model.factory` replaces the whole model."""
    changed = copy.deepcopy(dict(raw))
    for override in overrides:
        if override.startswith("model.factory="):
            changed["model"] = {"method": "factory"}
        _override(changed, override)
    return changed


def parse_recipe(raw: Mapping[str, Any]) -> Recipe:
    """The recipe in TOML or JSON values, checked."""
    _refuse_non_finite(raw, "")
    return build(Recipe, raw, where="")


def _refuse_non_finite(value: Any, where: str) -> None:
    """Refuse `nan` and `inf`, which TOML knows and no setting here means."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must be a finite number, got {value}")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_non_finite(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_non_finite(inner, where)


def bundled_recipes() -> list[str]:
    """Names of the recipes that come with tamis."""
    folder = resources.files("flows") / "recipes"
    return sorted(one.name.removesuffix(".toml") for one in folder.iterdir() if one.name.endswith(".toml"))


def build(kind: type[T], raw: Mapping[str, Any], where: str) -> T:
    """A frozen dataclass from plain values, strictly.

    Args:
        kind: the dataclass.
        raw: values by field name; a section with a `method` may also hold that method's settings.
        where: dotted path of this section, for messages.

    Raises:
        ValueError: a key is unknown (the message names its neighbours), missing, or its value is not allowed.
    """
    checked = _checked(kind, raw, where)
    try:
        return msgspec.convert(checked, type=kind)
    except msgspec.ValidationError as error:
        message = str(error).replace("`", "'")
        message, _, path = message.partition(" - at '$")
        path = _with_its_name(kind, checked, path, str(error))
        place = ".".join(part for part in (where, path.strip("'.")) if part)
        raise ValueError(f"{place or 'recipe'}: {message}") from None


def _with_its_name(kind: type[Any], checked: Mapping[str, Any], path: str, sentence: str) -> str:
    """A path to what is wrong, in which the name of a section such as `learners.plain` stands for `learners[...]`."""
    section = path.partition("[...]")[0].strip(".")
    entries = checked.get(section)
    for name, entry in entries.items() if isinstance(entries, Mapping) else ():
        try:
            msgspec.convert({**checked, section: {name: entry}}, type=kind)
        except ValueError as error:
            if str(error) == sentence:
                return path.replace("[...]", f".{name}", 1)
    return path


def check_score_names(names: Sequence[str]) -> None:
    """Refuse names of scores that could not stand side by side as columns of `scored.<data set>`.

    Raises:
        ValueError: a name has other characters than a name may, is a column that tamis names itself, or
            is another score's column, such as `loss_se` beside `loss`.
    """
    taken = {name.lower() for name in RESERVED}
    for name in names:
        check_name(name)
        if name.lower() in taken:
            raise ValueError(f"a score cannot be named {name!r}: scored.* has a column of that name; rename the scorer")
        taken.add(name.lower())
    for name in names:
        for other in names:
            if other.lower().startswith(f"{name.lower()}_") and other.lower()[len(name) + 1 :] in SCORE_SUFFIXES:
                raise ValueError(f"the scores {name!r} and {other!r} would share a column of scored.*; rename one")


def check_beside_metadata(names: Sequence[str], metadata: Sequence[str]) -> None:
    """Refuse names of scores whose columns a data set's own metadata would meet in `scored.<data set>`.

    Args:
        names: of the scores.
        metadata: columns that the data set keeps for queries.

    Raises:
        ValueError: a metadata column is named like a score or, as in `loss_se`, like a further column of one.
    """
    for name in names:
        shown = {name.lower(), *(f"{name.lower()}_{suffix}" for suffix in SCORE_SUFFIXES)}
        for column in metadata:
            if column.lower() in shown:
                raise ValueError(
                    f"the score {name!r} and the data set's metadata column {column!r} would share a column of "
                    "scored.*; rename the scorer, or the column in the source"
                )


def unknown_key(key: str, known: Sequence[str], where: str) -> ValueError:
    """The error for a key that does not exist, naming the nearest and all that do."""
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(sorted(known)) or "none"
    return ValueError(f"unknown key {key!r} in {where or 'the recipe'}{hint}; known keys are {listed}")


def _checked(kind: Any, raw: Any, where: str) -> Any:
    """`raw` with unknown keys refused and method settings moved into `settings`, section by section."""
    if not isinstance(raw, Mapping):
        raise ValueError(f"{where or 'recipe'} must be a table, got {raw!r}")
    known = {one.name: one for one in fields(kind) if one.init}
    values = dict(raw)
    if kind in _METHOD_SECTIONS:
        own = {key: values.pop(key) for key in list(values) if key not in known}
        values["settings"] = {**values.get("settings", {}), **own}
    for key in values:
        if key not in known:
            raise unknown_key(key, list(known), where)
    hints = get_type_hints(kind)
    for key, value in values.items():
        place = f"{where}.{key}" if where else key
        values[key] = _section(hints[key], value, place)
    return values


def _section(hint: Any, value: Any, where: str) -> Any:
    """A value checked by its type hint, where that holds dataclasses: one, several by name, a list, either."""
    if isinstance(hint, type) and is_dataclass(hint):
        return _checked(hint, value, where)
    inner = [one for one in get_args(hint) if one is not type(None)]
    if get_origin(hint) is Literal and isinstance(value, str) and value not in inner:
        raise ValueError(f"{where}: Invalid enum value {value!r}; choose one of {', '.join(map(str, inner))}")
    if get_origin(hint) in (Union, UnionType) and value is not None:
        listed = isinstance(value, list | tuple)
        fitting = inner if len(inner) == 1 else [one for one in inner if (get_origin(one) is tuple) == listed]
        return _section(fitting[0], value, where) if len(fitting) == 1 else value
    if get_origin(hint) is Mapping and isinstance(value, Mapping):
        return {name: _section(inner[1], one, f"{where}.{name}") for name, one in value.items()}
    if get_origin(hint) is tuple and isinstance(value, list | tuple) and inner[1:] == [Ellipsis]:
        return [_section(inner[0], one, f"{where}[{number}]") for number, one in enumerate(value)]
    return value


def _recipe_text(reference: str) -> str:
    path = Path(reference)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise NotFoundError(
                f"there is no recipe at {reference}; bundled recipes are {', '.join(bundled_recipes())}"
            )
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"recipe {reference} is not UTF-8 text: {error.reason} at byte {error.start}; save it as UTF-8"
            ) from None
    if reference not in bundled_recipes():
        raise NotFoundError(
            f"there is no recipe named {reference!r}; bundled are {', '.join(bundled_recipes())}, "
            "or give the path of a .toml file"
        )
    return (resources.files("flows") / "recipes" / f"{reference}.toml").read_text(encoding="utf-8")


def _override(raw: dict[str, Any], override: str) -> None:
    """Set one `key.path=value` in place; the value is read as TOML, else as a plain text."""
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        raise ValueError(f"--set needs key.path=value, got {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *sections, key = path.strip().split(".")
    place = raw
    for section in sections:
        inner = place.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ValueError(f"--set {override}: {section!r} is not a section")
        place = inner
    place[key] = value
