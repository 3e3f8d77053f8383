"""The Prefect side: flow and task wrappers around plain steps, schedules, and a quiet terminal.

Everything that imports Prefect is here. Reuse is decided by the store, not by Prefect's cache.
"""

import logging
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

QUIET = {
    "PREFECT_LOGGING_LEVEL": "INFO" if "PREFECT_API_URL" in os.environ else "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
}
"""Prefect's settings where the user has not set them: a temporary server works in silence."""
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)
if "PREFECT_HOME" not in os.environ and not os.access(Path.home(), os.W_OK):
    os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="tamis-prefect-")

from prefect import flow, get_run_logger, task  # noqa: E402 (settings are read at import)
from prefect.artifacts import create_markdown_artifact, create_table_artifact  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.client.schemas.schedules import CronSchedule  # noqa: E402
from prefect.logging.handlers import PrefectConsoleHandler  # noqa: E402
from prefect.types.entrypoint import EntrypointType  # noqa: E402

from flows.config import Recipe, load_recipe, parse_recipe  # noqa: E402
from flows.curate_and_train import Outcome, curate_and_train  # noqa: E402
from flows.report.tables import arms_rows, detection_rows, markdown_summary  # noqa: E402
from flows.step import Progress, Show, Step, current_show, run_step, show_nothing, showing  # noqa: E402
from storage.store import Store  # noqa: E402


@task(name="make artifact", task_run_name="{title}", cache_policy=NO_CACHE, persist_result=False)
def make_artifact(title: str, store: str, step: Step, recipe: Mapping[str, Any] | None) -> str:
    """Make and publish one artifact; its id."""
    return run_step(Store.create(store), step, recipe, current_show() or log_progress)


@flow(name="curate-and-train", persist_result=False)
def curate_and_train_flow(recipe: dict[str, Any] | str, store: str, overrides: list[str] | None = None) -> str:
    """Ingest, score, select, train and compare as a recipe says.

    Args:
        recipe: a bundled recipe's name, the path of a recipe, or a recipe's plain values.
        store: directory or URL of the store.
        overrides: `key.path=value` changes to a recipe that is named.

    Returns:
        Id of the report artifact.
    """
    _make_forks_safe()
    chosen = load_recipe(recipe, overrides or ()) if isinstance(recipe, str) else parse_recipe(recipe)

    def run(opened: Store, step: Step, plain: Mapping[str, Any] | None, _: Show) -> str:
        return make_artifact(step.title, opened.location, step, plain)

    opened = Store.create(store)
    outcome = curate_and_train(opened, chosen, show_nothing, run)
    _publish_results(opened, chosen, outcome)
    return outcome.report


def log_progress(step: Step, progress: Progress | None) -> None:
    """A `Show` for runs without a terminal: the end of each step goes to the run's log."""
    if progress is None:
        get_run_logger().info("%s: done", step.title)


def run_as_flow(store: Store, recipe: Recipe, show: Show) -> Outcome:
    """Run a recipe as a Prefect flow run, on the server of PREFECT_API_URL or on a temporary one."""
    from flows.plan import plan_run

    _silence_console()
    plan = plan_run(recipe, store)
    there = set(store.artifacts.ids()) if plan.unsettled else {step.id for step in plan.steps if store.has(step.id)}
    with showing(show):
        report = curate_and_train_flow(recipe.to_json(), store.location)
    steps = plan_run(recipe, store).steps if plan.unsettled else plan.steps
    reused = sum(step.id in there for step in steps)
    return Outcome(report=report, computed=len(steps) - reused, reused=reused)


def serve_recipe(
    recipe: str, store: str, overrides: Sequence[str], *, name: str, cron: str | None, interval: timedelta | None
) -> None:
    """Keep a process that runs a recipe on a schedule, until it is stopped; its schedule stays active.

    One run at a time: a run that is due while another works starts when that one has ended.

    Raises:
        ValueError: `cron` is no schedule.
    """
    if cron is not None:
        try:
            CronSchedule(cron=cron)
        except ValueError:
            raise ValueError(
                f"--cron {cron!r} is no schedule; write minute, hour, day, month and weekday, such as '0 3 * * *'"
            ) from None
    curate_and_train_flow.serve(
        name=name,
        cron=cron,
        interval=interval,
        parameters={"recipe": recipe, "store": store, "overrides": list(overrides)},
        pause_on_shutdown=False,
        limit=1,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


@cache
def _make_forks_safe() -> None:
    """Let processes that are forked from this one end as they should: Prefect's services are left to the parent.

    What Prefect 3.8 registers to be called at the end of a process waits for threads that no fork has.
    """
    os.register_at_fork(after_in_child=_forget_services)


def _forget_services() -> None:
    calls: list[Any] = threading._threading_atexits  # type: ignore[attr-defined]
    calls[:] = [call for call in calls if not _is_of_prefect(call)]


def _is_of_prefect(call: Any) -> bool:
    owner = getattr(getattr(call, "func", call), "__self__", None)
    return any(kind.__module__.partition(".")[0] == "prefect" for kind in type(owner).__mro__)


def _silence_console() -> None:
    """Take Prefect's handlers off the terminal, where progress bars are; its server still gets all logs."""
    for name in ("prefect", "prefect.flow_runs", "prefect.task_runs"):
        noisy = logging.getLogger(name)
        for handler in list(noisy.handlers):
            if isinstance(handler, PrefectConsoleHandler):
                noisy.removeHandler(handler)


def _publish_results(store: Store, recipe: Recipe, outcome: Outcome) -> None:
    """Put the report on the run's page: the comparison and the detection as tables, a summary as text."""
    report = store.record(outcome.report).meta
    key = "".join(letter if letter.isalnum() else "-" for letter in recipe.name.lower())
    if report["arms"]:
        create_table_artifact(arms_rows(report), key=f"{key}-comparison", description="Test accuracy by arm")
    if report["detection"]:
        create_table_artifact(detection_rows(report), key=f"{key}-detection", description="How well scores found flips")
    create_markdown_artifact(markdown_summary(report), key=f"{key}-summary")
