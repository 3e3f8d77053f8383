import gzip
import io
import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

from flows.curate_and_train import curate_and_train
from flows.report.terminal import print_contract
from flows.step import show_nothing
from storage import ColumnRules, Contract, Roles, Store, ingest_frame
from tests.flows.commands import tamis
from tests.flows.recipes import small_recipe

CONTRACT = """
[contract]
labels = ["a", "b"]
rows = [1, 10]
[contract.columns.x]
minimum = 2
[contract.actions]
"x: range" = "warn"
"""
NO_TRAINING = (
    "name=t",
    "limit=4",
    "columns={features=['x'], label='y', key='id'}",
    "model={method='mlp'}",
    "scorers={}",
    "arms=[]",
    "selection={subset='half', method='random', fraction=0.5}",
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TAMIS_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_labels_of_a_second_file_a_contract_and_a_packed_source_can_be_named_on_the_command_line(place, capsys):
    (place / "x.csv.gz").write_bytes(gzip.compress(b"id,x\n1,1.5\n2,2.5\n3,3.5\n4,4.5\n"))
    (place / "l.tsv").write_text("id\tcrowd\ttruth\n1\ta\ta\n2\tb\ta\n3\tc\ta\n")
    (place / "c.toml").write_text(CONTRACT)
    roles = ("--key", "id", "--features", "x", "--label", "crowd", "--clean-label", "truth")
    second = ("--labels", "l.tsv", "--label-key", "id", "--contract", "c.toml")
    code, out, _ = tamis("ingest", "x.csv.gz", "--name", "x", *roles, *second, capsys=capsys)
    assert code == 0
    assert out.startswith(
        "x@1: 4 rows read = 2 kept + 2 quarantined (no label row 1, unknown label 1); warned of: x: range 1; see them"
    )
    rows = Store.open(place / "store").sql("SELECT example_id, label, clean_label, x FROM dataset.x ORDER BY 1")
    assert rows.rows() == [("x:1", "a", "a", 1.5), ("x:2", "b", "a", 2.5)]
    code, _, err = tamis("ingest", "x.csv.gz", "--name", "y", *roles, *second, "--on-bad-rows", "fail", capsys=capsys)
    assert code == 1
    assert "2 of 4 rows of x.csv.gz break the contract" in err


def test_images_of_mixed_sizes_are_quarantined_or_resized_as_the_option_says(place, capsys):
    for name, size in (("a/1.png", (4, 4)), ("a/2.png", (4, 4)), ("b/3.png", (6, 5))):
        (place / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        Image.fromarray(np.full(size[::-1], 7, dtype=np.uint8)).save(stream, "PNG")
        (place / "pictures" / name).write_bytes(stream.getvalue())
    roles = ("--features", "image", "--label", "label", "--key", "path", "--image-shape", "4x4")
    _, out, _ = tamis("ingest", "pictures", "--name", "p", *roles, capsys=capsys)
    assert "3 rows read = 2 kept + 1 quarantined (wrong shape 1)" in out
    _, out, _ = tamis("ingest", "pictures", "--name", "p", *roles, "--image-fit", "resize", capsys=capsys)
    assert "p@2: 3 rows read = 3 kept + 0 quarantined" in out


@pytest.mark.parametrize(
    ("further", "sentence"),
    [
        (("--labels", "x.csv"), "--labels and --label-key go together"),
        (("--contract", "absent.toml"), "there is no contract file absent.toml"),
        (("--contract", "x.csv"), "contract x.csv is not valid TOML"),
        (("--contract", "bad.toml"), "unknown key 'lables' in contract; did you mean 'labels'?"),
        (("--image-fit", "resize"), "image_fit has no effect"),
    ],
)
def test_options_that_make_no_sense_are_one_sentence(place, capsys, further, sentence):
    (place / "x.csv").write_text("id,x,y\n1,1.5,a\n")
    (place / "bad.toml").write_text('lables = ["a"]\n')
    code, _, err = tamis("ingest", "x.csv", "--name", "x", "--features", "x", "--label", "y", *further, capsys=capsys)
    assert code == 1
    assert sentence in err
    assert err.count("\n") == 1


def test_an_append_is_held_to_the_contract_it_names(place, capsys):
    (place / "x.csv").write_text("id,x,y\n1,2.5,a\n2,3.5,b\n")
    (place / "more.csv").write_text("id,x,y\n3,1.5,a\n4,3.5,c\n")
    (place / "c.toml").write_text(CONTRACT)
    tamis("ingest", "x.csv", "--name", "x", "--features", "x", "--label", "y", "--key", "id", capsys=capsys)
    code, out, _ = tamis("ingest", "more.csv", "--name", "x", "--append", "--contract", "c.toml", capsys=capsys)
    assert code == 0
    assert "2 rows read = 1 kept + 1 quarantined, now 3 rows (unknown label 1); warned of: x: range 1" in out


def test_a_run_says_at_its_end_what_became_of_the_contract(place, capsys):
    from rich.console import Console

    kinds = [("a", "b")[row % 2] for row in range(20)] + [None]
    pl.DataFrame({"id": range(21), "x": range(21), "y": kinds}).write_csv(place / "t.csv")
    rules = "contract={columns={x={minimum=3}}, actions={'x: range'='warn'}}"
    recipe = small_recipe(f"source.location={place / 't.csv'}", *NO_TRAINING, rules)
    store = Store.create(place / "store")
    outcome = curate_and_train(store, recipe, show_nothing)
    print_contract(store, outcome.report, Console(width=200))
    expected = "The data contract: 21 rows read = 20 kept + 1 quarantined (null label 1); warned of: x: range 3.\n"
    assert capsys.readouterr().out == expected


def test_a_query_may_begin_with_a_comment(place, capsys):
    (place / "x.csv").write_text("id,x,y\n1,2.5,a\n")
    tamis("ingest", "x.csv", "--name", "x", "--features", "x", "--label", "y", capsys=capsys)
    for query in ("-- top\nSELECT 1 AS one", "--top\n-- more\nSELECT 1 AS one", "/* top */ SELECT 1 AS one"):
        code, out, _ = tamis("sql", query, "--format", "json", capsys=capsys)
        assert (code, json.loads(out)) == (0, [{"one": 1}])
    code, _, err = tamis("sql", "--frmat", "json", "SELECT 1", capsys=capsys)
    assert code == 2
    assert "No such option '--frmat'" in err


def test_objects_in_memory_go_in_by_what_storage_exports(tmp_path):
    store = Store.create(tmp_path / "store")
    frame = pl.DataFrame({"id": range(4), "x": [1.0, 2.0, 3.0, -4.0], "y": ["a", "b", "a", "b"]})
    contract = Contract(columns={"x": ColumnRules(minimum=0)})
    roles = Roles(features=("x",), label="y", key="id")
    for given in (frame, frame.to_arrow(), {name: frame[name].to_numpy() for name in ("id", "x")}):
        found = roles if not isinstance(given, dict) else Roles(features=("x",), key="id")
        version = ingest_frame(store, "mem", given, roles=found, contract=contract)
        assert store.dataset(str(version)).record.meta["counts"]["by_rule"] == {"x: range": 1}
        assert len(store.dataset(str(version))) == 3


def test_a_log_hears_from_a_long_step_how_far_it_is(capsys, monkeypatch):
    from flows.report import terminal
    from flows.step import Progress, Step
    from storage.artifacts import Request

    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(terminal.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(terminal, "MESSAGES", terminal.Console(stderr=True))
    step = Step(title="ingest x.csv", module="ingest_examples", request=Request(kind="dataset", settings={}))
    with terminal.progress_bars(1) as show:
        for done in (100, 200, 300, 400):
            show(step, Progress(done=done, total=600, unit="rows"))
    # Said at 30 s, when 300 of 600 rows are done: 10 rows/s, 30 s left; the next would be due at 70 s.
    assert capsys.readouterr().err == ("[1/1] ingest x.csv: 300 of about 600 rows, 10 rows/s, 30 s left in this step\n")


@pytest.mark.parametrize("live", [False, True])
def test_a_run_that_needs_more_steps_than_were_known_counts_them_in(live, capsys, monkeypatch):
    from flows.report import terminal
    from flows.step import Step
    from storage.artifacts import Request

    monkeypatch.setattr(terminal, "MESSAGES", terminal.Console(stderr=True, force_terminal=live, width=100))
    steps = [
        Step(title=name, module="train_learner", request=Request(kind="training", settings={"n": name}))
        for name in "ab"
    ]
    with terminal.progress_bars(1) as show:
        for step in steps:
            show(step, None)
        if live:
            (shown,) = [task for task in show.__self__.bars.tasks if task.description == "all steps"]
            assert (shown.completed, shown.total) == (2, 2)
    if not live:
        assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["[1/1]", "[2/2]"]
