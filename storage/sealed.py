"""Sealed notes: small JSON files that end with the hash of what stands before it, so that a changed byte shows.

Records, versions and tags are such notes. A note without a hash, as older stores have them, is taken as it is.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_END = '\n "sha256": "{digest}"\n}}'
_START = b',\n "sha256": "'


def sealed(value: Mapping[str, Any]) -> bytes:
    """A JSON object, with at least one member, as a note."""
    body = json.dumps(value, indent=1).removesuffix("\n}")
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f"{body},{_END.format(digest=digest)}".encode()


def unsealed(data: bytes) -> dict[str, Any]:
    """The object that a note holds, without its hash.

    Raises:
        ValueError: it is no JSON object, or not what its hash says.
    """
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    body, found, _ = data.rpartition(_START)
    digest = value.pop("sha256", None)
    if found and digest != hashlib.sha256(body).hexdigest():
        raise ValueError("it is not what the hash at its end says")
    return value
