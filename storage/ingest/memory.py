"""In memory: a Polars frame, an Arrow table or NumPy arrays of one's own as a data set's next version or as signals."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from storage.artifacts import Request
from storage.contract import Contract
from storage.files import check_name
from storage.given_signals import Wish, check_extends, check_owner, fill_signals
from storage.ingest.arrays import check_arrays, frame_of_arrays
from storage.ingest.source import Block, Header, frame_fingerprint
from storage.ingest.write import ingest_from
from storage.schemas import Roles
from storage.splits import SplitFractions
from storage.store import Store
from storage.versions import Version

BLOCK_ROWS = 1 << 16
"""Most rows of a block."""

LOCATION = "the object in memory"
"""What messages call it."""


def ingest_frame(
    store: Store,
    name: str,
    frame: pl.DataFrame | pa.Table | Mapping[str, NDArray[np.generic]],
    *,
    roles: Roles,
    splits: SplitFractions | None = None,
    contract: Contract | None = None,
    seed: int = 0,
) -> Version:
    """Read an object into the store and publish it; if an equal one was read before, nothing is written.

    Args:
        store: where it goes.
        name: the data set's name.
        frame: N rows, or arrays by name whose first axis is the rows; `storage/ingest/arrays.py` says which
            columns an array becomes.
        roles: what its columns are.
        splits: shares of drawn splits; None takes the default ones.
        contract: what is demanded of a row; None takes the default one.
        seed: decides the drawn splits.

    Returns:
        The data set's version; the counts are in the meta of its artifact's record.

    Raises:
        TypeError: it is none of the three.
        SourceError: its columns do not fit the roles, or no row is left.
        ContractError: rows break the contract, and the contract says to fail.
    """
    check_name(name)
    rows = _as_frame(frame)
    splits, contract = splits or SplitFractions(), contract or Contract()
    request = Request(
        kind="dataset",
        settings={
            "name": name,
            "source": {"format": "memory", "fingerprint": frame_fingerprint(rows)},
            "columns": asdict(roles),
            "splits": asdict(splits),
            "contract": asdict(contract),
        },
        seed=seed,
    )
    if not store.has(request.id):
        with store.write(request) as draft:
            for _ in ingest_from(
                draft,
                name=name,
                reader=_Reader(rows),
                location=LOCATION,
                roles=roles,
                splits=splits,
                contract=contract,
                seed=seed,
            ):
                pass
    return store.publish("dataset", name, request.id)


def ingest_signals(
    store: Store,
    dataset: str,
    name: str,
    arrays: pl.DataFrame | pa.Table | Mapping[str, NDArray[np.generic]],
    *,
    wish: Wish | None = None,
    earlier: str | None = None,
) -> Version:
    """Read one's own probabilities, logits, embeddings or scores into the store, and publish them as signals.

    Args:
        store: where they go.
        dataset: name or version of the data set whose training split they are of.
        name: of the signals, such as `probs`.
        arrays: `example_id` or `key` (N,), and what goes with it, (N,) or (N, D) each; see `storage/given_signals.py`.
        wish: what to take; None takes all.
        earlier: version of signals of this data set's first rows, such as `probs@1`, to which these are added.

    Returns:
        The signals' version, which recipes name as `given`.

    Raises:
        SourceError: ids or values are not what they must be.
        ValueError: the name is that of another data set's signals, or `earlier` is of other rows.
    """
    check_name(name)
    rows, wish = _as_frame(arrays), wish or Wish()
    version = store.version("dataset", dataset)
    before = None if earlier is None else store.version("signals", earlier).artifact
    if store.knows("signals", name):
        check_owner(store.record(store.version("signals", name).artifact), name, version.name)
    if before is not None:
        check_extends(store.artifacts, store.record(before), version.artifact)
    request = Request(
        kind="signals",
        settings={
            "given": {"dataset": version.name, "take": dict(wish.take), "classes": list(wish.classes)},
            "source": {"format": "memory", "fingerprint": frame_fingerprint(rows)},
        },
        inputs={"dataset": version.artifact, **({} if before is None else {"signals": before})},
    )
    if not store.has(request.id):
        with store.write(request) as draft:
            grown = None if before is None else store.record(before)
            for _ in fill_signals(draft, store.dataset(version.artifact), _Reader(rows), LOCATION, wish, grown):
                pass
    return store.publish("signals", name, request.id)


class _Reader:
    """A frame as a source."""

    PLACE = "row"

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def columns(self, location: str) -> Header:
        return Header(columns=dict(self._frame.schema))

    def read(self, location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
        for start in range(0, len(self._frame), BLOCK_ROWS):
            piece = self._frame[start : start + BLOCK_ROWS].select(list(types))
            rows = np.arange(start + 1, start + len(piece) + 1, dtype=np.int64)
            yield Block(frame=piece, rows=rows, fraction=(start + len(piece)) / len(self._frame))

    def fingerprint(self, location: str) -> str:
        return frame_fingerprint(self._frame)


def _as_frame(found: object) -> pl.DataFrame:
    if isinstance(found, pl.DataFrame):
        return found
    if isinstance(found, pa.Table):
        frame = pl.from_arrow(found)
        assert isinstance(frame, pl.DataFrame)
        return frame
    if isinstance(found, Mapping) and all(isinstance(one, np.ndarray) for one in found.values()):
        shapes = {str(name): one.shape for name, one in found.items()}
        check_arrays(shapes, {str(name): one.dtype for name, one in found.items()}, LOCATION)
        return frame_of_arrays({str(name): one for name, one in found.items()})
    raise TypeError(
        f"frame must be a Polars DataFrame, an Arrow table or NumPy arrays by name, got {type(found).__name__}"
    )
