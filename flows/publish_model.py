"""Step: a trained and evaluated model becomes an artifact of its own, which a name such as `digits-elr` stands for.

It shares the weight files of its training and carries a card: all that is needed to read rows, rebuild the network
and judge what it says, without the training data. Which training is published never depends on a test result: it is
the first seed's.
"""

from collections.abc import Iterator
from typing import Any

from flows.embed_examples import made_by, map_of
from flows.step import Progress, Step
from storage.artifacts import Record, Request
from storage.dataset import Dataset, input_shape
from storage.files import check_name
from storage.store import Store


def model_step(subject: str, learner: str, training: str, evaluation: str, *, name: str | None = None) -> Step:
    """The step that publishes a model.

    Args:
        subject: name of the data set or subset that it was trained on.
        learner: its learner's name.
        training: id of the first seed's training.
        evaluation: id of that training's evaluation.
        name: the model's name; None takes `<subject>-<learner>`.

    Raises:
        ValueError: that cannot be a name.
    """
    name = f"{subject}-{learner}" if name is None else name
    try:
        check_name(name)
    except ValueError as error:
        raise ValueError(f"the model of learner {learner!r} on {subject!r} has no good name: {error}") from None
    return Step(
        title=f"publish model {name}",
        module="publish_model",
        request=Request(kind="model", settings={}, inputs={"training": training, "evaluation": evaluation}),
        publish=("model", name),
        hints={"subject": subject},
    )


def check_free(store: Store, step: Step) -> None:
    """Refuse, before there is any work, a name under which the step could not publish.

    Raises:
        ValueError: the name is a tag of a model.
    """
    assert step.publish is not None
    kind, name = step.publish
    tag = next((one for one in store.tags(kind) if one.tag == name), None)
    if tag is not None:
        raise ValueError(f"{name!r} is a tag, now of {tag.reference}; publish the model under another name")


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """List the weights of the training and write the card; nothing is computed."""
    training, evaluation = (store.record(step.request.inputs[role]) for role in ("training", "evaluation"))
    with store.write(step.request) as draft:
        for table in ("model", "best"):
            draft.share(training.table(table))
        draft.meta.update(_card(store, training, evaluation, step.hints.get("subject")))
    yield Progress(done=1, total=1, unit="model")


def _card(store: Store, training: Record, evaluation: Record, subject: str | None) -> dict[str, Any]:
    settings, inputs = training.request.settings, training.request.inputs
    dataset = store.dataset(inputs["dataset"])
    columns = dataset.first_columns()
    return {
        "model": settings["model"],
        "learner": settings["learner"],
        "classes": list(dataset.schema.classes),
        "features": dataset.schema.to_json()["features"],
        "input_shape": list(input_shape(dataset.schema.features)),
        "embedding": embedding_of(store, dataset),
        "key": columns.get("key"),
        "image_fit": columns.get("image_fit", "exact"),
        "trained_on": _version_of(store, inputs.get("selection", dataset.id), subject),
        "dataset": dataset.id,
        "selection": inputs.get("selection"),
        "training": training.id,
        "evaluation": evaluation.id,
        "seed": training.request.seed,
        "epoch": training.rows("epochs"),
        "best_epoch": training.meta.get("best_epoch"),
        "temperature": evaluation.meta.get("temperature"),
        "best_temperature": evaluation.meta.get("best_temperature"),
        "metrics": evaluation.meta["metrics"],
        "best_metrics": evaluation.meta.get("best_metrics"),
    }


def embedding_of(store: Store, dataset: Dataset) -> dict[str, Any] | None:
    """The method that made the data set's embeddings of its texts, its settings and revision; None without any.

    Of a method that was fitted, `map` is the id of the data set that keeps what was.
    """
    made = made_by(store, dataset.id)
    if made is None:
        return None
    said = made.request.settings["embedding"]
    fitted = {"map": map_of(made)} if said["method"] == "latent_ngrams" else {}
    return {**said, "revision": made.request.revision, **fitted}


def _version_of(store: Store, artifact: str, subject: str | None) -> str | None:
    """The newest version of a name that stands for an artifact, such as `digits@2`; None if none does."""
    kind = "dataset" if artifact.startswith("dataset-") else "subset"
    if subject is None or not store.knows(kind, subject):
        return None
    return next((str(one) for one in reversed(store.versions(kind, subject)) if one.artifact == artifact), None)
