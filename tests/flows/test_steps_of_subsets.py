import pytest

from flows.plan import plan_run
from flows.step import run_step, show_nothing
from flows.train_learner import _Task
from storage.store import Store
from tests.flows.tiny_world import split_recipe

ARMS = "arms=[{learner='plain', data='everything'}, {learner='plain', data='subset'}]"


def trained(store: Store, folder, *further: str) -> tuple[dict[str, str], dict[str, _Task]]:
    """Ids and tasks of the trainings on `everything` and on the `subset`: 40 rows in batches of 16."""
    plan = plan_run(split_recipe(folder, ARMS, "training.epochs=2", *further), store)
    last = max(place for place, step in enumerate(plan.steps) if step.module == "train_learner")
    for step in plan.steps[: last + 1]:
        if step.module in ("ingest_examples", "plant_noise", "select_examples", "train_learner"):
            run_step(store, step, None, show_nothing)
    found = {}
    for step in plan.steps:
        if step.module == "train_learner":
            found["subset" if "subset" in step.title else "everything"] = step
    tasks = {name: _Task.of(store, step.request) for name, step in found.items()}
    return {name: step.id for name, step in found.items()}, tasks


def steps_of(task: _Task, num_visited: int) -> int:
    return task.training.epochs * task.training.steps_in_epoch(num_visited)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store.create(tmp_path_factory.mktemp("steps") / "store")


def test_an_epoch_under_rs2_is_one_draw_unless_steps_are_held_equal(store, tmp_path):
    rs2 = "selection={subset='rs2', method='rs2', fraction=0.4}"
    own, tasks = trained(store, tmp_path, rs2)
    assert tasks["subset"].schedule.fraction == 0.4
    assert tasks["subset"].training.steps_per_epoch is None
    # 16 of 40 rows in batches of 16 are 1 step, 40 are 3.
    assert steps_of(tasks["subset"], 16) == 2
    assert steps_of(tasks["everything"], 40) == 6
    equal, tasks = trained(store, tmp_path, rs2, "selection.steps=equal")
    assert steps_of(tasks["subset"], 16) == 6
    assert own["subset"] != equal["subset"]
    assert own["everything"] == equal["everything"]


def test_a_subset_without_a_schedule_has_the_steps_of_everything_unless_it_takes_its_own(store, tmp_path):
    half = "selection={subset='half', method='random', fraction=0.5}"
    by_default, tasks = trained(store, tmp_path, half)
    assert steps_of(tasks["subset"], 20) == 6
    equal, _ = trained(store, tmp_path, half, "selection.steps=equal")
    assert equal == by_default
    own, tasks = trained(store, tmp_path, half, "selection.steps=own")
    assert steps_of(tasks["subset"], 20) == 4
    assert own["subset"] != equal["subset"]


def test_own_steps_beside_steps_per_epoch_are_refused(store, tmp_path):
    half = "selection={subset='half', method='random', fraction=0.5, steps='own'}"
    with pytest.raises(ValueError, match=r'steps = "own" has no effect with training\.steps_per_epoch = 5'):
        trained(store, tmp_path, half, "training.steps_per_epoch=5")


def test_steps_that_the_recipe_sets_hold_under_a_schedule_too(store, tmp_path):
    rs2 = "selection={subset='rs2', method='rs2', fraction=0.4}"
    _, tasks = trained(store, tmp_path, rs2, "training.steps_per_epoch=2")
    assert steps_of(tasks["subset"], 16) == steps_of(tasks["everything"], 40) == 4
