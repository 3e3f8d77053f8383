import re
import tomllib
from pathlib import Path

import pytest

from flows import resolve
from flows.config import build
from flows.dry_run import foreseen
from flows.plan import plan_run
from flows.recipe_sections import SelectionConfig
from flows.step import run_step, show_nothing
from storage.condition import parse_condition
from storage.errors import QueryError
from storage.store import Store
from storage.values import Selection
from tests.flows.chosen import chosen_recipe
from tests.flows.commands import tamis


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("chosen")


@pytest.fixture(scope="module")
def store(place):
    """A store with everything made but selections."""
    made = Store.create(place / "store")
    for step in plan_run(chosen_recipe(place, selection={"method": "everything"}), made).steps:
        if step.module not in ("select_examples", "compare_subsets"):
            run_step(made, step, None, show_nothing)
    return made


def select_step(store: Store, place, selection: dict, **further):
    steps = plan_run(chosen_recipe(place, selection=selection, **further), store).steps
    return next(step for step in steps if step.module == "select_examples")


def chosen(store: Store, place, selection: dict, **further) -> Selection:
    step = select_step(store, place, selection, **further)
    run_step(store, step, None, show_nothing)
    return store.selection(step.id)


def kept(selection: Selection) -> list[str]:
    return [one.partition(":")[2] for one, weight in zip(selection.index, selection.weights, strict=True) if weight]


def test_a_condition_drops_what_does_not_fulfil_it_and_null_does_not(store, place):
    selection = chosen(store, place, {"method": "everything", "where": "doubt < 0.9 AND language = 'en'"})
    # r05 and r11 lie among the other class; r02 and r07 are German, and of r04 the language is not known.
    assert kept(selection) == ["r00", "r01", "r03", "r06", "r08", "r09", "r10"]
    assert set(selection.reasons[~selection.kept]) == {"does not fulfil doubt < 0.9 AND language = 'en'"}
    assert set(selection.reasons[selection.kept]) == {"everything"}


def test_a_fraction_is_of_what_fulfils_the_condition(store, place):
    rule = {"method": "top_fraction", "score": "doubt", "fraction": 0.5, "keep": "low", "where": "label = 'cat'"}
    selection = chosen(store, place, rule)
    assert kept(selection) == ["r00", "r01", "r02"]
    assert dict(selection.counts())["does not fulfil label = 'cat'"] == 6


def test_the_condition_is_part_of_what_is_asked_and_only_scores_that_it_reads_are(store, place):
    further = {"scorers": {}}
    plain = select_step(store, place, {"method": "everything"})
    assert plain.id == select_step(store, place, {"method": "everything"}, **further).id
    by_language = select_step(store, place, {"method": "everything", "where": "language = 'en'"})
    by_score = select_step(store, place, {"method": "everything", "where": "doubt < 0.5"})
    by_confidence = select_step(store, place, {"method": "everything", "where": "doubt_confidence < 0.5"})
    assert len({plain.id, by_language.id, by_score.id, by_confidence.id}) == 4
    assert set(by_language.request.inputs) == {"dataset"}
    assert set(by_score.request.inputs) == set(by_confidence.request.inputs) == {"dataset", "score.doubt"}


def test_scores_of_the_run_are_meant_and_not_the_newest_published(store, place):
    other = chosen_recipe(
        place,
        selection={"method": "everything", "where": "doubt > 0.99"},
        scorers={"doubt": {"method": "knn_disagreement", "signals": "plane", "num_neighbors": 11}},
    )
    steps = [one for one in plan_run(other, store).steps if one.module in ("score_examples", "select_examples")]
    first = select_step(store, place, {"method": "everything", "where": "doubt > 0.99"})
    for step in steps[:1]:
        run_step(store, step, None, show_nothing)
    run_step(store, first, None, show_nothing)
    assert kept(store.selection(first.id)) == ["r05", "r11"]
    with pytest.raises(ValueError, match="none of 12 examples is left to choose from"):
        run_step(store, steps[1], None, show_nothing)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("doubt <", r"syntax error at or near \"\)\" \(at its end\)"),
        ("doubt < 0.5 LIMIT 1", r"syntax error at or near \"LIMIT\" \(character 13\)"),
        ("doubts < 0.5", "there is no column 'doubts' to choose by; the data set and its scores have \"doubt\""),
        ("current_date > DATE '2020-01-01'", "there is no column 'current_date'"),
        ("truth = label", "there is no column 'truth'"),
        ("clean_label = label", "clean_label is the truth, which only reports may read"),
        ("true) UNION SELECT (true", "it must be one expression over one example"),
    ],
)
def test_a_condition_that_cannot_be_used_is_refused_before_anything_runs(store, place, where, message):
    with pytest.raises(QueryError, match=f"the condition .* cannot be used: .*{message}"):
        select_step(store, place, {"method": "everything", "where": where})


def test_a_condition_of_another_type_than_true_or_false_is_refused(store, place):
    step = select_step(store, place, {"method": "everything", "where": "doubt + 1"})
    with pytest.raises(QueryError, match="must be true or false of each example, and it is of type DOUBLE"):
        run_step(store, step, None, show_nothing)
    step = select_step(store, place, {"method": "everything", "where": "label < 3"})
    with pytest.raises(QueryError, match="Cannot compare values of type VARCHAR and type INTEGER_LITERAL"):
        run_step(store, step, None, show_nothing)
    step = select_step(store, place, {"method": "everything", "where": "CAST(label AS INTEGER) < 3"})
    with pytest.raises(QueryError, match="Could not convert string 'cat' to INT32"):
        run_step(store, step, None, show_nothing)


def test_flagged_examples_are_relabelled_where_the_score_is_sure(store, place):
    flagged = {"score": "doubt", "action": "relabel", "confidence": 1.0}
    selection = chosen(store, place, {"method": "everything", "flagged": flagged})
    # All three neighbours of r05 are cats, of r11 dogs; no other label differs from that of most neighbours.
    assert (selection.weights == 1).all()
    classes = store.dataset("plane").schema.classes
    labels = dict(zip(selection.index, (classes[one] for one in selection.labels), strict=True))
    assert (labels["plane:r05"], labels["plane:r11"]) == ("cat", "dog")
    assert sum(one.startswith("flagged by doubt, relabelled at confidence 1") for one in selection.reasons) == 2


def test_a_selector_sees_only_what_an_action_leaves(store, place):
    flagged = {"score": "doubt", "action": "drop"}
    rule = {"method": "random", "fraction": 0.5, "where": "language = 'en'", "flagged": flagged}
    selection = chosen(store, place, rule)
    # Nine are English, of which r05 and r11 are flagged: half of seven, halves up, are four.
    assert selection.kept.sum() == 4
    assert dict(selection.counts())["flagged by doubt"] == 2


def test_quotas_take_names_of_classes_and_groups(store, place):
    quotas = {"over": ["label", "group"], "ceilings": {"cat,farm": 1}, "floors": {"dog,town": 3}}
    rule = {"method": "borda", "prefer_low": ["doubt"], "fraction": 0.5, "quotas": quotas}
    selection = chosen(store, place, rule)
    # Cats on farms: r00, r02, r04, and dogs in town: r05, r07, r09.
    assert set(kept(selection)) >= {"r05", "r07", "r09"}
    assert len(set(kept(selection)) & {"r00", "r02", "r04"}) <= 1
    quotas = {"over": ["label", "group"], "floors": {"dog,town": 4}}
    step = select_step(store, place, {**rule, "quotas": quotas})
    with pytest.raises(ValueError, match="group dog,town has 3 examples, its floor is 4"):
        run_step(store, step, None, show_nothing)


def test_quotas_of_classes_and_of_groups_stand_beside_each_other(store, place):
    quotas = [{"over": ["label"], "floors": {"dog": 4}}, {"over": ["group"], "floors": {"farm": 4}}]
    rule = {"method": "borda", "prefer_low": ["doubt"], "fraction": 0.5, "quotas": quotas}
    names = kept(chosen(store, place, rule))
    # Dogs are r05 to r10, farms the even ones.
    assert len(names) == 6
    assert sum("r05" <= name <= "r10" for name in names) >= 4
    assert sum(int(name[1:]) % 2 == 0 for name in names) >= 4
    quotas[0] = {"over": ["label"], "floors": {"dog": 6}}
    with pytest.raises(
        ValueError, match=r"cannot be met together by 6 examples: the floor of \w+ \(\w+\) is \d \(nearest"
    ):
        run_step(store, select_step(store, place, rule), None, show_nothing)


def test_a_schedule_reaches_the_subset(store, place):
    selection = chosen(store, place, {"method": "rs2", "fraction": 0.25, "where": "language = 'en'"})
    assert (selection.schedule.rule, selection.schedule.fraction) == ("dealt", 0.25)
    assert len(kept(selection)) == 9


def test_a_dry_run_counts_and_writes_nothing(store, place):
    flagged = {"score": "doubt", "action": "relabel", "confidence": 1.0}
    recipe = chosen_recipe(
        place, selection={"subset": "dry", "method": "everything", "where": "language = 'en'", "flagged": flagged}
    )
    before = sorted(path.name for path in (place / "store").rglob("*"))
    found = foreseen(store, recipe)
    assert sorted(path.name for path in (place / "store").rglob("*")) == before
    assert found.sentence == "A run would publish this as dry@1."
    assert found.reasons[0] == {"reason": "everything", "kept": "7", "dropped": "0"}
    assert {"reason": "does not fulfil language = 'en'", "kept": "0", "dropped": "3"} in found.reasons
    assert list(found.classes) == [
        {"class": "cat", "kept": "4", "dropped": "2", "relabelled": "1"},
        {"class": "dog", "kept": "5", "dropped": "1", "relabelled": "1"},
    ]
    assert [(row["group"], row["kept"]) for row in found.groups] == [("farm", "4"), ("town", "5")]
    run_step(store, found.step, None, show_nothing)
    again = foreseen(store, recipe)
    assert again.sentence == "The store has this selection already, as dry@1."
    assert again.reasons == found.reasons


def test_a_dry_run_says_what_would_have_to_be_computed(tmp_path):
    store = Store.create(tmp_path / "store")
    rule = {"method": "threshold", "score": "doubt", "maximum": 0.5}
    found = foreseen(store, chosen_recipe(tmp_path, selection=rule))
    assert not found.reasons
    assert "What chosen@1 would keep is not known yet: 3 artifacts have to be computed first (ingest" in found.sentence
    assert "score doubt" in found.sentence
    assert store.names("dataset") == []


def test_the_command_line_counts_without_a_run(place, store, tmp_path, capsys):
    file = tmp_path / "recipe.toml"
    file.write_text(
        f"name = 'plane'\nseeds = 1\n[source]\nlocation = '{place / 'rows.csv'}'\n"
        "[columns]\nfeatures = ['x']\nlabel = 'kind'\nkey = 'row'\nsplit = 'part'\ngroup = 'place'\n"
        "clean_label = 'truth'\n[signals.plane]\nmethod = 'features'\n"
        "[scorers.doubt]\nmethod = 'knn_disagreement'\nsignals = 'plane'\nnum_neighbors = 3\n"
        "[selection]\nsubset = 'told'\nmethod = 'everything'\nwhere = 'doubt < 0.9'\n"
    )
    code, told, _ = tamis("run", str(file), "--dry-run", "--store", str(store.root), capsys=capsys)
    assert code == 0
    assert "does not fulfil doubt < 0.9" in told
    assert "A run would publish this as told@1." in told
    assert "told" not in store.names("subset")


def test_the_sections_of_the_docs_are_recipes():
    page = (Path(__file__).parents[2] / "docs" / "selection.md").read_text(encoding="utf-8")
    sections = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)]
    assert len(sections) == 6
    for section in sections:
        config = build(SelectionConfig, section["selection"], "selection")
        resolve.method("selector", {"method": config.method, **config.settings}, "selection")
        if config.where:
            parse_condition(config.where)
    missing = [name for name in resolve.available("selector") if f"`{name}`" not in page]
    assert not missing
