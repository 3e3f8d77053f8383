import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.append import Wanted, append_examples
from storage.artifacts import Request
from storage.contract import ColumnRules, Contract
from storage.dataset import Dataset
from storage.errors import ConflictError, ContractError, SourceError
from storage.fsck import check_store
from storage.ingest.source import Source
from storage.ingest.write import ingest_examples
from storage.relabel import Corrections, relabel
from storage.schemas import Roles
from storage.splits import SplitFractions
from storage.store import Store

KEYED = Roles(features=("x", "fur"), label="label", key="id")
HASHED = Roles(features=("x", "fur"), label="label")
HEAD = "id,x,fur,label,note\n"
FIRST = HEAD + "1,1.5,long,cat,a\n2,2.5,short,dog,b\n3,3.5,long,cat,c\n"


class House:
    """A store with a data set `toys` that grows."""

    def __init__(self, root: Path, roles: Roles = KEYED, contract: Contract | None = None) -> None:
        self.folder, self.roles, self.contract = root, roles, contract or Contract()
        self.store = Store.create(root / "store")
        self.number = 0

    def source(self, text: str) -> Source:
        self.number += 1
        path = self.folder / f"part{self.number}.csv"
        path.write_text(text)
        return Source(location=str(path))

    def ingest(self, text: str = FIRST) -> Dataset:
        request = Request(kind="dataset", settings={"part": self.number})
        with self.store.write(request) as draft:
            for _ in ingest_examples(
                draft,
                name="toys",
                source=self.source(text),
                roles=self.roles,
                splits=SplitFractions(),
                contract=self.contract,
                seed=7,
            ):
                pass
        self.store.publish("dataset", "toys", request.id)
        return self.newest()

    def append(self, text: str) -> Dataset:
        return self.append_from(self.source(text))

    def append_from(self, source: Source) -> Dataset:
        before = self.newest()
        request = Request(kind="dataset", settings={"part": self.number}, inputs={"dataset": before.id})
        wanted = Wanted(name="toys", roles=self.roles, splits=SplitFractions(), contract=self.contract, seed=7)
        with self.store.write(request) as draft:
            for report in append_examples(draft, before, source, wanted):
                assert report.rows == report.kept + report.quarantined
        self.store.publish("dataset", "toys", request.id, after=self.store.version("dataset", "toys"))
        return self.newest()

    def correct(self, labels: dict[str, str], why: str = "looked") -> Dataset:
        before = self.newest()
        rows = pl.DataFrame({"example_id": list(labels), "label": list(labels.values())})
        request = Request(kind="dataset", settings={"why": why, **labels}, inputs={"dataset": before.id})
        with self.store.write(request) as draft:
            relabel(draft, before, Corrections(rows=rows, by="ada", why=why))
        self.store.publish("dataset", "toys", request.id)
        return self.newest()

    def newest(self) -> Dataset:
        return self.store.dataset("toys")

    def quarantine(self) -> list[tuple[str, dict]]:
        rows = self.store.table(self.newest().id, "quarantine")
        return [(row["rule"], json.loads(row["row"])) for row in rows.iter_rows(named=True)]


@pytest.fixture
def house(tmp_path) -> House:
    made = House(tmp_path)
    made.ingest()
    return made


def by_id(dataset: Dataset) -> dict[str, dict]:
    return {row["example_id"]: row for row in dataset.scan().collect().iter_rows(named=True)}


def test_old_rows_stay_in_their_files_to_the_byte_and_new_ones_stand_behind(house):
    before = house.newest()
    files = before.record.table("examples")
    contents = [(house.store.root / file.path).read_bytes() for file in files]
    after = house.append(HEAD + "4,4.5,short,dog,d\n5,5.5,long,cat,e\n")
    assert after.record.table("examples")[: len(files)] == files
    assert [(house.store.root / file.path).read_bytes() for file in files] == contents
    ids = after.scan().collect()["example_id"].to_list()
    assert ids == ["toys:1", "toys:2", "toys:3", "toys:4", "toys:5"]
    assert {one: by_id(after)[one] for one in by_id(before)} == by_id(before)
    assert list(check_store(house.store.files)) == []


def test_the_new_version_shares_files_and_the_old_one_can_still_be_read(house):
    after = house.append(HEAD + "4,4.5,short,dog,d\n")
    shared = {file.path for file in after.record.files if after.id not in file.path}
    assert shared == {file.path for file in house.store.dataset("toys@1").record.files}
    assert len(house.store.dataset("toys@1")) == 3
    assert len(house.store.dataset("toys@2")) == 4


def test_keys_that_are_there_already_go_to_quarantine_and_the_old_rows_stay(house):
    after = house.append(HEAD + "3,9.9,short,dog,z\n4,4.5,short,dog,d\n4,8.5,long,cat,y\n")
    assert by_id(after)["toys:3"]["x"] == 3.5
    assert by_id(after)["toys:4"]["x"] == 4.5
    rules = house.quarantine()
    assert [rule for rule, _ in rules] == ["duplicate key", "duplicate key"]
    assert sorted((row["id"], row["x"]) for _, row in rules) == [("3", 9.9), ("4", 8.5)]
    assert after.record.meta["appended"]["read"] == 3
    counts = after.record.meta["counts"]
    assert (counts["read"], counts["kept"], counts["quarantined"]) == (6, 4, 2)


def test_a_content_that_is_there_already_goes_to_quarantine_too(tmp_path):
    house = House(tmp_path, HASHED)
    head = "x,fur,label\n"
    house.ingest(head + "1.5,long,cat\n2.5,short,dog\n")
    after = house.append(head + "1.5,long,cat\n3.5,long,cat\n3.5,long,cat\n")
    assert len(after) == 4
    assert [rule for rule, _ in house.quarantine()] == ["duplicate key"]
    assert len(set(after.scan().collect()["example_id"].to_list())) == 4


def test_an_append_without_a_new_row_is_an_error_and_publishes_nothing(house):
    with pytest.raises(SourceError, match=r"all 2 rows of .* break the contract: 2 duplicate key"):
        house.append(HEAD + "1,1.5,long,cat,a\n2,2.5,short,dog,b\n")
    assert len(house.store.versions("dataset", "toys")) == 1
    assert list(check_store(house.store.files)) == []


def test_rows_split_as_they_would_have_in_one_ingest(tmp_path):
    rows = [f"{key},{key / 7},long,{'cd'[key % 2]},n\n" for key in range(300)]
    grown, whole = House(tmp_path / "grown"), House(tmp_path / "whole")
    for one in (grown, whole):
        one.folder.mkdir(exist_ok=True)
    grown.ingest(HEAD + "".join(rows[:150]))
    after = grown.append(HEAD + "".join(rows[150:]))
    once = whole.ingest(HEAD + "".join(rows))
    assert by_id(after) == by_id(once)
    assert {row["split"] for row in by_id(after).values()} == {"train", "validation", "test"}
    assert after.record.meta["counts"]["by_split"] == once.record.meta["counts"]["by_split"]


def test_classes_and_categories_keep_their_places_and_new_ones_follow(house):
    before = house.newest().schema
    assert before.classes == ("cat", "dog")
    after = house.append(HEAD + "4,4.5,curly,ant,d\n5,5.5,bare,zebra,e\n").schema
    assert after.classes == ("cat", "dog", "ant", "zebra")
    (fur,) = [one for one in after.features if one.name == "fur"]
    (old_fur,) = [one for one in before.features if one.name == "fur"]
    assert fur.categories[: len(old_fur.categories)] == old_fur.categories


def test_columns_must_be_the_same(house):
    with pytest.raises(SourceError, match=r"does not fit .*: it lacks note$"):
        house.append("id,x,fur,label\n4,4.5,long,cat\n")
    with pytest.raises(SourceError, match="it lacks note and has colour too"):
        house.append("id,x,fur,label,colour\n4,4.5,long,cat,red\n")
    rows = {"id": ["4"], "x": ["four"], "fur": ["long"], "label": ["cat"], "note": ["d"]}
    pl.DataFrame(rows).write_parquet(house.folder / "typed.parquet")
    with pytest.raises(SourceError, match=r"column 'x' of .* is String and Float64 in dataset-.*; cast it there"):
        house.append_from(Source(location=str(house.folder / "typed.parquet")))


def test_cells_of_text_that_do_not_fit_the_stored_type_are_set_aside(house):
    after = house.append(HEAD + "4,four,long,cat,d\n5,5.5,long,cat,e\n")
    assert len(after) == 4
    ((rule, row),) = house.quarantine()
    assert row["id"] == "4"
    assert rule != "duplicate key"


def test_the_quarantine_holds_the_rows_of_all_reads_with_their_files(house):
    house.append(HEAD + "4,inf,long,cat,d\n5,5.5,long,cat,e\n")
    after = house.append(HEAD + "6,6.5,long,,f\n7,7.5,long,cat,g\n")
    rows = house.store.table(after.id, "quarantine")
    assert rows["source_file"].to_list() == ["part2.csv", "part3.csv"]
    assert rows["source_row"].to_list() == [2, 2]
    assert after.record.meta["counts"]["quarantined"] == 2
    assert after.record.meta["counts"]["read"] == 7


def test_corrections_carry_over_and_new_rows_have_none(house):
    house.correct({"toys:1": "dog"})
    after = by_id(house.append(HEAD + "4,4.5,short,dog,d\n"))
    assert [after[f"toys:{key}"]["label"] for key in (1, 2, 4)] == ["dog", "dog", "dog"]
    assert [after[f"toys:{key}"]["relabelled_by"] for key in (1, 2, 4)] == ["ada", None, None]
    corrected = by_id(house.correct({"toys:4": "cat"}, why="again"))
    assert (corrected["toys:4"]["label"], corrected["toys:4"]["relabelled_why"]) == ("cat", "again")
    assert (corrected["toys:1"]["label"], corrected["toys:1"]["relabelled_why"]) == ("dog", "looked")


def test_the_expected_number_of_rows_is_that_of_all(tmp_path):
    house = House(tmp_path, contract=Contract(rows=(3, 4)))
    house.ingest()
    house.append(HEAD + "4,4.5,long,cat,d\n")
    with pytest.raises(ContractError, match=r"1 rows of .* are kept, the contract expects 0 to 0"):
        house.append(HEAD + "5,5.5,long,cat,e\n")
    assert len(house.newest()) == 4


def test_a_column_that_must_be_unique_is_held_against_old_rows(tmp_path):
    house = House(tmp_path, contract=Contract(columns={"note": ColumnRules(unique=True)}))
    house.ingest()
    after = house.append(HEAD + "4,4.5,long,cat,a\n5,5.5,long,cat,e\n")
    assert sorted(by_id(after)) == ["toys:1", "toys:2", "toys:3", "toys:5"]
    assert [rule for rule, _ in house.quarantine()] == ["note: unique"]


def test_a_change_in_between_is_a_conflict_and_nothing_is_lost(house):
    first = house.store.version("dataset", "toys")
    house.append(HEAD + "4,4.5,short,dog,d\n")
    request = Request(kind="dataset", settings={"late": True}, inputs={"dataset": first.artifact})
    wanted = Wanted(name="toys", roles=KEYED, splits=SplitFractions(), contract=Contract(), seed=7)
    with house.store.write(request) as draft:
        source = house.source(HEAD + "5,5.5,long,cat,e\n")
        list(append_examples(draft, house.store.dataset("toys@1"), source, wanted))
    with pytest.raises(ConflictError, match="toys@1 is no longer the newest version of 'toys'"):
        house.store.publish("dataset", "toys", request.id, after=first)
    assert [str(one) for one in house.store.versions("dataset", "toys")] == ["toys@1", "toys@2"]
    assert sorted(by_id(house.newest())) == ["toys:1", "toys:2", "toys:3", "toys:4"]


@settings(deadline=None, max_examples=15)
@given(parts=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=8), min_size=2, max_size=3))
def test_read_is_always_kept_and_quarantined_and_the_first_row_of_a_key_wins(tmp_path_factory, parts):
    house = House(tmp_path_factory.mktemp("grow"))
    truth: dict[str, float] = {}
    rows = 0
    for number, part in enumerate(parts):
        text = HEAD + "".join(f"{key},{number + place / 10},long,cat,n\n" for place, key in enumerate(part))
        fresh = {f"toys:{key}" for key in part} - set(truth)
        put = house.append if number else house.ingest
        if not fresh:
            with pytest.raises(SourceError, match="duplicate key"):
                put(text)
            continue
        rows += len(part)
        for place, key in enumerate(part):
            truth.setdefault(f"toys:{key}", number + place / 10)
        counts = put(text).record.meta["counts"]
        assert (counts["read"], counts["kept"]) == (rows, len(truth))
        assert counts["read"] == counts["kept"] + counts["quarantined"]
    assert {one: row["x"] for one, row in by_id(house.newest()).items()} == pytest.approx(truth)
