import copy

import numpy as np
import polars as pl
import pytest

from flows.ingest_by_hand import ingest_location
from flows.reproduce_version import reproduce_version
from flows.signals_by_hand import ingest_signals
from flows.step import show_nothing
from storage.store import Store
from tests.flows.growing import COLUMNS, RECIPE, SIGNALS, append, begin, columns_of, no_progress, run, write_files

ALIKE = RECIPE["scorers"]["alike"]
EXTENDED = ("issues", "el2n", "twins", "far", "odd", "rank")


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> tuple[Store, Store, list[dict[str, str]]]:
    """A store scored at each of three versions, one scored only at the last, and the first one's scores."""
    folder = tmp_path_factory.mktemp("grown")
    write_files(folder)
    stepwise, at_once = Store.create(folder / "stepwise"), Store.create(folder / "at_once")
    found = []
    for store in (stepwise, at_once):
        begin(store, folder)
        for number in (1, 2):
            if store is stepwise:
                run(store)
                found.append(columns_of(store))
            append(store, folder, number)
        run(store)
    return stepwise, at_once, [*found, columns_of(stepwise)]


@pytest.mark.parametrize("name", EXTENDED)
def test_scores_of_appended_rows_are_those_of_a_full_run_value_by_value(grown, name):
    stepwise, at_once, columns = grown
    one, other = stepwise.scores(columns[2][name]), at_once.scores(columns_of(at_once)[name])
    assert one.index == other.index
    assert np.array_equal(one.values, other.values)
    assert one.columns.keys() == other.columns.keys()
    assert all(one.columns[key].tolist() == other.columns[key].tolist() for key in one.columns)


def test_the_id_does_not_tell_how_scores_were_computed_but_the_record_does(grown):
    stepwise, at_once, columns = grown
    assert columns[2] == columns_of(at_once)
    for name in EXTENDED:
        earlier = columns[1][name]
        assert stepwise.record(columns[2][name]).meta["computed"] == f"incremental from {earlier}"
        assert at_once.record(columns[2][name]).meta["computed"] == "full"


def test_files_of_scores_that_stay_and_of_signals_are_shared(grown):
    stepwise, _, columns = grown
    for name in ("el2n", "twins"):
        first, last = (stepwise.record(one[name]).table("scores") for one in (columns[0], columns[2]))
        assert last[: len(first)] == first
        assert len(last) == 3
    signals = [stepwise.record(one["far"]).request.inputs["signals.000"] for one in columns]
    tables = [stepwise.record(one).table("signals") for one in signals]
    assert tables[2][:2] == tables[1]
    assert tables[1][:1] == tables[0]


def test_signals_do_not_depend_on_the_blocks_that_are_examined_at_once(grown, tmp_path, monkeypatch):
    stepwise, _, columns = grown
    monkeypatch.setattr("flows.examine_examples.BLOCK_ROWS", 7)
    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    begin(store, tmp_path)
    run(store)
    for name in ("twins", "far", "alike"):
        one, other = (each.scores(columns[0][name]) for each in (store, stepwise))
        assert np.array_equal(one.values, other.values)
        signals = store.record(columns[0][name]).request.inputs["signals.000"]
        assert len(store.record(signals).table("signals")) > 10


def test_a_fitted_classifier_is_fitted_anew_unless_its_rows_are_frozen(grown):
    stepwise, _, columns = grown
    assert stepwise.record(columns[2]["alike"]).meta["computed"] == "full"
    assert not stepwise.record(columns[2]["alike"]).table("frozen")


def test_scores_computed_step_by_step_are_reproduced_by_a_full_run(grown):
    stepwise, _, _ = grown
    checks = list(reproduce_version(stepwise, stepwise.version("scored", "toys"), (), show_nothing))
    assert [one.difference for one in checks] == [None] * len(checks)
    assert len(checks) > 10


def test_views_show_scores_of_several_files_at_their_rows(grown):
    stepwise, _, columns = grown
    shown = stepwise.sql("SELECT example_id, el2n, rank FROM scored.toys WHERE el2n IS NOT NULL ORDER BY example_id")
    for name in ("el2n", "rank"):
        scores = stepwise.scores(columns[2][name])
        wanted = dict(zip(scores.index, scores.values.tolist(), strict=True))
        assert dict(zip(shown["example_id"], shown[name], strict=True)) == wanted
    old = stepwise.sql('SELECT count(el2n) AS scored, count(*) AS n FROM scored."toys@1"').row(0)
    assert old == (len(stepwise.scores(columns[0]["el2n"])), 120)


def test_a_frozen_classifier_scores_new_rows_by_what_it_was_fitted_on(tmp_path):
    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    raw = copy.deepcopy(RECIPE)
    raw["scorers"] = {"alike": {**RECIPE["scorers"]["alike"], "new_rows": "frozen"}}
    begin(store, tmp_path)
    run(store, raw)
    first = store.scores(columns_of(store)["alike"])
    start = columns_of(store)["alike"]
    append(store, tmp_path, 1)
    run(store, raw)
    append(store, tmp_path, 2)
    run(store, raw)
    last = columns_of(store)["alike"]
    scores = store.scores(last)
    assert np.array_equal(scores.values[: len(first)], first.values)
    from curation.linear_classifier import probability

    record = store.record(last)
    embedding = store.unrecorded(record.request.inputs["signals.000"], scores.index, ("embedding",))["embedding"]
    assert np.array_equal(scores.values, probability(embedding, store.state(start)))
    assert record.rows("frozen") == len(scores) - len(first)
    shown = store.sql("SELECT example_id, alike_frozen FROM scored.toys WHERE alike IS NOT NULL")
    frozen = dict(shown.iter_rows())
    assert all(frozen[one] == (place >= len(first)) for place, one in enumerate(scores.index))
    facts = store.why(scores.index[len(scores) - 1])
    told = facts.filter(facts["name"] == "alike_frozen")["text"].to_list()
    assert told == [f"computed by the stored model of {start}"]
    assert not store.why(first.index[0])["name"].is_in(["alike_frozen"]).any()


def test_corrected_labels_leave_scores_that_read_none_and_renew_the_others(tmp_path):
    from flows.ingest_by_hand import relabel_examples

    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    begin(store, tmp_path)
    raw = copy.deepcopy(RECIPE)
    raw["scorers"] = {name: RECIPE["scorers"][name] for name in ("twins", "el2n")}
    run(store, raw)
    before = columns_of(store)
    train = store.dataset("toys").index("train")[0]
    label = store.sql(f"SELECT label FROM dataset.toys WHERE example_id = '{train}'")["label"][0]
    (tmp_path / "fix.csv").write_text(f"example_id,label\n{train},{'x' if label != 'x' else 'y'}\n")
    relabel_examples(store, "toys", str(tmp_path / "fix.csv"), "ada", "seen", no_progress)
    run(store, raw)
    after = {name: store.record(one) for name, one in columns_of(store).items()}
    assert after["twins"].table("scores") == store.record(before["twins"]).table("scores")
    assert after["el2n"].meta["computed"] == "full"
    assert store.scores(after["el2n"].id).values[0] != store.scores(before["el2n"]).values[0]


TRAINED = {
    "name": "toys",
    "source": {"location": "", "format": "csv"},
    "columns": {"features": ["a", "b"], "label": "kind", "key": "id"},
    "model": {"method": "mlp", "widths": [4]},
    "seeds": 2,
    "training": {"epochs": 2, "batch_size": 32},
    "learners": {"plain": {"method": "erm", "record": {"logits": [1, 2]}}},
    "scorers": {"el2n": {"method": "el2n", "signals": "plain", "new_rows": "frozen"}},
}


def test_stored_models_score_new_rows_when_asked_to(tmp_path):
    from flows.ingest_by_hand import append_location
    from learners.checkpoint import load_model
    from tests.flows.growing import COLUMNS

    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    raw = copy.deepcopy(TRAINED)
    raw["source"]["location"] = str(tmp_path / "rows0.csv")
    run(store, raw)
    start = columns_of(store)["el2n"]
    first = store.scores(start)
    append_location(store, str(tmp_path / "rows1.csv"), "toys", COLUMNS, no_progress)
    outcome = run(store, raw)
    record = store.record(columns_of(store)["el2n"])
    assert store.version("dataset", "toys").number == 2
    assert record.request.inputs["dataset"] == store.version("dataset", "toys@2").artifact
    scores = store.scores(record.id)
    assert len(scores) == len(store.dataset("toys@2").index("train")) > len(first)
    assert np.array_equal(scores.values[: len(first)], first.values)

    from curation.scorers.el2n import error_l2_norm
    from flows import resolve
    from learners.evaluate import predict_logits

    examples = store.dataset("toys@2").examples("train")
    norms = []
    for training in record.meta["frozen"]["stored"]:
        arrays, card = store.model(training)
        network = resolve.method("model", card["model"], "model").build(examples, 0)
        load_model(network, arrays)
        norms.append(error_l2_norm(predict_logits([network], examples), examples.labels))
    # The network sums in another order for other batches, hence not bit for bit.
    assert scores.values[len(first) :] == pytest.approx(np.mean(norms, axis=0)[len(first) :], abs=1e-6)
    assert store.sql("SELECT count(*) FILTER (el2n_frozen) AS n FROM scored.toys")["n"][0] == len(scores) - len(first)
    assert "computed by the stored model of training-" in str(
        store.why(scores.index[len(scores) - 1])["text"].to_list()
    )
    assert outcome.computed
    assert run(store, raw).computed == 0


@pytest.mark.parametrize(
    ("scorer", "sentence"),
    [
        ({"method": "el2n", "signals": "plain", "epoch": 1}, "epoch 2.*read at|scored at epoch 1"),
        ({"method": "aum", "signals": "plain"}, "of a stored model there are el2n, loss, margin"),
    ],
)
def test_what_a_stored_model_cannot_tell_is_refused_before_any_work(tmp_path, scorer, sentence):
    write_files(tmp_path)
    raw = copy.deepcopy(TRAINED)
    raw["source"]["location"] = str(tmp_path / "rows0.csv")
    raw["learners"]["plain"]["record"]["train_logits"] = "every"
    raw["scorers"] = {"hard": {**scorer, "new_rows": "frozen"}}
    with pytest.raises(ValueError, match=sentence):
        run(Store.create(tmp_path / "store"), raw)


def test_a_recipe_with_a_source_takes_the_version_that_grew_from_it(tmp_path):
    from flows.ingest_by_hand import append_location
    from tests.flows.growing import COLUMNS

    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    raw = {
        "name": "toys",
        "source": {"location": str(tmp_path / "rows0.csv")},
        "columns": {"features": ["a", "b"], "label": "kind", "key": "id"},
        "signals": {"hashes": {"method": "content_hash"}},
        "scorers": {"twins": {"method": "exact_duplicates", "signals": "hashes"}},
    }
    run(store, raw)
    append_location(store, str(tmp_path / "rows1.csv"), "toys", COLUMNS, no_progress)
    run(store, raw)
    assert [one.number for one in store.versions("dataset", "toys")] == [1, 2]
    assert store.sql("SELECT count(twins) AS n FROM scored.toys")["n"][0] == len(store.dataset("toys@2").index("train"))
    assert store.sql('SELECT count(*) AS n FROM scored."toys@1"')["n"][0] == 120


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"source": {"location": "rows.csv"}}, "name one of the two"),
        ({"dataset": None}, "name one of the two"),
        ({"columns": {"label": "kind"}}, r"\[columns\] has no effect on data set 'toys'"),
        ({"name": "others"}, "name must be 'toys'"),
        ({"signals": {"mine": {"given": "probs", "method": "features"}}}, "name one of the two"),
        ({"signals": {"mine": {"given": "probs", "column": "a"}}}, "given signals have no settings, got column"),
        ({"scorers": {"far": {"method": "knn_distance", "signals": "hashes"}}}, r"\(content_hash\) gives content_hash"),
        ({"scorers": {"rank": {"method": "percentile", "score": "nothing"}}}, "names 'nothing'; there are none"),
        ({"scorers": {"rank": {"method": "percentile", "score": "far", "signals": "mine"}}}, "signals have no effect"),
        ({"scorers": {"el2n": {"method": "el2n"}}}, r"see scorers\.el2n\.signals"),
        (
            {"scorers": {"far": {"method": "knn_distance", "signals": "numbers", "new_rows": "frozen"}}},
            "has no effect: knn_distance extends its scores",
        ),
        (
            {"signals": {"grams": {"method": "hashed_ngrams", "column": "poem"}}, "scorers": {"alike": ALIKE}},
            "no text column 'poem'; it has words",
        ),
    ],
)
def test_a_recipe_without_sense_is_one_sentence(tmp_path, changes, sentence):
    write_files(tmp_path)
    store = Store.create(tmp_path / "store")
    begin(store, tmp_path)
    with pytest.raises(ValueError, match=sentence):
        run(store, {**RECIPE, **changes})


def test_where_the_truth_is_known_scores_of_scores_are_reported_too(tmp_path):
    write_files(tmp_path)
    path = tmp_path / "rows0.csv"
    rows = pl.read_csv(path).with_columns(truth="kind")
    rows.with_columns(kind=pl.when(pl.col("id") < 20).then(pl.lit("x")).otherwise("kind")).write_csv(path)
    store = Store.create(tmp_path / "store")
    ingest_location(store, str(path), "toys", {**COLUMNS, "clean_label": "truth"}, no_progress)
    ingest_signals(store, "toys", str(tmp_path / "probs0.npz"), SIGNALS, no_progress)
    outcome = run(store)
    found = {row["score"]: row for row in store.record(outcome.report).meta["detection"]}
    assert found["rank"]["auroc"] == found["el2n"]["auroc"]
    assert found["rank"]["by_epoch"] == []
