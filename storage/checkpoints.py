"""Named arrays with JSON beside them, as safetensors: models and the state of unfinished training.

Loading cannot run code. A checkpoint is replaced atomically and removed once its artifact is published. It
ends with the hash of what stands before it; a model's hash is in its artifact's record.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from storage.errors import CorruptError
from storage.files import Files
from storage.values import Array

_DIGEST_BYTES = hashlib.sha256().digest_size


def to_bytes(arrays: Mapping[str, Array], card: Mapping[str, Any]) -> bytes:
    """Arrays and JSON in one safetensors file."""
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {"card": json.dumps(card)})


def from_bytes(data: bytes) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and JSON that `to_bytes` packed.

    Raises:
        CorruptError: the bytes are not such a file.
    """
    try:
        arrays = load(data)
        length = int.from_bytes(data[:8], "little")
        card = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["card"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise CorruptError(f"a model or the state of a training cannot be read: {error}") from error
    return arrays, card


class Checkpoints:
    """The newest state of each unfinished artifact."""

    def __init__(self, files: Files) -> None:
        """Use the bytes of one store."""
        self._files = files

    def save(self, artifact_id: str, arrays: Mapping[str, Array], card: Mapping[str, Any]) -> None:
        """Replace the checkpoint of an artifact."""
        data = to_bytes(arrays, card)
        self._files.replace(_path(artifact_id), data + hashlib.sha256(data).digest())

    def load(self, artifact_id: str) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """The newest checkpoint of an artifact, or None.

        Raises:
            CorruptError: its bytes are not those that were written.
        """
        try:
            data = self._files.read(_path(artifact_id))
        except FileNotFoundError:
            return None
        body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            raise CorruptError(
                f"the state of the unfinished {artifact_id} is damaged; remove {self._files.location}/"
                f"{_path(artifact_id)}, and the training starts anew"
            )
        return from_bytes(body)

    def remove(self, artifact_id: str) -> None:
        """Forget the checkpoint, once the artifact is published."""
        self._files.remove(_path(artifact_id))


def _path(artifact_id: str) -> str:
    return f"checkpoints/{artifact_id}.safetensors"
