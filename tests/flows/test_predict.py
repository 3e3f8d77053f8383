import gzip
import json

import numpy as np
import polars as pl
import pytest
from scipy.special import softmax

from flows.curate_and_train import curate_and_train
from flows.predict_rows import predict_rows
from flows.step import show_nothing
from learners.stored import load_networks, predicted_logits
from storage.errors import SourceError
from storage.ingest import inputs
from storage.ingest.source import Source
from storage.store import Store
from tests.flows.commands import tamis
from tests.flows.weather import recipe, world

MODEL = "weather-plain@1"


def by_hand(store, frame, epoch="last"):
    """(N, K) probabilities of all rows at once, their features put together by hand."""
    weights, card = store.model(MODEL, epoch)
    colours = [[float(one == name) for name in ("blue", "pink", "red")] for one in frame["colour"]]
    rows = np.column_stack([frame["x"], colours, frame["wet"].cast(pl.Float64)]).astype(np.float32)
    logits = predicted_logits(load_networks(weights, card), rows)
    return softmax(logits.astype(np.float64) / card["temperature"], axis=1)


def predicted(store, location, **asked):
    found = predict_rows(store, MODEL, Source(location=str(location)), **asked)
    return pl.concat(found.parts), found


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """New rows as a file, in the current directory; the environment names the store."""
    monkeypatch.setenv("TAMIS_STORE", trained[0].location)
    monkeypatch.chdir(tmp_path)
    world(seed=1).write_csv(tmp_path / "new.csv")
    return tmp_path


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "jsonl", "parquet", "arrow"])
def test_every_format_gives_the_predictions_that_all_rows_at_once_have(trained, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(inputs, "ROWS_AT_A_TIME", 7)
    frame, place = world(seed=1).drop("kind"), tmp_path / f"new.{kind}"
    writers = {
        "csv": frame.write_csv,
        "csv.gz": lambda to: to.write_bytes(gzip.compress(frame.write_csv().encode())),
        "tsv": lambda to: frame.write_csv(to, separator="\t"),
        "jsonl": frame.write_ndjson,
        "parquet": frame.write_parquet,
        "arrow": frame.write_ipc,
    }
    writers[kind](place)
    found, summary = predicted(trained[0], place, with_probabilities=True, batch_size=3)
    expected = by_hand(trained[0], frame)
    np.testing.assert_allclose(found.select("probs_cold", "probs_hot").to_numpy(), expected, rtol=1e-5)
    assert found["predicted"].to_list() == np.array(["cold", "hot"])[expected.argmax(axis=1)].tolist()
    np.testing.assert_allclose(found["confidence"], expected.max(axis=1), rtol=1e-5)
    assert found["key"].equals(frame["id"].alias("key"))
    first = 2 if kind in ("csv", "csv.gz", "tsv") else 1
    assert found["source_row"].to_list() == list(range(first, first + len(frame)))
    assert summary.by_class == dict(found["predicted"].value_counts().iter_rows())
    assert "scaled by the temperature" in summary.sentence


def test_the_model_reads_columns_by_name_in_any_order_and_ignores_others(trained, tmp_path):
    frame = world(seed=1)
    frame.select("kind", "wet", "colour", pl.lit("a,b").alias("note"), "x").write_csv(tmp_path / "new.csv")
    found, _ = predicted(trained[0], tmp_path / "new.csv")
    np.testing.assert_allclose(found["confidence"], by_hand(trained[0], frame).max(axis=1), rtol=1e-5)
    assert found.columns == ["source_row", "predicted", "confidence", "problem"]


def test_a_row_that_breaks_a_rule_is_told_of_with_the_rule_and_the_others_are_predicted(trained, here, capsys):
    rows = ["id,x,colour,wet", "a,1.5,red,true", "b,warm,red,true", "c,,red,true", "d,2.5", "e,inf,red,true"]
    rows += ["f,1e300,red,false", "g,1.5,green,true"]
    (here / "odd.csv").write_text("\n".join(rows) + "\n")
    found, summary = predicted(trained[0], here / "odd.csv")
    problems = [None, "not a number", "missing value", "ragged row", "non-finite number", "non-finite logits", None]
    assert found["problem"].to_list() == problems
    assert found["source_row"].to_list() == [2, 3, 4, 5, 6, 7, 8]
    assert found["predicted"].is_null().to_list() == [one is not None for one in problems]
    assert summary.problem_sentence == (
        "5 of 7 rows have no prediction: 1 not a number (3), 1 missing value (4), 1 ragged row (5), "
        "1 non-finite number (6), 1 non-finite logits (7)"
    )
    code, out, err = tamis("predict", MODEL, "odd.csv", "--output", "out.csv", capsys=capsys)
    assert (code, out) == (0, "")
    assert "7 rows written to out.csv" in err
    assert "5 of 7 rows have no prediction" in err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id,colour\n1,red\n", "lacks x, wet, which the model reads; it has id besides"),
        ("x,colour,wet\nwarm,red,true\nmild,blue,false\n", "can be predicted: 2 of 2 rows have no prediction"),
        ("x,colour,wet\n", "new.csv has columns but no rows"),
        ("", "new.csv is empty"),
    ],
)
def test_a_file_that_the_model_cannot_read_is_one_sentence_and_nothing_is_written(here, capsys, text, sentence):
    (here / "new.csv").write_text(text)
    code, out, err = tamis("predict", MODEL, "new.csv", "--output", "out.parquet", capsys=capsys)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert sentence in err
    assert [one.name for one in here.iterdir()] == ["new.csv"]


def test_columns_of_other_kinds_are_refused(trained, tmp_path):
    frame = world(seed=1)
    frame.with_columns(colour=pl.lit(3)).write_parquet(tmp_path / "new.parquet")
    with pytest.raises(SourceError, match=r"column 'colour' of .* is Int32, a number; the model reads a category"):
        predicted(trained[0], tmp_path / "new.parquet")
    frame.with_columns(x=pl.lit("3")).write_parquet(tmp_path / "new.parquet")
    with pytest.raises(SourceError, match=r"column 'x' of .* is String, a category; the model reads a number"):
        predicted(trained[0], tmp_path / "new.parquet")


def test_several_files_are_one_source_whose_rows_say_which_they_are_of(trained, tmp_path):
    frame = world(seed=1)
    frame[:100].write_parquet(tmp_path / "a.parquet")
    frame[100:].write_parquet(tmp_path / "b.parquet")
    found, _ = predicted(trained[0], tmp_path / "*.parquet")
    assert found["source_file"].to_list() == ["a.parquet"] * 100 + ["b.parquet"] * 140
    assert found["source_row"].to_list() == [*range(1, 101), *range(1, 141)]
    np.testing.assert_allclose(found["confidence"], by_hand(trained[0], frame).max(axis=1), rtol=1e-5)


def test_answers_go_to_files_of_each_format_and_never_into_the_store_or_over_what_is_read(trained, here, capsys):
    for name, read in (("o.csv", pl.read_csv), ("o.parquet", pl.read_parquet), ("o.jsonl", pl.read_ndjson)):
        code, _, err = tamis("predict", MODEL, "new.csv", "--output", name, "--probabilities", capsys=capsys)
        assert (code, "240 rows written" in err) == (0, True)
        assert read(here / name).columns == [
            *("source_row", "key", "predicted", "confidence", "probs_cold", "probs_hot", "problem")
        ]
    code, out, _ = tamis("predict", MODEL, "new.csv", "--format", "jsonl", capsys=capsys)
    assert (code, len(out.splitlines()), json.loads(out.splitlines()[0])["key"]) == (0, 240, "r0")
    inside = str(trained[0].files.locate("out.csv"))
    assert "goes outside" in tamis("predict", MODEL, "new.csv", "--output", inside, capsys=capsys)[2]
    before = (here / "new.csv").read_bytes()
    assert "is the file that is read" in tamis("predict", MODEL, "new.csv", "--output", "./new.csv", capsys=capsys)[2]
    assert (here / "new.csv").read_bytes() == before
    assert "names no format" in tamis("predict", MODEL, "new.csv", "--output", "out.xlsx", capsys=capsys)[2]


def test_without_a_file_to_write_the_first_rows_and_counts_are_shown(here, capsys):
    code, out, err = tamis("predict", MODEL, "new.csv", "--epoch", "best", capsys=capsys)
    assert code == 0
    assert "230 more rows; --output FILE gives all 240" in out
    counts = out[out.index("Predictions") :]
    assert counts.index("cold") < counts.index("hot") < counts.index("all")
    assert "Confidences are scaled by the temperature" in err
    assert "did you mean 'weather-plain'" in tamis("predict", "wether-plain", "new.csv", capsys=capsys)[2]


def test_a_key_that_is_missing_in_a_row_does_not_keep_it_from_being_predicted(trained, tmp_path):
    (tmp_path / "new.csv").write_text("id,x,colour,wet\n,1.5,red,true\nb,2.5,red,true\n")
    found, _ = predicted(trained[0], tmp_path / "new.csv")
    assert found["key"].to_list() == [None, "b"]
    assert found["problem"].null_count() == 2


def test_whole_number_classes_are_predicted_as_numbers_and_images_are_read(tmp_path):
    rng = np.random.default_rng(0)
    bright = rng.random(60) < 0.5
    pixels = rng.integers(0, 100, size=(60, 64)) + 150 * bright[:, None]
    frame = pl.DataFrame(
        {"image": pl.Series(pixels.astype(np.uint8), dtype=pl.Array(pl.UInt8, 64)), "label": bright.astype(int) + 3}
    )
    frame.write_parquet(tmp_path / "rows.parquet")
    store = Store.create(tmp_path / "store")
    images = recipe(
        tmp_path / "rows.parquet",
        name="light",
        columns={"features": ["image"], "label": "label", "image_shape": [8, 8]},
        model={"method": "small_cnn", "width": 2, "hidden": 4},
        selection=None,
        seeds=1,
        arms=[{"learner": "plain", "data": "everything"}],
    )
    curate_and_train(store, images, show_nothing)
    found = pl.concat(predict_rows(store, "light-plain", Source(location=str(tmp_path / "rows.parquet"))).parts)
    assert found["predicted"].dtype == pl.Int64
    assert set(found["predicted"]) <= {3, 4}
    _, card = store.model("light-plain")
    assert card["input_shape"] == [8, 8]
    short = pl.DataFrame({"image": [[1] * 64, [1] * 63, [1] * 63 + [256]]})
    short.write_parquet(tmp_path / "short.parquet")
    told = pl.concat(predict_rows(store, "light-plain", Source(location=str(tmp_path / "short.parquet"))).parts)
    assert told["problem"].to_list() == [None, "wrong shape", "not a byte"]


def test_a_model_of_embedded_texts_embeds_new_ones_the_same_way(tmp_path):
    words = {
        "good": ["fine day", "a fine walk", "sunny and fine"],
        "bad": ["grey rain", "rain again", "cold grey rain"],
    }
    rows = [(f"{text} {number}", kind) for number in range(20) for kind, texts in words.items() for text in texts]
    frame = pl.DataFrame(rows, schema=["text", "kind"], orient="row")
    frame.write_csv(tmp_path / "texts.csv")
    store = Store.create(tmp_path / "store")
    texts = recipe(
        tmp_path / "texts.csv",
        name="texts",
        columns={"features": ["text"], "text": ["text"], "label": "kind"},
        embedding={"method": "hashed_ngrams", "column": "text"},
        model={"method": "embedding_head"},
        training={"epochs": 3, "batch_size": 8},
        selection=None,
        seeds=1,
        arms=[{"learner": "plain", "data": "everything"}],
    )
    curate_and_train(store, texts, show_nothing)
    found = pl.concat(predict_rows(store, "texts-plain", Source(location=str(tmp_path / "texts.csv"))).parts)
    _, card = store.model("texts-plain")
    texts_by_id = store.dataset("texts").scan().select("example_id", "text").collect()
    stored = store.table(card["evaluation"], "predictions").join(texts_by_id, on="example_id")
    said = dict(zip(frame["text"], found["predicted"], strict=True))
    assert [said[text] for text in stored["text"]] == [card["classes"][one] for one in stored["predicted"]]
    assert card["embedding"]["column"] == "text"
