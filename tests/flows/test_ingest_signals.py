import numpy as np
import polars as pl
import pytest

from curation.scorers.el2n import error_l2_norm
from flows.ingest_by_hand import append_location, relabel_examples
from flows.signals_by_hand import ingest_signals as put
from storage.errors import NotFoundError, SourceError
from storage.given_signals import Wish
from storage.ingest.memory import ingest_frame, ingest_signals
from storage.schemas import Roles
from storage.splits import SplitFractions
from storage.store import Store
from tests.flows.commands import tamis
from tests.flows.growing import COLUMNS, RECIPE, SIGNALS, begin, no_progress, run, write_files

KINDS = ("a", "b", "b", "a", "c", "c")
ALL_TRAIN = SplitFractions(train=1.0, validation=0.0, test=0.0)
PROBS = np.array([[7, 2, 1], [1, 8, 1], [2, 2, 6], [5, 4, 1], [0, 0, 10], [3, 3, 4]]) / 10


@pytest.fixture
def store(tmp_path) -> Store:
    """Six training examples toys:0 to toys:5 of classes a, b, c."""
    store = Store.create(tmp_path / "store")
    rows = pl.DataFrame({"id": range(6), "x": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5], "kind": KINDS})
    ingest_frame(store, "toys", rows, roles=Roles(features=("x",), label="kind", key="id"), splits=ALL_TRAIN)
    return store


def given(**arrays) -> dict[str, np.ndarray]:
    return {"key": np.arange(6), "probs": PROBS, **arrays}


def read_back(store: Store, name: str, array: str) -> np.ndarray:
    index = store.dataset("toys").index("train")
    return store.unrecorded(store.version("signals", name).artifact, index, (array,))[array]


def test_rows_come_back_in_the_order_of_the_data_set_whatever_that_of_the_file(store):
    order = np.array([3, 0, 5, 1, 4, 2])
    ingest_signals(store, "toys", "probs", {"key": order, "probs": PROBS[order]})
    assert np.array_equal(read_back(store, "probs", "probs"), PROBS)


def test_rows_are_read_block_by_block(store, monkeypatch):
    monkeypatch.setattr("storage.ingest.memory.BLOCK_ROWS", 2)
    order = np.array([3, 0, 5, 1, 4, 2])
    version = ingest_signals(store, "toys", "probs", {"key": order, "probs": PROBS[order]})
    assert [file.rows for file in store.record(version.artifact).table("signals")] == [2, 2, 2]
    assert np.array_equal(read_back(store, "probs", "probs"), PROBS)
    with pytest.raises(SourceError, match=r"come more than once .*\(first: 'toys:3'\)"):
        ingest_signals(store, "toys", "probs", given(key=np.array([3, 0, 5, 1, 4, 3])))


def test_an_equal_object_is_read_once_and_another_is_the_next_version(store):
    assert str(ingest_signals(store, "toys", "probs", given())) == "probs@1"
    assert str(ingest_signals(store, "toys", "probs", given())) == "probs@1"
    assert str(ingest_signals(store, "toys", "probs", given(probs=PROBS[:, ::-1].copy()))) == "probs@2"


def test_the_key_may_bear_the_name_that_it_has_in_the_data_set(store):
    order = np.array([3, 0, 5, 1, 4, 2])
    ingest_signals(store, "toys", "probs", {"id": order, "probs": PROBS[order]})
    assert np.array_equal(read_back(store, "probs", "probs"), PROBS)


def test_the_key_keeps_its_name_when_labels_are_corrected(store, tmp_path):
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("id,label\n0,b\n")
    relabel_examples(store, "toys", str(fixes), "me", "seen", no_progress)
    ingest_signals(store, "toys", "probs", {"id": np.arange(6), "probs": PROBS})
    assert np.array_equal(read_back(store, "probs", "probs"), PROBS)


def test_columns_of_probabilities_follow_the_classes_named(store):
    turned = {"key": np.arange(6), "probs": PROBS[:, [2, 0, 1]]}
    ingest_signals(store, "toys", "probs", turned, wish=Wish(classes=("c", "a", "b")))
    assert np.array_equal(read_back(store, "probs", "probs"), PROBS)


def changed(place: int, row: list[float]) -> np.ndarray:
    probs = PROBS.copy()
    probs[place] = row
    return probs


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (given(key=np.array([0, 1, 2, 3, 4, 9])), r"1 of 6 ids .* not in the data set \(first: 'toys:9'\)"),
        (given(key=np.array([0, 1, 2, 3, 4, 4])), r"1 examples come more than once .*\(first: 'toys:4'\)"),
        ({"key": np.arange(4), "probs": PROBS[:4]}, r"2 of 6 training examples have no row .*\(first: 'toys:4'\)"),
        (given(probs=changed(2, [0.2, 0.2, np.nan])), r"not finite for 1 examples \(first: 'toys:2'"),
        (given(probs=changed(2, [1.2, -0.1, -0.1])), r"no probabilities in \[0, 1\] for 1 examples \(first: 'toys:2'"),
        (given(probs=changed(3, [0.5, 0.4, 0.3])), r"with the sum 1 .* for 1 examples \(first: 'toys:3'"),
        (given(probs=PROBS[:, :2].copy()), "'probs' .* has 2 numbers a row, and the data set has 3 classes"),
        (given(probs=PROBS[:, 0].copy()), "'probs' .* has one number a row"),
        ({"number": np.arange(6), "probs": PROBS}, "needs one column 'example_id'"),
        ({"key": np.arange(6)}, "it has none"),
        (given(note=np.array(list("abcdef"))), "array 'note' .* must be numbers"),
    ],
)
def test_what_does_not_fit_is_one_sentence_that_counts_and_names_the_first(store, arrays, sentence):
    with pytest.raises(SourceError, match=sentence):
        ingest_signals(store, "toys", "probs", arrays)
    assert store.names("signals") == []


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"place": [[1.0, 2.0]] * 5 + [[1.0]]}, "'place' .* has rows of 1 or 2 numbers"),
        ({"place": [[1.0, 2.0]] * 5 + [None]}, "'place' .* has 1 empty cells"),
        ({"place": ["north"] * 6}, "'place' .* must be numbers"),
        ({"place_0": [1.0] * 6, "place_1": [2.0] * 6, "place_3": [3.0] * 6}, "not numbered without a gap"),
        ({"key": [0, 1, 2, 3, 4, None], "depth": [1.0] * 6}, "1 rows of .* have no id"),
    ],
)
def test_columns_that_make_no_array_are_one_sentence(store, columns, sentence):
    with pytest.raises(SourceError, match=sentence):
        ingest_signals(store, "toys", "places", pl.DataFrame({"key": range(6), **columns}))


def test_lists_and_numbered_columns_are_arrays(store):
    lists = pl.DataFrame({"key": range(6), "place": [[float(one), 0.5] for one in range(6)]})
    ingest_signals(store, "toys", "lists", lists)
    numbered = {"key": range(6), "place_0": [float(one) for one in range(6)], "place_1": [0.5] * 6}
    ingest_signals(store, "toys", "numbered", pl.DataFrame(numbered))
    assert read_back(store, "lists", "place").tolist() == [[float(one), 0.5] for one in range(6)]
    assert read_back(store, "numbered", "place").tolist() == read_back(store, "lists", "place").tolist()


def test_classes_must_be_those_of_the_data_set(store):
    with pytest.raises(SourceError, match="the data set has a, b, c"):
        ingest_signals(store, "toys", "probs", given(), wish=Wish(classes=("a", "b", "d")))


def test_rows_of_other_splits_are_counted_and_left_out(tmp_path):
    store = Store.create(tmp_path / "store")
    rows = pl.DataFrame({"id": range(3), "x": [1.0, 2.0, 3.0], "part": ["train", "test", "train"]})
    ingest_frame(store, "toys", rows, roles=Roles(features=("x",), key="id", split="part"))
    arrays = {"key": np.array([2, 1, 0]), "depth": np.array([0.3, 0.2, 0.1])}
    version = ingest_signals(store, "toys", "depths", arrays)
    assert store.record(version.artifact).meta["counts"] == {"read": 3, "used": 2, "other_splits": 1}
    assert read_back(store, "depths", "depth").tolist() == [0.1, 0.3]


def with_scorers(scorers: dict, names: dict) -> dict:
    signals = {"mine": {"given": "probs", "names": names}}
    return {**RECIPE, "signals": signals, "scorers": scorers}


def test_scorers_that_read_logits_take_the_logarithm_of_probabilities(store):
    ingest_signals(store, "toys", "probs", given())
    scorers = {
        "el2n": {"method": "el2n", "signals": "mine"},
        "loss": {"method": "loss", "signals": "mine"},
        "issues": {"method": "confident_learning", "signals": "mine"},
    }
    run(store, with_scorers(scorers, {"logits": "probs", "oof_probs": "probs"}))
    rows = store.sql("SELECT * FROM scored.toys ORDER BY example_id")
    assert rows["issues_suggested_label"].to_list() == ["a", "b", "b", "a", "c", "c"]
    labels = np.array([0, 1, 1, 0, 2, 2])
    own = PROBS[np.arange(6), labels]
    assert rows["loss"].to_numpy() == pytest.approx(-np.log(own))
    assert rows["issues"].to_numpy() == pytest.approx(own)
    by_hand = np.sqrt(((PROBS - np.eye(3)[labels]) ** 2).sum(axis=1))
    assert rows["el2n"].to_numpy() == pytest.approx(by_hand)


def test_scorers_that_read_probabilities_take_the_softmax_of_logits(store):
    logits = np.log(np.maximum(PROBS, 1e-9)) + 3
    ingest_signals(store, "toys", "probs", {"key": np.arange(6), "logits": logits})
    scorers = {
        "issues": {"method": "confident_learning", "signals": "mine"},
        "el2n": {"method": "el2n", "signals": "mine"},
    }
    run(store, with_scorers(scorers, {"oof_probs": "logits"}))
    rows = store.sql("SELECT issues, el2n FROM scored.toys ORDER BY example_id")
    labels = np.array([0, 1, 1, 0, 2, 2])
    assert rows["issues"].to_numpy() == pytest.approx(PROBS[np.arange(6), labels], abs=1e-8)
    assert rows["el2n"].to_numpy() == pytest.approx(error_l2_norm(logits, labels))


def test_a_scorer_whose_signal_is_not_there_says_how_to_name_it(store):
    ingest_signals(store, "toys", "probs", given())
    raw = with_scorers({"issues": {"method": "confident_learning", "signals": "mine"}}, {})
    with pytest.raises(ValueError, match=r'has probs; .* names = \{ oof_probs = "probs" \}'):
        run(store, raw)


def test_numbers_are_not_read_as_probabilities(store):
    ingest_signals(store, "toys", "probs", {"key": np.arange(6), "depth": np.arange(6.0)})
    raw = with_scorers({"loss": {"method": "loss", "signals": "mine"}}, {"logits": "depth"})
    with pytest.raises(ValueError, match="neither probabilities nor logits"):
        run(store, raw)


def test_a_selector_reads_embeddings_that_were_brought_along(store):
    places = np.array([[0.0, 0], [0, 1], [10, 0], [10, 1], [0, 10], [1, 10]])
    ingest_signals(store, "toys", "places", {"key": np.arange(6), "place": places})
    raw = {
        "name": "toys",
        "dataset": "toys",
        "signals": {"where": {"given": "places", "names": {"embedding": "place"}}},
        "selection": {"subset": "spread", "method": "k_center", "signals": "where", "fraction": 0.5},
    }
    run(store, raw)
    kept = store.sql("SELECT example_id FROM subset.spread WHERE weight > 0 ORDER BY example_id")["example_id"]
    assert [int(one[5:]) // 2 for one in kept] == [0, 1, 2]


def test_a_recipe_without_learners_scores_selects_and_reports(store):
    ingest_signals(store, "toys", "probs", given())
    raw = with_scorers({"loss": {"method": "loss", "signals": "mine"}}, {"logits": "probs"})
    raw["selection"] = {"subset": "easy", "method": "top_fraction", "score": "loss", "fraction": 0.5, "keep": "low"}
    outcome = run(store, raw)
    report = store.record(outcome.report).meta
    assert [one["score"] for one in report["scores"]] == ["loss"]
    assert sum(one["kept"] for one in report["classes"]) == 3
    assert report["arms"] == []
    assert not any(one.startswith("training") for one in store.artifacts.ids())
    kept = store.sql("SELECT example_id FROM subset.easy WHERE weight > 0 ORDER BY example_id")
    assert kept["example_id"].to_list() == ["toys:0", "toys:1", "toys:4"]


def test_a_score_of_ones_own_becomes_a_column_that_a_selection_reads(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TAMIS_STORE", str(store.root))
    path = tmp_path / "hard.csv"
    path.write_text("key,mine\n" + "".join(f"{place},{place / 10}\n" for place in range(6)))
    said = ("--score", "mine", "--high-means", "hard")
    code, out, _ = tamis("ingest-signals", "toys", str(path), *said, capsys=capsys)
    assert code == 0
    assert "mine@1: mine of 6 training examples of toys@1; 6 rows read = 6 used + 0 of other splits" in out
    rows = store.sql("SELECT mine FROM scored.toys ORDER BY example_id")
    assert rows["mine"].to_list() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    selection = {"subset": "hardest", "method": "top_fraction", "score": "mine", "fraction": 0.5}
    run(store, {"name": "toys", "dataset": "toys", "selection": selection})
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("id,label\n0,b\n")
    relabel_examples(store, "toys", str(fixes), "me", "seen", no_progress)
    with pytest.raises(ValueError, match=r"'mine'; .*has it for other rows .* `tamis ingest-signals --append`"):
        run(store, {"name": "toys", "dataset": "toys", "selection": selection})
    kept = store.sql("SELECT example_id FROM subset.hardest WHERE weight > 0 ORDER BY example_id")
    assert kept["example_id"].to_list() == ["toys:3", "toys:4", "toys:5"]
    facts = store.why("toys:3")
    assert "high means hard" in str(facts.filter(facts["name"] == "mine")["text"][0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "name the signals with --as"),
        (("--score", "probs"), "--score and --high-means go together"),
        (("--as", "mine", "--take", "p=nothing"), "has no array nothing; it has probs"),
        (("--as", "mine", "--append"), "signals"),
        (("--score", "probs", "--high-means", "hard"), "several numbers for each example, and a score has one"),
        (
            ("--score", "hard", "--high-means", "hard"),
            "not 'hard', the score; name its array with --take hard=ARRAY",
        ),
    ],
)
def test_options_without_sense_are_one_sentence(store, tmp_path, monkeypatch, capsys, options, sentence):
    monkeypatch.setenv("TAMIS_STORE", str(store.root))
    np.savez(tmp_path / "mine.npz", key=np.arange(6), probs=PROBS)
    code, _, error = tamis("ingest-signals", "toys", str(tmp_path / "mine.npz"), *options, capsys=capsys)
    assert code == 1
    assert sentence in error
    assert error.count("\n") == 1 or error.startswith("[")
    assert store.names("signals") == []


def test_signals_of_another_data_set_keep_their_name(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TAMIS_STORE", str(store.root))
    ingest_signals(store, "toys", "probs", given())
    rows = pl.DataFrame({"id": range(2), "x": [0.5, 1.5]})
    ingest_frame(store, "others", rows, roles=Roles(features=("x",), key="id"), splits=ALL_TRAIN)
    np.savez(tmp_path / "mine.npz", key=np.arange(2), depth=np.arange(2.0))
    code, _, error = tamis("ingest-signals", "others", str(tmp_path / "mine.npz"), "--as", "probs", capsys=capsys)
    assert code == 1
    assert "signals 'probs' are of data set 'toys'; choose another name with --as" in error


def test_signals_are_shown_logged_and_rebuilt(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TAMIS_STORE", str(store.root))
    np.savez(tmp_path / "mine.npz", key=np.arange(6), probs=PROBS)
    assert tamis("ingest-signals", "toys", str(tmp_path / "mine.npz"), "--as", "mine", capsys=capsys)[0] == 0
    assert "signals probs of 6 examples" in tamis("log", "mine", capsys=capsys)[1]
    assert "probs of 6 examples" in tamis("show", "mine", capsys=capsys)[1]
    assert tamis("fsck", capsys=capsys)[0] == 0


def test_two_appended_files_must_hold_new_rows_and_the_same_arrays(tmp_path):
    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    begin(store, tmp_path)
    append_location(store, str(tmp_path / "rows1.csv"), "toys", COLUMNS, no_progress)
    further = {**SIGNALS, "append": True}
    with pytest.raises(SourceError, match=r"have these signals already .* give those of new examples alone"):
        put(store, "toys", str(tmp_path / "probs0.npz"), further, no_progress)
    with pytest.raises(SourceError, match=r"are hardness \[\] a row, and those before probs \[3\]"):
        put(store, "toys", str(tmp_path / "probs1.npz"), {**further, "take": ("hardness",)}, no_progress)
    told = put(store, "toys", str(tmp_path / "probs1.npz"), further, no_progress)
    assert told.startswith(f"probs@2: probs of {len(store.dataset('toys').index('train'))} training examples of toys@2")
    with pytest.raises(ValueError, match="is not of an earlier version"):
        put(store, "toys", str(tmp_path / "probs1.npz"), further, no_progress)


def test_scores_say_which_examples_have_no_signals(tmp_path):
    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    begin(store, tmp_path)
    append_location(store, str(tmp_path / "rows1.csv"), "toys", COLUMNS, no_progress)
    new = len(store.dataset("toys").index("train")) - len(store.dataset("toys@1").index("train"))
    raw = with_scorers({"loss": {"method": "loss", "signals": "mine"}}, {"logits": "probs"})
    with pytest.raises(NotFoundError, match=f"lack {new} of .* bring theirs with tamis ingest-signals --append"):
        run(store, raw)
    run(store, {**raw, "dataset": "toys@1"})
    with pytest.raises(NotFoundError, match=f"lack {new} of .* bring theirs with tamis ingest-signals --append"):
        run(store, raw)


def test_blocks_without_a_training_row_are_read_too(tmp_path, monkeypatch):
    monkeypatch.setattr("storage.ingest.memory.BLOCK_ROWS", 2)
    store = Store.create(tmp_path / "store")
    parts = ["train", "train", "test", "test", "test", "train"]
    rows = pl.DataFrame({"id": range(6), "x": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5], "kind": KINDS, "part": parts})
    ingest_frame(store, "toys", rows, roles=Roles(features=("x",), label="kind", key="id", split="part"))
    ingest_signals(store, "toys", "probs", given())
    assert np.array_equal(read_back(store, "probs", "probs"), PROBS[[0, 1, 5]])


def test_appended_numbers_take_the_type_of_those_before_where_none_changes(tmp_path):
    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    begin(store, tmp_path)
    append_location(store, str(tmp_path / "rows1.csv"), "toys", COLUMNS, no_progress)
    whole = dict(np.load(tmp_path / "probs1.npz"))
    narrow = whole["pred_probs"].astype(np.float32)
    np.savez(tmp_path / "narrow.npz", key=whole["key"], pred_probs=narrow)
    put(store, "toys", str(tmp_path / "narrow.npz"), {**SIGNALS, "append": True}, no_progress)
    found = read_back(store, "probs", "probs")
    assert found.dtype == np.float64
    assert set(narrow.astype(np.float64)[:, 0]) > set(found[-10:, 0])


def test_appended_numbers_that_the_type_before_cannot_hold_are_refused(tmp_path):
    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    begin(store, tmp_path)
    whole = {name: dict(np.load(tmp_path / f"{name}.npz")) for name in ("probs0", "probs1")}
    whole["probs0"]["pred_probs"] = whole["probs0"]["pred_probs"].astype(np.float32)
    for name, arrays in whole.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    put(store, "toys", str(tmp_path / "probs0.npz"), SIGNALS, no_progress)
    append_location(store, str(tmp_path / "rows1.csv"), "toys", COLUMNS, no_progress)
    with pytest.raises(SourceError, match=r"Float64.*those before are .*Float32.*cannot hold"):
        put(store, "toys", str(tmp_path / "probs1.npz"), {**SIGNALS, "append": True}, no_progress)


def test_columns_of_classes_are_not_read_over_other_classes(store):
    ingest_signals(store, "toys", "probs", given())
    rows = pl.DataFrame({"id": range(6), "x": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5], "kind": list("bccbdd")})
    ingest_frame(store, "toys", rows, roles=Roles(features=("x",), label="kind", key="id"), splits=ALL_TRAIN)
    raw = {key: RECIPE[key] for key in ("name", "dataset")}
    raw |= {"signals": {"mine": RECIPE["signals"]["mine"]}, "scorers": {"el2n": RECIPE["scorers"]["el2n"]}}
    with pytest.raises(ValueError, match=r"each of the classes a, b, c, and dataset-\w+ has b, c, d"):
        run(store, raw)


def test_suggested_labels_that_differ_in_zeros_before_them_alone_stay_apart(tmp_path):
    store = Store.create(tmp_path / "store")
    rows = pl.DataFrame({"id": range(6), "x": [0.0, 0.1, 0.2, 5.0, 5.1, 5.2], "kind": ["007"] * 3 + ["7"] * 3})
    ingest_frame(store, "toys", rows, roles=Roles(features=("x",), label="kind", key="id"), splits=ALL_TRAIN)
    odd = {"method": "knn_disagreement", "signals": "numbers", "num_neighbors": 2}
    run(store, {**RECIPE, "signals": {"numbers": {"method": "features"}}, "scorers": {"odd": odd}})
    found = store.sql("SELECT odd_suggested_label AS suggested FROM scored.toys ORDER BY example_id")
    assert found["suggested"].to_list() == ["007"] * 3 + ["7"] * 3
