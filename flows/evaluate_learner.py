"""Step: a trained model's predictions on the test split, and its metrics there."""

import time
from collections.abc import Iterator

import polars as pl

from flows import resolve
from flows.step import Progress, Step
from learners.checkpoint import load_model
from learners.evaluate import accuracy, per_class_accuracy, predict_logits
from storage.store import Store


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Rebuild the model, predict the test split once, and publish predictions and metrics."""
    began = time.perf_counter()
    request = step.request
    dataset = store.dataset(request.inputs["dataset"])
    examples = dataset.examples("test")
    if examples.labels is None or not len(examples):
        raise ValueError("evaluation needs a labelled test split, and this data set has none; see [splits]")
    arrays, card = store.model(request.inputs["training"])
    learner = resolve.method("learner", request.settings["learner"], "learner")
    networks = []
    for number in range(learner.num_models):
        network = resolve.method("model", card["model"], "model").build(examples, 0)
        load_model(network, arrays, model=number)
        networks.append(network)
    logits = predict_logits(networks, examples)
    predicted = logits.argmax(axis=1)
    by_class = per_class_accuracy(logits, examples.labels)
    with store.write(request) as draft:
        draft.earlier_seconds = time.perf_counter() - began
        draft.add_table(
            "predictions",
            pl.DataFrame(
                {
                    "example_id": examples.index.ids,
                    "predicted": pl.Series(predicted, dtype=pl.Int64),
                    "correct": predicted == examples.labels,
                }
            ),
        )
        draft.meta.update(
            {
                "learner": request.settings["learner"]["method"],
                "data": request.settings["data"],
                "metrics": {
                    "test_accuracy": accuracy(logits, examples.labels),
                    "worst_class_accuracy": float(pl.Series(by_class).drop_nans().min()),  # type: ignore[arg-type]
                },
                "test_examples": len(examples),
            }
        )
    yield Progress(done=len(examples), total=len(examples), unit="examples")
