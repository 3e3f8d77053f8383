"""What a person sees in the terminal: progress with rate and time left, and tables."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from flows.report.plain_console import PlainConsole
from flows.report.tables import (
    Report,
    Row,
    arms_rows,
    attacked_rows,
    broken_rules_text,
    calibration_rows,
    class_rows,
    comparison_rows,
    comparison_title,
    cost_sentence,
    detection_rows,
    epoch_rows,
    noise_sentence,
    rows_text,
    score_rows,
)
from flows.step import Progress, Show, Step
from storage.lineage import ancestry
from storage.store import Store

_NUMERIC = re.compile(r"$|[-+]?[0-9][0-9.,]*( ±.*| %| s)?$")
MESSAGES = PlainConsole(stderr=True)
"""Progress and notes; results alone go to standard output."""
_QUIET_SECONDS = 30.0
"""After so long without a line, a log gets one from within a step."""


@contextmanager
def progress_bars(steps: int) -> Iterator[Show]:
    """Bars on standard error: one for the whole run, one for the step at work.

    Args:
        steps: number of steps that are to be told of; it grows where a run turns out to need more.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(compact=True),
    )
    if not MESSAGES.is_terminal:
        yield _Lines(steps).show
        return
    with _NotedBars(*columns, console=MESSAGES, transient=True) as bars:
        yield _Bars(bars, steps).show


class _NotedBars(Bars):
    """Bars, and below them a line of its own for the note, however long it is."""

    note = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        """The bars, then the note."""
        yield from super().get_renderables()
        if self.note:
            yield Text(self.note, style="dim", no_wrap=True, overflow="ellipsis")


class _Bars:
    """Two live bars: the run and its current step."""

    def __init__(self, bars: _NotedBars, steps: int) -> None:
        self.bars = bars
        self.run = bars.add_task("all steps", total=steps, rate="")
        self.steps = steps
        self.ended = 0
        self.current: tuple[str, TaskID, float] | None = None

    def show(self, step: Step, progress: Progress | None) -> None:
        """Move the bars on."""
        if self.current is None or self.current[0] != step.id:
            self._end()
            self.current = (step.id, self.bars.add_task(step.title, total=None, rate=""), time.perf_counter())
        if progress is None:
            self._end()
            self.ended += 1
            self.steps = max(self.steps, self.ended)
            self.bars.update(self.run, completed=self.ended, total=self.steps)
            return
        _, bar, started = self.current
        rate = rate_text(progress, time.perf_counter() - started)
        self.bars.note = progress.note
        self.bars.update(bar, completed=progress.done, total=progress.total, rate=rate)

    def _end(self) -> None:
        if self.current:
            self.bars.remove_task(self.current[1])
            self.bars.note = ""
            self.current = None


class _Lines:
    """For logs and pipes: a line when a step ends, with the time taken and the time left, and some within long ones."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.ended = 0
        self.started = self.since = self.said = time.perf_counter()
        self.last: Progress | None = None

    def show(self, step: Step, progress: Progress | None) -> None:
        """Print a line at the end of a step, and within it if nothing was said for long."""
        now = time.perf_counter()
        if progress is not None:
            self.last = progress
            if progress.unit and now - self.said >= _QUIET_SECONDS:
                total = max(self.steps, self.ended + 1)
                self._say(f"[{self.ended + 1}/{total}] {step.title}: {_reached(progress, now - self.since)}")
            return
        self.ended += 1
        self.steps = max(self.steps, self.ended)
        left = (now - self.started) / self.ended * (self.steps - self.ended)
        facts = [f"{now - self.since:.1f} s"]
        if self.last:
            facts += [text for text in (rate_text(self.last, now - self.since), self.last.note) if text]
        self._say(f"[{self.ended}/{self.steps}] {step.title}: {', '.join(facts)}; about {left:.0f} s left")
        self.since, self.last = now, None

    def _say(self, line: str) -> None:
        MESSAGES.print(line, highlight=False, markup=False, soft_wrap=True)
        self.said = time.perf_counter()


def _reached(progress: Progress, seconds: float) -> str:
    """Such as `30,000 of about 60,000 rows, 1,000 rows/s, 30 s left in this step`, and the note."""
    facts = [f"{progress.done:,.0f} {progress.unit}", rate_text(progress, seconds), progress.note]
    if progress.total is not None and progress.done:
        left = seconds / progress.done * (progress.total - progress.done)
        facts[0] = f"{progress.done:,.0f} of about {progress.total:,.0f} {progress.unit}"
        facts.insert(2, f"{left:.0f} s left in this step")
    return ", ".join(fact for fact in facts if fact)


def rate_text(progress: Progress, seconds: float) -> str:
    """Such as `1,200 rows/s`, or `4.2 s/epoch` where that is slower than one a second."""
    if not progress.done:
        return ""
    rate = progress.done / max(seconds, 1e-9)
    if rate >= 1:
        return f"{rate:,.0f} {progress.unit}/s"
    return f"{1 / rate:.1f} s/{progress.unit.removesuffix('s')}"


def print_report(report: Report, subset: str | None, console: Console) -> None:
    """The report of a run, as tables; `subset` is the version that was published, if any."""
    console.print()
    console.print(Text(noise_sentence(report) + ".", style="bold"))
    print_rows("Wrong labels found by each score", detection_rows(report), console)
    print_rows("Scores", score_rows(report), console)
    print_rows("AUROC by the epoch at which a score is read", epoch_rows(report), console)
    print_rows(f"Subset {subset}: training labels by given class", class_rows(report), console)
    print_rows("Test accuracy, mean ± standard error over seeds", arms_rows(report), console)
    print_rows(comparison_title(report), comparison_rows(report), console)
    print_rows(
        "Calibration at the last epoch, low is good; scaled on the validation split",
        calibration_rows(report),
        console,
    )
    print_rows("Accuracy under attack", attacked_rows(report), console)
    for warning in report.get("warnings", []):
        console.print(Text(f"Suspicious: {warning}.", style="bold"))
    console.print(Text(cost_sentence(report) + ".", style="dim"))


def print_contract(store: Store, report: str, console: Console) -> None:
    """Whether the rows that a run's data set was made from kept their contract; nothing if all did.

    Args:
        store: where the run is.
        report: id of the run's report.
        console: where to print.
    """
    dataset = store.record(report).request.inputs["dataset"]
    for record in ancestry(store.artifacts, dataset):
        counts = record.meta.get("appended", record.meta.get("counts", {}))
        rules = broken_rules_text(counts)
        settings = record.request.settings
        if rules and "source" in settings and "relabel" not in settings:
            console.print(Text(f"The data contract: {rows_text(counts)}{rules}."))


def print_rows(title: str, rows: Sequence[Row], console: Console) -> None:
    """Rows as a table under a title; nothing at all if there are none. A row that begins with `all` is their sum."""
    if not rows:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for place, name in enumerate(rows[0]):
        numeric = place > 0 and all(_NUMERIC.match(row[name]) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric or not place)
    for row in rows:
        values = list(row.values())
        table.add_row(*values, style="bold" if values[0] == "all" else None)
    console.print()
    console.print(Text(title, style="bold"))
    console.print(table)
