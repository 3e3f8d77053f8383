import numpy as np
import polars as pl
import pytest

from storage.artifacts import Request
from storage.schemas import DatasetSchema, Feature
from tests.storage.houses import DATASET, ROWS, SCHEMA, toy_selection, toy_store


def test_only_the_split_asked_for_is_handed_over(tmp_path):
    dataset = toy_store(tmp_path).dataset("toys")
    assert list(dataset.index("train")) == ["toys:0", "toys:1", "toys:2", "toys:4"]
    assert list(dataset.index("test")) == ["toys:3"]
    assert dataset.labels("train").tolist() == [0, 1, 0, 1]
    with pytest.raises(ValueError, match="split must be one of train, validation, test, got 'dev'"):
        dataset.index("dev")


def test_numbers_stay_and_categories_become_one_hot(tmp_path):
    dataset = toy_store(tmp_path).dataset("toys")
    assert dataset.examples("train").inputs.tolist() == [[1, 1, 0], [2, 0, 1], [3, 1, 0], [5, 1, 0]]
    assert dataset.examples("test").inputs.tolist() == [[4, 0, 0]]


def test_metadata_and_clean_labels_never_reach_the_inputs(tmp_path):
    rows = ROWS.with_columns(clean_label=pl.col("label").reverse())
    schema = DatasetSchema(features=SCHEMA.features, classes=SCHEMA.classes, has_clean_label=True, metadata=("source",))
    dataset = toy_store(tmp_path, rows, schema).dataset("toys")
    assert dataset.examples("train").inputs.shape == (4, 3)
    assert dataset.examples("train").labels.tolist() == [0, 1, 0, 1]
    assert dataset.clean_labels("train").tolist() == [1, 1, 0, 0]


def test_a_label_layer_lies_over_the_rows_without_copying_them(tmp_path):
    store = toy_store(tmp_path)
    request = Request(kind="dataset", settings={"noise": 1}, inputs={"dataset": DATASET.id})
    layer = pl.DataFrame(
        {
            "example_id": ROWS["example_id"].reverse(),
            "label": ["cat", "dog", "dog", "dog", "dog"],
            "clean_label": ROWS["label"].reverse(),
        }
    )
    with store.write(request) as draft:
        base = store.record(DATASET.id)
        draft.share(base.table("examples"))
        draft.add_table("labels", layer)
        schema = DatasetSchema(features=SCHEMA.features, classes=SCHEMA.classes, has_clean_label=True)
        draft.meta.update({"schema": schema.to_json()})
    dataset = store.dataset(request.id)
    assert list(dataset.index("train")) == ["toys:0", "toys:1", "toys:2", "toys:4"]
    assert dataset.labels("train").tolist() == [1, 1, 1, 0]
    assert dataset.clean_labels("train").tolist() == [0, 1, 0, 1]
    assert dataset.record.table("examples") == base.table("examples")


def test_images_come_in_their_shape(tmp_path):
    pixels = np.arange(5 * 6, dtype=np.uint8).reshape(5, 6)
    rows = ROWS.select("example_id", "split", "label").with_columns(image=pl.Series(pixels))
    schema = DatasetSchema(features=(Feature(name="image", kind="image", shape=(2, 3)),), classes=("cat", "dog"))
    examples = toy_store(tmp_path, rows, schema).dataset("toys").examples("train")
    assert examples.inputs.dtype == np.uint8
    assert np.array_equal(examples.inputs, pixels[[0, 1, 2, 4]].reshape(4, 2, 3))


@pytest.mark.parametrize(
    ("feature", "rows", "message"),
    [
        (Feature(name="fur", kind="text"), ROWS, "column 'fur' holds text"),
        (
            Feature(name="size", kind="number"),
            ROWS.with_columns(size=pl.lit(None, pl.Float64)),
            "4 missing values of 4",
        ),
    ],
)
def test_what_no_learner_takes_is_an_error(tmp_path, feature, rows, message):
    schema = DatasetSchema(features=(feature,), classes=("cat", "dog"))
    with pytest.raises(ValueError, match=message):
        toy_store(tmp_path, rows, schema).dataset("toys").examples("train")


def test_a_data_set_without_features_says_so(tmp_path):
    dataset = toy_store(tmp_path, ROWS, DatasetSchema(features=(), classes=("cat", "dog"))).dataset("toys")
    with pytest.raises(ValueError, match="no feature columns"):
        dataset.examples("train")


def test_a_selection_gives_weights_and_corrected_labels(tmp_path):
    store = toy_store(tmp_path)
    artifact = toy_selection(store, [1, 0, 2, 1], labels=[0, 0, 1, 1])
    examples = store.dataset("toys").examples("train", store.selection(artifact))
    assert examples.weights.tolist() == [1, 0, 2, 1]
    assert examples.labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="the selection is over other examples than the test split"):
        store.dataset("toys").examples("test", store.selection(artifact))
