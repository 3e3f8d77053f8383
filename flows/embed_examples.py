"""Step: a data set whose feature is an embedding of its text; the text stays as metadata.

Rows, ids, splits, labels and true labels are those of the data set that is embedded, and the label layer is shared
with it. The rows are written once more, block by block, with the column `embedding` behind the others. Each
embedding is of its row alone, so every split is embedded. Nothing is learnt from any, but for `latent_ngrams`, which is
fitted on texts of the training split and keeps what it fitted in the table `state`, or takes that of another data set,
its input `map`. Where the data set grew and an earlier version was embedded alike, that one's files are listed again
and only new rows are embedded; what is fitted anew is embedded whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.examiner import Examiner
from curation.latent_ngrams import LatentNgrams
from flows import resolve
from flows.step import Progress, Step
from learners.embed import Encode
from storage.artifacts import Record, Request
from storage.checkpoints import to_bytes
from storage.damage import damage_told
from storage.dataset import Dataset
from storage.growth import grown_from
from storage.index import ExampleIndex
from storage.lineage import ancestry
from storage.schemas import RESERVED, DatasetSchema, Feature
from storage.store import Store
from storage.values import Array

COLUMN = "embedding"
"""The column that embeddings are stored in."""
ROWS_AT_A_TIME = 8192
"""Most rows that are embedded at once, and that a file has."""


def embedding_request(settings: Mapping[str, Any], dataset: str, store: Store) -> Request:
    """The embedded data set, from a recipe's section `[embedding]`.

    Raises:
        ValueError: the method or a setting of it does not exist or is not allowed.
        NotFoundError: there is no data set of the name that `map` says.
    """
    inputs = {"dataset": dataset}
    if settings.get("method") == "latent_ngrams" and "map" in settings:
        inputs["map"], settings = _mapped(store, settings)
    method = resolve.embedder(settings, "embedding")
    return Request(
        kind="dataset",
        settings={"embedding": {"method": settings["method"], **resolve.plain(method)}},
        inputs=inputs,
        revision=method.revision,
    )


def _mapped(store: Store, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Id of the data set whose map is to be taken, and the settings that it was fitted with."""
    others = [name for name in settings if name not in ("method", "column", "map")]
    if others:
        raise ValueError(f"embedding.{others[0]} has no effect beside embedding.map, which was fitted already")
    version = store.version("dataset", str(settings["map"]))
    made = made_by(store, version.artifact)
    if made is None or made.request.settings["embedding"]["method"] != "latent_ngrams":
        raise ValueError(f"embedding.map is {version}, which was not embedded by latent_ngrams; name one that was")
    said = dict(made.request.settings["embedding"])
    return map_of(made), said | {name: settings[name] for name in ("column",) if name in settings}


def made_by(store: Store, dataset: str) -> Record | None:
    """The step that made the embeddings of a data set, which may have grown or been relabelled since; None without."""
    said = store.record(dataset).meta.get("embedding")
    if said is None:
        return None
    return next(one for one in ancestry(store.artifacts, dataset) if one.request.settings.get("embedding") == said)


def map_of(made: Record) -> str:
    """Id of the data set that has the map which a fitted embedding went through."""
    return made.request.inputs.get("map", made.id)


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Embed block after block, with the rows done so far."""
    request = step.request
    method = resolve.embedder(request.settings["embedding"], "embedding")
    dataset, earlier = store.dataset(request.inputs["dataset"]), _earlier(store, request)
    check_embeddable(dataset, method.column)
    num_dimensions, done = None, 0
    rows: Dataset | None = dataset
    with store.write(request) as draft:
        if earlier is not None:
            draft.share(earlier.table("examples"))
            num_dimensions = _length(earlier)
            rows = dataset.since(store.record(earlier.request.inputs["dataset"]))
        state = _state(store, request, dataset, method) if isinstance(method, LatentNgrams) else None
        if state is not None and "map" not in request.inputs:
            draft.add_bytes("state", "state.safetensors", to_bytes(state, {}))
        encode = encoder(method, state) if rows is not None else None
        for block in () if rows is None else _blocks(rows):
            assert encode is not None
            embedding = encode(_texts(block, method.column))
            num_dimensions = num_dimensions or embedding.shape[1]
            if embedding.shape[1] != num_dimensions:
                raise ValueError(f"embeddings have {num_dimensions} numbers before and {embedding.shape[1]} now")
            column = pl.Series(COLUMN, embedding, dtype=pl.Array(pl.Float32, num_dimensions))
            draft.add_table("examples", block.with_columns(column))
            done += len(block)
            yield Progress(done=done, total=None if rows is None else len(rows), unit="rows")
        for table in ("labels", "quarantine"):
            draft.share(dataset.record.table(table))
        schema = embedded_schema(dataset.schema, method.column, num_dimensions or 0)
        said = request.settings["embedding"]
        computed = "full" if earlier is None else f"incremental from {earlier.id}"
        draft.meta |= {**dataset.record.meta, "schema": schema.to_json(), "embedding": said, "computed": computed}


def check_embeddable(dataset: Dataset, column: str) -> None:
    """Refuse a data set that has no such text, has embeddings already, or would keep another text as a feature.

    Raises:
        ValueError: one of these; the message says what to do.
    """
    stored = dataset.stored_types()
    texts = [name for name, dtype in stored.items() if dtype == pl.String and name not in RESERVED]
    if column not in texts:
        raise ValueError(f"{dataset.id} has no text column {column!r}; it has {', '.join(texts) or 'none'}")
    if any(name.casefold() == COLUMN for name in stored):
        raise ValueError(f"{dataset.id} has a column {COLUMN!r} already; embed the data set it was made from, once")
    others = [one.name for one in dataset.schema.features if one.kind == "text" and one.name != column]
    if others:
        raise ValueError(
            f"features {', '.join(others)} of {dataset.id} would stay text, which no model reads; leave them out "
            "of the features, so that they are metadata"
        )
    if any(one.kind == "image" for one in dataset.schema.features):
        raise ValueError(f"{dataset.id} has an image feature, beside which no embedding can stand")


def embedded_schema(schema: DatasetSchema, column: str, num_dimensions: int) -> DatasetSchema:
    """The schema with the text as metadata and its embedding as the last feature."""
    kept = tuple(one for one in schema.features if one.name != column)
    embedding = Feature(name=COLUMN, kind="vector", shape=(num_dimensions,))
    metadata = schema.metadata if column in schema.metadata else (*schema.metadata, column)
    return replace(schema, features=(*kept, embedding), metadata=metadata)


def encoder(method: Any, state: Mapping[str, Array] | None = None) -> Encode:
    """From texts to embeddings, by an examiner, by a network or by a fitted map, whose arrays are `state`."""
    if isinstance(method, LatentNgrams):
        from curation.latent_space import LatentSpace

        assert state is not None
        space, fitted = LatentSpace.from_state(state), method
        return lambda texts: fitted.embedded(texts, space)
    if not isinstance(method, Examiner):
        encode: Encode = method.load()
        return encode

    examiner = method
    (column,) = examiner.reads

    def examined(texts: Sequence[str]) -> NDArray[np.float32]:
        index = ExampleIndex(map(str, range(len(texts))))
        embedding: NDArray[np.float32] = examiner(index, {column: np.array(texts, dtype=np.object_)})[COLUMN]
        return embedding

    return examined


def _state(store: Store, request: Request, dataset: Dataset, method: LatentNgrams) -> Mapping[str, Array]:
    """The arrays of the map: those of `map`, or fitted on texts of the training split that are drawn by their ids."""
    if "map" in request.inputs:
        return store.state(request.inputs["map"])
    drawn = method.drawn(dataset.index("train").ids)
    found = [pl.DataFrame(schema={"example_id": pl.String, method.column: pl.String})]
    for block in dataset.blocks("train", (method.column,), ROWS_AT_A_TIME):
        chosen = block.filter(pl.col("example_id").is_in(drawn.implode()))
        found.append(chosen.select(found[0].columns))
    return method.fitted(_texts(pl.concat(found).sort("example_id"), method.column)).state


def _texts(block: pl.DataFrame, column: str) -> list[str]:
    missing = block.filter(pl.col(column).is_null())
    if len(missing):
        raise ValueError(
            f"column {column!r} is null for {len(missing)} of {len(block)} examples (first: "
            f"{missing['example_id'][0]!r}); name it among the features, so that such rows go to quarantine"
        )
    return block[column].to_list()


def _blocks(rows: Dataset) -> Iterator[pl.DataFrame]:
    """All rows as they are stored, file by file."""
    for path in rows.paths("examples"):
        with damage_told(rows.id):
            frame = pl.read_parquet(path, glob=False)
        yield from (block for block in frame.iter_slices(ROWS_AT_A_TIME) if len(block))


def _earlier(store: Store, request: Request) -> Record | None:
    """The nearest earlier version of the data set, embedded alike and through the same map; None if there is none."""
    if request.settings["embedding"]["method"] == "latent_ngrams" and "map" not in request.inputs:
        return None
    for ancestor in grown_from(store.artifacts, request.inputs["dataset"]):
        wanted = replace(request, inputs={**request.inputs, "dataset": ancestor.record.id}).id
        if store.has(wanted):
            return store.record(wanted)
    return None


def _length(record: Record) -> int:
    """Numbers of each embedding in an embedded data set."""
    features = DatasetSchema.from_json(record.meta["schema"]).features
    return next(one.shape[0] for one in features if one.name == COLUMN)
