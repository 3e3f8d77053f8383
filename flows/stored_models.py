"""Stored models: final logits of new rows at the models of earlier trainings."""

import numpy as np

from flows.signal_sources import what_is_given
from learners.evaluate import predict_logits
from learners.stored import load_networks
from storage.artifacts import Request
from storage.dataset import Dataset
from storage.store import Store
from storage.values import Array, Signals


def signals_of_stored_models(store: Store, request: Request, rows: Dataset) -> Signals:
    """`logits` (R, N, 1, K) of the training split's new rows, one replicate a training, and what is given.

    Args:
        store: has the trainings.
        request: of the scores; its inputs name the trainings by `signals.*`.
        rows: the new rows.

    Raises:
        ValueError: the new rows brought classes that the models do not know.
    """
    examples = rows.examples("train")
    logits: list[Array] = []
    for role in sorted(request.inputs):
        if not role.startswith("signals."):
            continue
        training = store.record(request.inputs[role])
        arrays, card = store.model(training.id)
        if tuple(card["classes"]) != examples.classes:
            new = ", ".join(name for name in examples.classes if name not in card["classes"])
            raise ValueError(
                f"the stored model of {training.id} does not know the classes {new} that new rows brought; "
                'leave new_rows = "frozen" out, so that it is trained again'
            )
        networks = load_networks(arrays, card, input_shape=examples.inputs.shape[1:])
        logits.append(predict_logits(networks, examples))
        (last,) = training.meta["signals"]["logits"]["epochs"][-1:]
    stacked = np.stack(logits)[:, :, None]
    return Signals(index=examples.index, arrays={"logits": stacked, **what_is_given(rows)}, epochs={"logits": (last,)})
