"""Seeds: all chance of a run is derived by name from the recipe's one seed."""

import hashlib


def derived_seed(seed: int, *names: str | int) -> int:
    """A seed in [0, 2**32) that depends on the recipe's seed and on what it is for, and on nothing else."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
