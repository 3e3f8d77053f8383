import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.config import build
from flows.resolve import plain
from storage.column_rules import ColumnRules
from storage.contract import Contract
from storage.errors import ContractError, SourceError
from storage.schemas import Roles
from tests.storage.sources import csv_file, ingest, parquet_file

PEOPLE = pl.DataFrame(
    {
        "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "y": ["a", "b", "a", "b", "c", "a"],
        "age": [10, -1, 130, None, 40, 40],
        "code": ["A1", "A2", "B", "A4", "A2", None],
    }
)


def people(root, contract):
    return ingest(root, parquet_file(root, PEOPLE), contract=contract)


@pytest.mark.parametrize(
    ("column", "rules", "bad"),
    [
        ("age", ColumnRules(minimum=0, maximum=120), [(2, "age: range"), (3, "age: range")]),
        ("age", ColumnRules(minimum=0), [(2, "age: range")]),
        ("age", ColumnRules(not_null=True), [(4, "age: not null")]),
        ("age", ColumnRules(allowed=(10, "40")), [(2, "age: allowed"), (3, "age: allowed")]),
        ("age", ColumnRules(unique=True), [(6, "age: unique")]),
        ("age", ColumnRules(type="integer"), []),
        ("x", ColumnRules(type="integer"), []),
        ("code", ColumnRules(pattern=r"[A-Z]\d"), [(3, "code: pattern")]),
        (
            "code",
            ColumnRules(pattern="A|B"),
            [(1, "code: pattern"), (2, "code: pattern"), (4, "code: pattern"), (5, "code: pattern")],
        ),
        ("code", ColumnRules(unique=True, not_null=True), [(5, "code: unique"), (6, "code: not null")]),
        ("y", ColumnRules(allowed=("a", "b")), [(5, "y: allowed")]),
    ],
)
def test_rows_that_break_a_column_rule_are_quarantined_and_nulls_break_only_not_null(tmp_path, column, rules, bad):
    found = people(tmp_path, Contract(columns={column: rules}))
    assert found.bad() == bad
    assert found.counts["kept"] == 6 - len(bad)


def test_a_rule_that_warns_keeps_its_rows_and_counts_them(tmp_path):
    contract = Contract(
        labels=("a", "b"),
        columns={"age": ColumnRules(minimum=0, maximum=120, unique=True)},
        actions={"age: range": "warn", "age: unique": "warn", "unknown label": "warn"},
    )
    found = people(tmp_path, contract)
    assert found.counts["kept"] == 6
    assert found.counts["warnings"] == {"unknown label": 1, "age: range": 2, "age: unique": 1}
    assert found.reports[-1].warned == 4
    assert found.schema.classes == ("a", "b", "c")


def test_a_rule_that_fails_stops_everything_also_where_another_rule_is_broken_first(tmp_path):
    columns = {"age": ColumnRules(minimum=0), "code": ColumnRules(pattern="A1")}
    with pytest.raises(ContractError) as caught:
        people(tmp_path, Contract(columns=columns, actions={"code: pattern": "fail"}))
    assert str(caught.value) == (
        f"4 of 6 rows of {tmp_path}/toys.parquet break the contract: 4 code: pattern (first: row 2); "
        "correct them, or set the action of the rule to 'quarantine'"
    )
    roles = Roles(features=("x",), label="y", group="age")
    with pytest.raises(ContractError, match=r"1 age: not null \(row 4\)"):
        path = parquet_file(tmp_path, PEOPLE)
        rule = {"age": ColumnRules(not_null=True)}
        ingest(tmp_path, path, roles, Contract(columns=rule, actions={"age: not null": "fail"}))


def test_the_number_of_kept_rows_is_held_to_its_range(tmp_path):
    assert people(tmp_path, Contract(rows=(6, 6))).counts["kept"] == 6
    sentence = r"5 rows of .* are kept, the contract expects 6 to 10"
    rules = {"y": ColumnRules(allowed=("a", "b"))}
    with pytest.raises(ContractError, match=sentence):
        people(tmp_path, Contract(rows=(6, 10), columns=rules))
    found = people(tmp_path, Contract(rows=(6, 10), columns=rules, actions={"row count": "warn"}))
    assert found.counts["warnings"] == {"row count": 1}


def test_the_contract_decides_how_a_text_column_is_parsed(tmp_path):
    path = csv_file(tmp_path, "x,y,age,zip\n1,007,1,1\n2,8,two,2\n3,9,3.5,3\n4,9,,4\n")
    contract = Contract(
        columns={"age": ColumnRules(type="integer"), "zip": ColumnRules(type="text"), "y": ColumnRules(type="text")}
    )
    found = ingest(tmp_path, path, contract=contract)
    assert found.bad() == [(3, "not a number"), (4, "not a number")]
    assert found.examples.select("label", "age", "zip").rows() == [("007", 1, "1"), ("9", None, "4")]
    whole = ingest(tmp_path, path, Roles(features=("x", "age")), Contract(columns={"age": ColumnRules(type="integer")}))
    assert whole.bad() == [(3, "not a number"), (4, "age: type"), (5, "missing value")]
    keyed = Roles(features=("x",), key="zip")
    assert ingest(tmp_path, path, keyed, Contract(columns={"zip": ColumnRules(maximum=2, type="integer")})).bad() == [
        (4, "zip: range"),
        (5, "zip: range"),
    ]


def test_a_declared_column_of_another_type_breaks_the_type_rule_in_every_row(tmp_path):
    found = people(tmp_path, Contract(columns={"code": ColumnRules(type="number")}))
    assert found.bad() == [(place, "code: type") for place in range(1, 6)]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"agee": ColumnRules(not_null=True)}, "contract column 'agee' is not in"),
        ({"code": ColumnRules(minimum=0)}, "range is for numbers and the column is String; declare its type"),
        ({"age": ColumnRules(pattern="a")}, "pattern is for text and the column is Int64"),
        ({"tags": ColumnRules(unique=True)}, "unique has no meaning for List"),
    ],
)
def test_rules_that_a_column_cannot_have_are_refused_at_the_door(tmp_path, columns, sentence):
    path = parquet_file(tmp_path, PEOPLE.with_columns(tags=pl.Series([["a"]] * 6)))
    with pytest.raises(SourceError) as caught:
        ingest(tmp_path, path, contract=Contract(columns=columns))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("settings_", "sentence"),
    [
        ({"rows": [5, 1]}, "rows must be the fewest and the most, at least 0 and rising, got \\[5, 1\\]"),
        ({"actions": {"null labels": "fail"}}, "actions names the rule 'null labels'"),
        ({"actions": {"null key": "warn"}}, "a row that breaks 'null key' cannot be kept"),
        ({"rows": [1, 2], "actions": {"row count": "quarantine"}}, "is about no single row"),
        ({"columns": {"age": {}}}, "names a column without a rule"),
        ({"columns": {"age": {"minimum": 3, "maximum": 1}}}, "minimum must not be above maximum, got 3 and 1"),
        ({"columns": {"age": {"pattern": "("}}}, r"pattern '\(' is no regular expression"),
        ({"columns": {"age": {"type": "date"}}}, "type"),
        ({"columns": {"age": {"maximun": 1}}}, "unknown key 'maximun' in contract.columns.age; did you mean 'maximum'"),
    ],
)
def test_a_contract_without_sense_is_one_sentence(settings_, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(Contract, settings_, "contract")


def test_a_contract_goes_through_the_recipe_and_back():
    raw = {
        "columns": {"age": {"type": "integer", "minimum": 0, "allowed": ["a", 1.5], "unique": True}},
        "rows": [1, 10],
        "actions": {"age: range": "warn", "row count": "warn"},
    }
    contract = build(Contract, raw, "contract")
    assert contract.column_rules == ["age: type", "age: range", "age: allowed", "age: unique"]
    assert build(Contract, plain(contract), "contract") == contract


_RULES = st.builds(
    ColumnRules,
    minimum=st.sampled_from([None, -1.0, 0.0]),
    maximum=st.sampled_from([None, 1.0, 5.0]),
    allowed=st.sampled_from([(), (0, 1, 2)]),
    not_null=st.just(True),
    unique=st.booleans(),
)
_ACTION = st.sampled_from(["quarantine", "warn"])


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.one_of(st.none(), st.integers(-3, 7)), min_size=1, max_size=12), rules=_RULES, data=st.data())
def test_kept_rows_are_those_of_a_loop_and_everything_adds_up(tmp_path_factory, values, rules, data):
    tmp_path = tmp_path_factory.mktemp("toys")
    actions = {f"v: {name}": data.draw(_ACTION) for name in rules.names}
    lower = float("-inf") if rules.minimum is None else rules.minimum
    upper = float("inf") if rules.maximum is None else rules.maximum
    kept, seen = [], set()
    for place, value in enumerate(values, start=1):
        broken = {"not null"} if value is None else set()
        broken |= {"range"} if value is not None and not lower <= value <= upper else set()
        broken |= {"allowed"} if value is not None and rules.allowed and value not in rules.allowed else set()
        if any(actions[f"v: {name}"] == "quarantine" for name in broken):
            continue
        if rules.unique and value in seen and actions["v: unique"] == "quarantine":
            continue
        seen |= {value} if value is not None else set()
        kept.append(place)
    frame = pl.DataFrame(
        {"x": [float(n + 1) for n in range(len(values))], "y": ["a"] * len(values), "v": values},
        schema_overrides={"v": pl.Int64},
    )
    path = parquet_file(tmp_path, frame)
    contract = Contract(columns={"v": rules}, actions=actions)
    if not kept:
        with pytest.raises(SourceError, match="break the contract"):
            ingest(tmp_path, path, contract=contract)
        return
    assert ingest(tmp_path, path, contract=contract).examples["x"].to_list() == kept
