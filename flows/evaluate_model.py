"""Step: a stored model's predictions and metrics on any stored data set, asked for by hand.

Rows are read as the model reads them: its features by name, its classes in its own order. The temperature is the one on
its card; nothing is fitted here, and nothing is chosen.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from flows import resolve
from flows.attack_models import PREFIX, Epoch, EvaluatedModel, attack_models, outcomes
from flows.config import build
from flows.embed_examples import COLUMN
from flows.evaluation_config import EvaluationConfig
from flows.plan_training import EVALUATION_REVISION
from flows.predict_rows import features_of
from flows.publish_model import embedding_of
from flows.seeding import derived_seed
from flows.step import Progress, Step
from learners.attacks import Threat
from learners.clean_metrics import clean_metrics
from learners.evaluate import predict_logits
from learners.stored import load_networks
from learners.threads import computing_threads
from storage.artifacts import Request
from storage.dataset import Dataset
from storage.schemas import Feature
from storage.store import Store

_NOT_COMPARED = ("column", "batch_size")
"""Settings of an embedding that change no vector: the name of the text column, and texts at a time."""


def evaluation_step(
    store: Store, reference: str, data: str, *, split: str, epoch: Epoch, attacks: Mapping[str, Any]
) -> Step:
    """The step that evaluates a model on a data set.

    Args:
        store: has both.
        reference: the model's version.
        data: the data set's version.
        split: `train`, `validation` or `test`.
        epoch: weights of the `last` epoch, or of the `best` on the validation split.
        attacks: what a recipe can have under `[evaluation]` but `best_attacks`; without `attacks` nothing is attacked.

    Raises:
        NotFoundError: there is no such model or data set, or the model has no best epoch.
        ValueError: the data set lacks features, has embeddings of another kind, has classes that the model does not
            know, or has no label in the split.
    """
    version = store.version("model", reference)
    dataset = store.dataset(data)
    _, card = store.model(str(version), epoch)
    seen = seen_by(dataset, card, data)
    _check_embedding(store, dataset, card, data)
    if not len(seen.index(split)):
        raise ValueError(f"{data} has no examples in the {split} split; see [splits]")
    settings: dict[str, Any] = {"split": split, "epoch": epoch, "evaluation_revision": EVALUATION_REVISION}
    if attacks:
        settings["evaluation"] = _attack_settings(attacks, epoch)
    return Step(
        title=f"evaluate {version} on {data}",
        module="evaluate_model",
        request=Request(
            kind="evaluation",
            settings=settings,
            inputs={"model": version.artifact, "training": card["training"], "dataset": dataset.id},
            seed=derived_seed(0, "evaluation") if attacks else None,
        ),
    )


def seen_by(dataset: Dataset, card: Mapping[str, Any], called: str) -> Dataset:
    """A data set as a model reads it.

    Raises:
        ValueError: it lacks features, has no labels, or has classes that the model does not know.
    """
    features, theirs = features_of(card), {one.name: one for one in dataset.schema.features}
    missing = [one.name for one in features if one.name not in theirs]
    if missing:
        others = [name for name in theirs if all(one.name != name for one in features)]
        besides = f"; it has {', '.join(others)} besides" if others else ""
        if COLUMN in missing and card.get("embedding"):
            besides += f"; embed its texts by a recipe's [embedding], method {card['embedding']['method']!r}"
        raise ValueError(f"{called} lacks the features {', '.join(missing)}, which the model reads{besides}")
    for one in features:
        found = theirs[one.name]
        if (found.kind, found.shape) != (one.kind, one.shape):
            raise ValueError(f"feature {one.name!r} of {called} is {_told(found)}, and the model reads {_told(one)}")
    if not dataset.schema.classes:
        raise ValueError(f"{called} has no labels to evaluate by; `tamis predict` needs none")
    unknown = [name for name in dataset.schema.classes if name not in card["classes"]]
    if unknown:
        raise ValueError(
            f"{called} has the classes {', '.join(unknown)}, which the model does not know; it knows "
            f"{', '.join(card['classes'])}"
        )
    return dataset.read_as(features, tuple(card["classes"]))


def _check_embedding(store: Store, dataset: Dataset, card: Mapping[str, Any], called: str) -> None:
    """Refuse vectors that another embedding made of the texts than the one that the model learnt from."""
    made = embedding_of(store, dataset)
    if made is None or COLUMN not in [one.name for one in features_of(card)]:
        return
    read = card.get("embedding") or {}
    differing = [name for name in {**made, **read} if name not in _NOT_COMPARED and made.get(name) != read.get(name)]
    if differing:
        theirs, ours = (", ".join(f"{name} {one.get(name)!r}" for name in differing) for one in (made, read))
        raise ValueError(
            f"the embeddings of {called} were made with {theirs}, and the model reads "
            f"{f'those with {ours}' if read else 'vectors that no recipe made'}; embed its texts as the model's were"
        )


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Predict the split, attack it where asked, and publish predictions and metrics."""
    request, settings = step.request, step.request.settings
    epoch, prefix = settings["epoch"], PREFIX[settings["epoch"]]
    weights, card = store.model(request.inputs["model"], epoch)
    dataset = seen_by(store.dataset(request.inputs["dataset"]), card, request.inputs["dataset"])
    examples = dataset.examples(settings["split"])
    labels = examples.labels
    assert labels is not None
    threads = store.record(card["training"]).request.settings["training"].get("threads")
    model = EvaluatedModel(epoch=epoch, number=card["epoch"], networks=load_networks(weights, card), threads=threads)
    with store.write(request) as draft:
        with computing_threads(threads):
            logits = predict_logits(model.networks, examples)
        table = pl.DataFrame({"example_id": examples.index.ids}).hstack(outcomes(logits, labels))
        draft.add_table(f"{prefix}predictions", table)
        found = clean_metrics(logits, labels, groups=examples.groups, temperature=card["temperature"])
        accuracy = found.pop("test_accuracy")
        draft.meta |= {
            "learner": card["learner"]["method"],
            "data": request.inputs["dataset"],
            "examples": len(examples),
            "temperature": card["temperature"],
            f"{prefix}metrics": {f"{settings['split']}_accuracy": accuracy, **found},
            "warnings": [],
        }
        yield Progress(done=len(examples), total=len(examples), unit="examples")
        if "evaluation" in settings:
            trained_on = store.dataset(card["dataset"])
            yield from attack_models(store, draft, trained_on, examples, [model])
    store.checkpoints.remove(request.id)


def evaluation_metrics(meta: Mapping[str, Any], epoch: Epoch) -> Mapping[str, float]:
    """The metrics in the meta of an evaluation."""
    found: Mapping[str, float] = meta[f"{PREFIX[epoch]}metrics"]
    return found


def _attack_settings(attacks: Mapping[str, Any], epoch: Epoch) -> dict[str, Any]:
    """`[evaluation]` with every default written out, the attacks under the epoch that they are on."""
    config = build(EvaluationConfig, attacks, "evaluation")
    try:
        threat = msgspec.convert(dict(config.threat), Threat)
    except msgspec.ValidationError as error:
        raise ValueError(f"evaluation.threat: {error}") from None
    names: Sequence[str] = config.attacks
    chosen = {"attacks": names if epoch == "last" else (), "best_attacks": names if epoch == "best" else ()}
    plain = {**resolve.plain(config), "threat": msgspec.to_builtins(threat)}
    return {**plain, **{name: list(one) for name, one in chosen.items()}}


def _told(feature: Feature) -> str:
    shape = f" of shape {' x '.join(map(str, feature.shape))}" if feature.shape else ""
    return f"a {feature.kind}{shape}"
