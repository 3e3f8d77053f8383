"""Builds a house on a small file system of which another file leaves less or more room at every try."""

import json
import sys
from pathlib import Path

from storage.errors import DiskError
from tests.faults import building, jobs

FILLERS_KILOBYTES = (390, 370, 350, 320, 280, 0)
"""Room taken at each try; the last one leaves enough."""


def silent(told: object) -> None:
    """Say nothing."""


def main(disk: str, sources: str) -> None:
    """Build until it succeeds; print what failures said and what stands at the end."""
    root, filler = f"{disk}/store", Path(disk, "filler")
    said: list[str] = []
    told: list[str] = []
    for kilobytes in FILLERS_KILOBYTES:
        filler.write_bytes(bytes(1024 * kilobytes))
        try:
            building.build(Path(root), Path(sources), say=said.append)
        except DiskError as error:
            told.append(str(error))
        state = jobs.state(say=silent, root=root)
        assert set(said) <= set(state["versions"])
        assert all(severity == "leftover" for severity, _ in state["findings"]), state
        filler.unlink()
    assert state["findings"] == []
    sys.stdout.write(json.dumps({"told": told, "versions": state["versions"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
