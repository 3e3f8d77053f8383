from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.rebalance.smote import SMOTE
from flows import train_learner
from flows.config import parse_recipe
from flows.curate_and_train import curate_and_train
from flows.plan import plan_run
from flows.reproduce_version import reproduce_version
from flows.step import run_step, show_nothing
from storage.artifacts import Request
from storage.export.rows import export_rows
from storage.fsck import check_store
from storage.schemas import Roles
from storage.store import Store
from storage.sweep import Sweep
from storage.values import Selection
from tests.flows.commands import tamis
from tests.flows.uneven import rebalanced, uneven_recipe, uneven_rows, uneven_store

TRAINED = {
    "seeds": 1,
    "training": {"epochs": 2, "batch_size": 16, "learning_rate": 0.5, "threads": 1},
    "model": {"method": "mlp", "widths": [4]},
    "learners": {"plain": {"method": "erm"}},
}


@pytest.fixture(scope="module")
def uneven(tmp_path_factory) -> Store:
    """The table in a store of its own; tests add selections to it and change nothing else."""
    return uneven_store(tmp_path_factory.mktemp("uneven"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A store in which the recipe has run with a training on the rebalanced subset; tests must only read it."""
    place = tmp_path_factory.mktemp("run")
    recipe = uneven_recipe(place, **TRAINED, arms=[{"learner": "plain", "data": "subset"}])
    store = Store.create(place / "store")
    return store, recipe, curate_and_train(store, recipe, show_nothing)


def select(store: Store, weights, labels=None) -> str:
    """Id of a selection of the training split by hand."""
    index = store.dataset("tiny").index("train")
    given = {"weights": np.asarray(weights).tolist(), "labels": None if labels is None else labels.tolist()}
    request = Request(kind="selection", settings=given, inputs={"dataset": store.version("dataset", "tiny").artifact})
    reasons = np.where(np.asarray(weights) > 0, "kept", "dropped").astype(object)
    if not store.has(request.id):
        store.write_selection(request, Selection(index=index, weights=weights, reasons=reasons, labels=labels), {})
    return request.id


SMOTES = st.sampled_from(
    [
        {"method": "smote", "num_neighbors": 2},
        {"method": "borderline_smote", "num_neighbors": 2, "num_danger_neighbors": 4, "kind": "borderline-2"},
        {"method": "adasyn", "num_neighbors": 3},
        {"method": "random_over"},
    ]
)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31), SMOTES)
def test_synthetic_rows_lie_between_kept_training_rows_of_their_class_and_nowhere_else(uneven, seed, method):
    rng = np.random.default_rng(seed)
    dataset = uneven.dataset("tiny")
    given_labels, ids = dataset.labels("train"), dataset.index("train").ids.to_list()
    labels = np.where(rng.random(len(ids)) < 0.05, 1 - given_labels, given_labels)
    weights = (rng.random(len(ids)) < 0.9).astype(np.float32) * np.float32(0.5)
    before = select(uneven, weights, labels)
    after = uneven.selection(rebalanced(uneven, method, before, seed))
    rows = dataset.scan().select("example_id", "x", "n").collect()
    values = {one: (x, n) for one, x, n in rows.iter_rows()}
    kept = {one: label for one, label, weight in zip(ids, labels, weights, strict=True) if weight > 0}
    groups = dict(zip(ids, dataset.groups("train"), strict=True))
    made = after.synthetic
    assert len(made)
    np.testing.assert_array_equal(after.weights, weights)
    np.testing.assert_array_equal(after.labels, labels)
    for place, (a, b, gap) in enumerate(zip(made.parent_a, made.parent_b, made.gap, strict=True)):
        assert a in kept
        assert b in kept
        assert made.labels[place] == kept[a]
        assert made.groups[place] == groups[a]
        first, second = np.array(values[a], float), np.array(values[b], float)
        np.testing.assert_allclose(made.features.row(place), first + gap * (second - first), rtol=0, atol=1e-12)
    assert len(set(made.index) | set(values)) == len(made) + len(values)
    assert all(one.startswith("tiny:synthetic-") for one in made.index)


def test_both_classes_end_with_as_many_rows_and_every_reader_sees_them(run):
    store, _, outcome = run
    counts = store.sql("SELECT label, sum(weight) AS n FROM subset.even GROUP BY label ORDER BY label")
    assert counts["n"][0] == counts["n"][1]
    made = store.sql("SELECT * FROM subset.even WHERE synthetic ORDER BY example_id")
    assert set(made["split"]) == {"train"}
    assert set(made["label"]) == {"yes"}
    assert not made["relabelled"].any()
    scored = store.sql(
        "SELECT count(*) AS n FROM subset.even e JOIN dataset.tiny d ON d.example_id IN (e.parent_a, e.parent_b) "
        "WHERE d.split <> 'train'"
    )
    assert scored["n"][0] == 0
    subset = store.subset("even")
    kept = store.record(store.version("subset", "even").artifact).meta["kept"]
    assert (len(subset), subset.num_synthetic) == (kept + len(made), len(made))
    assert sorted(subset[np.flatnonzero(subset.synthetic)]["example_id"]) == made["example_id"].to_list()
    classes = store.record(outcome.report).meta["classes"]
    assert [one["synthetic"] for one in classes] == [0, len(made)]
    assert store.version("model", "even-plain").number == 1


def test_the_handed_over_rows_are_those_of_the_training_hand_over(run):
    store, _, _ = run
    subset = store.subset("even")
    examples = store.dataset("tiny").examples("train", store.selection(store.version("subset", "even").artifact))
    assert len(examples) == len(store.dataset("tiny").index("train")) + subset.num_synthetic
    rows = subset.positions
    np.testing.assert_array_equal(rows[-subset.num_synthetic :], np.arange(len(examples))[-subset.num_synthetic :])
    assert subset.index == examples.index.take(rows)
    for name in ("inputs", "labels", "weights", "groups"):
        np.testing.assert_array_equal(getattr(subset, name), getattr(examples, name)[rows])
    assert (np.delete(examples.weights, rows) == 0).all()


def test_a_training_sees_synthetic_rows_in_as_many_steps_as_everything_takes(run, monkeypatch):
    store, recipe, _ = run
    (step,) = (one for one in plan_run(recipe, store).steps if one.module == "train_learner")
    seen = {}

    def caught(learner, examples, *, training, **further):
        seen.update(examples=examples, training=training)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_learner, "fit", caught)
    with pytest.raises(KeyboardInterrupt):
        run_step(store, replace(step, request=replace(step.request, seed=99), publish=None), None, show_nothing)
    everything = len(store.dataset("tiny").index("train"))
    assert len(seen["examples"]) > everything
    assert seen["training"].steps_per_epoch == -(-(everything - 1) // 16)


def test_running_again_computes_nothing_and_the_plan_of_other_artifacts_is_as_without(run, tmp_path):
    store, recipe, _ = run
    assert curate_and_train(store, recipe, show_nothing).computed == 0
    alone = {one.title: one.id for one in plan_run(replace(recipe, rebalance=None, arms=()), store).steps}
    beside = {one.title: one.id for one in plan_run(replace(recipe, arms=()), store).steps}
    assert beside["select most"] == alone["select most"]
    assert set(beside) - set(alone) == {"rebalance even"}


def test_ids_follow_from_settings_and_seed_and_rows_that_are_the_same_keep_theirs(uneven):
    method = {"method": "smote", "num_neighbors": 3}
    ids = [rebalanced(uneven, settings, seed=seed) for settings, seed in ((method, 1), (method, 1), (method, 2))]
    assert ids[0] == ids[1] != ids[2]
    first, other = (set(uneven.selection(one).synthetic.index) for one in (ids[0], ids[2]))
    assert not first & other
    pytest.importorskip("imblearn", reason="imbalanced-learn is not installed")
    cleaned = rebalanced(uneven, {"method": "smote_tomek", "num_neighbors": 3}, seed=1)
    assert set(uneven.selection(cleaned).synthetic.index) < first


def test_copies_have_one_parent_and_an_id_each(uneven):
    made = uneven.selection(rebalanced(uneven, {"method": "random_over"}, seed=5)).synthetic
    assert made.parent_a.equals(made.parent_b, check_names=False)
    assert not made.gap.any()
    assert any(one.endswith("-2") for one in made.index)
    assert len(set(made.index)) == len(made)


def test_rows_left_out_say_by_whom_and_nothing_synthetic_is_stored(uneven):
    weights = np.ones(len(uneven.dataset("tiny").index("train")), np.float32)
    weights[:3] = 0
    artifact = rebalanced(uneven, {"method": "random_under"}, select(uneven, weights))
    after = uneven.selection(artifact)
    assert after.synthetic is None
    assert set(after.reasons) == {"dropped", "kept", "left out by random_under"}
    labels = uneven.dataset("tiny").labels("train")[after.kept]
    assert np.bincount(labels)[0] == np.bincount(labels)[1]


@pytest.mark.parametrize(
    ("method", "features"), [("smote_nc", ("x", "n", "colour", "size")), ("smote_n", ("colour", "size"))]
)
def test_categories_are_stored_as_written_and_handed_over_one_hot(tmp_path, method, features):
    roles = Roles(features=features, label="answer", key="row", split="part")
    store = uneven_store(tmp_path, roles=roles)
    artifact = rebalanced(store, {"method": method, "num_neighbors": 2})
    made = store.selection(artifact).synthetic
    assert set(made.features["colour"]) <= {"red", "green", "blue"}
    rows = {one["example_id"]: one for one in store.sql("SELECT * FROM dataset.tiny").iter_rows(named=True)}
    for colour, voters in zip(made.features["colour"], made.voters, strict=True):
        votes = [rows[one]["colour"] for one in voters]
        assert votes.count(colour) == max(map(votes.count, votes))
        assert {rows[one]["split"] for one in voters} == {"train"}
    subset = store.subset("even")
    one_hot = subset.inputs[subset.synthetic][:, -5:]
    np.testing.assert_array_equal(one_hot.sum(axis=1), np.full(len(made), 2))
    colours = next(one for one in store.dataset("tiny").schema.features if one.name == "colour").categories
    at = [list(colours).index(one) for one in made.features["colour"]]
    start = list(features).index("colour") - len(features) + 2
    block = one_hot[:, : len(colours)] if start == 0 else one_hot[:, -len(colours) :]
    np.testing.assert_array_equal(block.argmax(axis=1), at)


def test_embeddings_are_interpolated_as_vectors(tmp_path):
    rng = np.random.default_rng(0)
    frame = uneven_rows().with_columns(v=pl.Series(rng.normal(size=(90, 6)).astype(np.float32)))
    store = uneven_store(tmp_path, frame, Roles(features=("v",), label="answer", key="row", split="part"))
    made = store.selection(rebalanced(store, {"method": "smote", "num_neighbors": 3})).synthetic
    assert made.features.schema["v"] == pl.Array(pl.Float32, 6)
    vectors = dict(store.dataset("tiny").scan().select("example_id", "v").collect().iter_rows())
    first, second = (np.array([vectors[one] for one in side], np.float32) for side in (made.parent_a, made.parent_b))
    np.testing.assert_array_equal(
        made.features["v"].to_numpy(), (first + made.gap[:, None] * (second - first)).astype(np.float32)
    )
    assert store.subset("even").inputs.shape[1] == 6


def test_images_are_refused_in_feature_space_and_copied_otherwise(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (90, 4), dtype=np.uint8)
    frame = uneven_rows().with_columns(image=pl.Series(pixels))
    roles = Roles(features=("image",), label="answer", key="row", split="part", image_shape=(2, 2))
    store = uneven_store(tmp_path, frame, roles)
    with pytest.raises(
        ValueError, match=r"smote works in feature space, and column 'image' holds images.*vector column"
    ):
        rebalanced(store, {"method": "smote"})
    made = store.selection(rebalanced(store, {"method": "random_over"})).synthetic
    images = dict(store.dataset("tiny").scan().select("example_id", "image").collect().iter_rows())
    assert made.features["image"].to_list() == [images[one] for one in made.parent_a]
    assert store.subset("even").inputs.shape[1:] == (2, 2)


def test_a_rebalanced_version_is_reproduced_hash_by_hash_and_nothing_of_it_is_swept(run):
    store, _, _ = run
    checks = list(reproduce_version(store, store.version("subset", "even"), (), show_nothing))
    assert [one.artifact.partition("-")[0] for one in checks] == ["dataset", "selection", "selection"]
    assert [one.difference for one in checks] == [None] * 3
    assert list(check_store(store.files)) == []
    needed = {one.artifact for one in checks}
    assert not needed & {one.path.rpartition("/")[2] for one in Sweep(store.files, grace_seconds=0).find()}


def test_a_run_that_was_killed_in_the_rebalancer_carries_on_there(tmp_path, monkeypatch):
    store, recipe = Store.create(tmp_path / "store"), uneven_recipe(tmp_path)
    call = SMOTE.__call__

    def killed(self, rows, rng):
        raise KeyboardInterrupt

    monkeypatch.setattr(SMOTE, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        curate_and_train(store, recipe, show_nothing)
    assert store.names("subset") == ["most"]
    monkeypatch.setattr(SMOTE, "__call__", call)
    outcome = curate_and_train(store, recipe, show_nothing)
    assert (outcome.computed, outcome.reused) == (2, 2)
    assert store.names("subset") == ["even", "most"]


def test_appended_rows_make_another_subset_of_all_rows(tmp_path, capsys):
    uneven_rows()[:60].write_csv(tmp_path / "tiny.csv")
    uneven_rows()[60:].write_csv(tmp_path / "more.csv")
    store, recipe = Store.create(tmp_path / "store"), uneven_recipe(tmp_path, selection=None)
    curate_and_train(store, recipe, show_nothing)
    place = ("--store", str(store.root))
    assert tamis("ingest", str(tmp_path / "more.csv"), "--name", "tiny", "--append", *place, capsys=capsys)[0] == 0
    curate_and_train(store, recipe, show_nothing)
    known = set(store.dataset("tiny@1").index("train"))
    made = store.selection(store.version("subset", "even@2").artifact).synthetic
    assert not set(made.parent_a) <= known
    assert set(made.parent_a) <= set(store.dataset("tiny@2").index("train"))
    counts = store.sql("SELECT sum(weight) AS n FROM subset.even GROUP BY label")["n"]
    assert counts[0] == counts[1]


def test_a_selection_and_what_was_rebalanced_of_it_differ_by_the_synthetic_rows(run):
    store, _, _ = run
    found = store.diff("most@1", "even@1")
    made = store.subset("even").num_synthetic
    assert found.counts["added"] == made
    assert sum(found.counts[one] for one in ("dropped", "relabelled", "weight changed")) == 0
    assert set(found.rows["cause"]) == {"synthetic"}
    assert {one.name.partition(".")[0] for one in found.origins} == {"rebalancer"}
    assert store.diff("even@1", "most@1").counts["dropped"] == made


def test_why_and_show_name_the_parents_of_a_synthetic_row_and_the_children_of_an_example(run, capsys):
    store, _, _ = run
    made = store.selection(store.version("subset", "even").artifact).synthetic
    facts = {one["name"]: one for one in store.why(made.index[0]).iter_rows(named=True)}
    assert facts["parent_a"]["text"] == made.parent_a[0]
    assert facts["parent_b"]["text"] == made.parent_b[0]
    assert float(facts["gap"]["text"]) == made.gap[0]
    assert float(facts["x"]["text"]) == made.features["x"][0]
    assert (facts["split"]["text"], facts["label"]["text"], facts["weight"]["text"]) == (
        "train",
        "yes",
        "synthetic (smote)",
    )
    code, out, _ = tamis("show", made.index[0], "--store", str(store.root), capsys=capsys)
    assert code == 0
    assert made.parent_a[0] in out
    both = (made.parent_a == made.parent_a[0]) | (made.parent_b == made.parent_a[0])
    code, out, _ = tamis("why", made.parent_a[0], "--store", str(store.root), capsys=capsys)
    assert f"parent of  {both.sum()} synthetic rows" in out
    code, out, err = tamis("why", "tiny:synthetic-0", "--store", str(store.root), capsys=capsys)
    assert (code, out) == (1, "")
    assert "has no example 'tiny:synthetic-0'" in err


def test_show_counts_synthetic_rows_apart(run, capsys):
    store, _, _ = run
    made = store.subset("even").num_synthetic
    code, out, _ = tamis("show", "even@1", "--store", str(store.root), capsys=capsys)
    assert code == 0
    assert f"examples kept and {made} synthetic rows" in " ".join(out.split())
    assert "synthetic" in out.split("reasons")[0]


def test_an_export_has_synthetic_rows_behind_the_others_and_marked(run, tmp_path, capsys):
    store, _, _ = run
    for to, read in (("parquet", pl.read_parquet), ("csv", pl.read_csv)):
        place = tmp_path / f"even.{to}"
        assert (
            tamis("export", "even@1", "--to", to, "--output", str(place), "--store", str(store.root), capsys=capsys)[0]
            == 0
        )
        rows = read(place)
        subset = store.subset("even")
        assert rows["example_id"].to_list() == list(subset.index)
        assert rows["synthetic"].to_list() == subset.synthetic.tolist()
        assert rows["label"].to_list() == [subset.classes[one] for one in subset.labels]
        np.testing.assert_allclose(rows.select("x", "n").to_numpy(), subset.inputs, rtol=1e-6)
        assert rows["parent_a"].null_count() == rows["gap"].null_count() == (~subset.synthetic).sum()
        assert set(rows["split"]) == {"train"}
    blocks = list(export_rows(store, store.version("subset", "most")).blocks())
    assert "synthetic" not in blocks[0].columns


@pytest.mark.parametrize(
    ("rebalance", "sentence"),
    [
        ({"subset": "most", "method": "smote"}, "rebalance.subset must differ from selection.subset"),
        ({"subset": "even", "method": "smoot"}, "there is no rebalancer 'smoot'; there are adasyn"),
        (
            {"subset": "even", "method": "smote", "k_neighbors": 3},
            "unknown key 'k_neighbors' in rebalance; did you mean",
        ),
        ({"subset": "even", "method": "smote", "balance": 1.5}, "balance must be in"),
        ({"method": "smote"}, "subset"),
    ],
)
def test_a_section_that_cannot_be_is_refused_before_any_work(tmp_path, rebalance, sentence):
    with pytest.raises(ValueError, match=sentence):
        plan_run(uneven_recipe(tmp_path, rebalance=rebalance), Store.create(tmp_path / "store"))


def test_a_pool_without_labels_has_no_classes_to_even_out(tmp_path):
    raw = {"name": "pool", "source": {"location": "pool.csv"}, "columns": {"features": ["x"]}}
    with pytest.raises(ValueError, match=r"name the label column in columns\.label"):
        parse_recipe({**raw, "rebalance": {"subset": "even", "method": "random_over"}})
