"""The command line: `tamis run serve ingest sql why diff reproduce show methods`, and commands of other modules.

Each command imports what it needs when it runs, so that `tamis --help` answers at once.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from flows.check_command import check
from flows.command_options import QueryCommand, led_by_one, set_option, store_option
from flows.export_command import export
from flows.model_commands import COMMANDS as MODEL_COMMANDS
from flows.signal_commands import ingest_signals
from flows.version_commands import COMMANDS

if TYPE_CHECKING:
    from flows.config import Recipe
    from flows.curate_and_train import Outcome
    from storage.store import Store

EPILOG = "Start with `tamis run digits`. Every command explains itself with --help."


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tamis")
def tamis() -> None:
    """Score every training example, keep the right ones, train models that survive the rest."""


@tamis.command(short_help="Run a recipe from source to comparison.")
@click.argument("recipe")
@store_option
@set_option
@click.option("--no-prefect", is_flag=True, help="Run the same steps in this process, without Prefect.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Steps at a time, each in a process of its own with its share of the cores; above 1 without Prefect.",
)
@click.option("--dry-run", is_flag=True, help="Only count what the selection would keep, of what the store has.")
@led_by_one
def run(recipe: str, root: str, overrides: tuple[str, ...], no_prefect: bool, processes: int, dry_run: bool) -> None:
    """Run a RECIPE (a .toml file or a bundled name) from source to comparison.

    Only what the store does not have yet is computed; interrupted runs carry on. A training under way is saved every
    20 seconds, or after as many minutes as TAMIS_CHECKPOINT_MINUTES says.
    """
    from flows.config import load_recipe
    from flows.report.plain_console import PlainConsole
    from flows.report.terminal import print_contract, print_report
    from storage.store import Store

    chosen = load_recipe(recipe, overrides)
    if dry_run:
        from flows.dry_run import foreseen, print_dry_run

        print_dry_run(foreseen(Store.open(root), chosen), PlainConsole())
        return
    store = Store.create(root)
    outcome = _run(store, chosen, no_prefect, processes)
    console = PlainConsole()
    subset = str(store.version("subset", chosen.subset)) if chosen.subset else None
    print_report(store.record(outcome.report).meta, subset, console)
    print_contract(store, outcome.report, console)
    if outcome.computed:
        console.print(f"Computed {outcome.computed} artifacts, reused {outcome.reused}; the store is {root}.")
    else:
        console.print(f"Nothing to compute: all {outcome.reused} artifacts were there already; the store is {root}.")
    _print_next(console.print, store, chosen)


@tamis.command(short_help="Keep running a recipe on a schedule.")
@click.argument("recipe")
@click.option("--cron", help='Schedule such as "0 3 * * *" (every night at three).')
@click.option("--interval", type=click.FloatRange(min=1), help="Seconds between two runs.")
@click.option("--name", help="Name of the deployment; by default the recipe's data set.")
@store_option
@set_option
def serve(
    recipe: str, cron: str | None, interval: float | None, name: str | None, root: str, overrides: tuple[str, ...]
) -> None:
    """Keep running a RECIPE on a schedule; each run computes only what is new."""
    from datetime import timedelta

    from flows.config import load_recipe

    if (cron is None) == (interval is None):
        raise click.UsageError("give either --cron or --interval")
    chosen = load_recipe(recipe, overrides)
    from flows.prefect_server import prefect_server
    from flows.report.terminal import MESSAGES

    MESSAGES.print("starting Prefect; stop with Ctrl-C", highlight=False)
    with prefect_server() as pages:
        from flows.orchestrate import serve_recipe
        from storage.roots import absolute_root

        MESSAGES.print(f"runs are shown at {pages}", highlight=False)
        serve_recipe(
            str(Path(recipe).absolute()) if Path(recipe).is_file() else recipe,
            absolute_root(root),
            overrides,
            name=name or chosen.name,
            cron=cron,
            interval=timedelta(seconds=interval) if interval else None,
        )


@tamis.command(short_help="Read examples into the store.")
@click.argument("location")
@click.option("--name", required=True, help="Name of the data set in the store.")
@click.option("--format", "source_format", help="Such as csv, jsonl or parquet; by default the ending decides.")
@click.option("--label", help="Column with the given label; leave out for a pool without labels.")
@click.option("--key", help="Column that names each example for good; else its content does.")
@click.option("--features", multiple=True, help="Column or pattern a model may see; repeat, or '*' for all others.")
@click.option("--text", multiple=True, help="Feature column that holds free text; repeat for more.")
@click.option("--split", help="Column with train, validation or test; else splits are drawn.")
@click.option("--group", help="Column with the subpopulation.")
@click.option("--clean-label", help="Column with the true label; only reports read it.")
@click.option("--image-shape", help="Height x width (x channels) of an image column, such as 28x28.")
@click.option("--image-fit", type=click.Choice(["exact", "resize"]), help="What becomes of other sizes; else exact.")
@click.option("--labels", help="Second file whose columns are joined to the rows, such as labels by several people.")
@click.option("--label-key", help="Column, in both files, by which --labels is joined.")
@click.option("--contract", type=click.Path(dir_okay=False), help="TOML file with what a recipe has under [contract].")
@click.option("--on-bad-rows", type=click.Choice(["quarantine", "fail"]), show_default="quarantine")
@click.option("--seed", type=int, show_default="0", help="Seed of the drawn splits.")
@click.option("--append", is_flag=True, help="Keep the newest version's rows; columns mean what they meant there.")
@store_option
def ingest(location: str, name: str, append: bool, root: str, **columns: Any) -> None:
    """Read the examples at LOCATION into the store, as the next version of a data set.

    With --append the next version has the rows of the newest one, in the same files, and the new ones.
    """
    from flows.ingest_by_hand import append_location, ingest_location
    from flows.report.terminal import progress_bars
    from storage.store import Store

    store = Store.open(root) if append else Store.create(root)
    put = append_location if append else ingest_location
    click.echo(put(store, location, name, columns, progress_bars))


def by_flags(sentence: str) -> str:
    """What is wrong with a query's limits, naming the flags where it names the settings."""
    for setting, flag in (("timeout_seconds", "--timeout"), ("memory_bytes", "--memory"), ("threads", "--threads")):
        sentence = re.sub(rf"^{setting}\b", flag, sentence)
    return re.sub("^a size", "--memory", sentence)


@tamis.command(cls=QueryCommand, short_help="Answer one SELECT over the store.")
@click.argument("query")
@click.option("--format", "shape", type=click.Choice(["table", "csv", "json", "parquet"]), default="table")
@click.option("--output", type=click.Path(dir_okay=False), help="Write the answer to this file.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Stop the query after so long.")
@click.option("--memory", metavar="SIZE", help="Memory it may use, such as 2GB; else 80 % of the machine's.")
@click.option("--threads", type=int, metavar="N", help="Threads it may use; else one per core.")
@store_option
def sql(
    query: str,
    shape: str,
    output: str | None,
    timeout: float | None,
    memory: str | None,
    threads: int | None,
    root: str,
) -> None:
    """Answer one SELECT over the store's tables: dataset.*, scored.*, subset.*, quarantine.*, catalog.*.

    why('digits:17') and diff('a@1', 'a@2') stand in FROM like tables. The query runs in a sandbox: it can
    neither write nor read outside the store.
    """
    from flows.report.answers import write_answer
    from storage.limits import Limits, parse_size
    from storage.store import Store

    try:
        limits = Limits(
            memory_bytes=None if memory is None else parse_size(memory), threads=threads, timeout_seconds=timeout
        )
    except ValueError as error:
        raise ValueError(by_flags(str(error))) from None
    store = Store.open(root)
    write_answer(store.sql_parts(query, limits), shape, output, avoid=store.root)


@tamis.command(short_help="Say what is known of one example.")
@click.argument("example_id")
@click.option("--format", "shape", type=click.Choice(["table", "csv", "json", "parquet"]), default="table")
@click.option("--output", type=click.Path(dir_okay=False), help="Write the facts, a row each, to this file.")
@store_option
def why(example_id: str, shape: str, output: str | None, root: str) -> None:
    """Say what is known of EXAMPLE_ID (such as digits:17): its scores, and why each subset kept or dropped it."""
    from flows.report.answers import write_answer
    from flows.report.explained import print_why
    from flows.report.plain_console import PlainConsole
    from storage.store import Store

    store = Store.open(root)
    facts = store.why(example_id)
    if shape == "table" and output is None:
        print_why(example_id, facts, PlainConsole())
    else:
        write_answer([facts], shape, output, avoid=store.root)


@tamis.command(short_help="Say what moved between two versions.")
@click.argument("first")
@click.argument("second")
@click.option("--rows", type=click.IntRange(min=0), default=10, show_default=True, help="Rows to print.")
@click.option("--format", "shape", type=click.Choice(["table", "csv", "json", "parquet"]), default="table")
@click.option("--output", type=click.Path(dir_okay=False), help="Write all rows to this file.")
@store_option
def diff(first: str, second: str, rows: int, shape: str, output: str | None, root: str) -> None:
    """Say what moved from version FIRST to version SECOND of a subset or data set, and because of what."""
    from flows.report.answers import write_answer
    from flows.report.explained import print_diff
    from flows.report.plain_console import PlainConsole
    from storage.store import Store

    store = Store.open(root)
    found = store.diff(first, second)
    if shape == "table" and output is None:
        print_diff(found, rows, PlainConsole())
    else:
        write_answer([found.rows], shape, output, avoid=store.root)


@tamis.command(short_help="Rebuild a version and compare it hash by hash.")
@click.argument("reference", metavar="VERSION")
@click.option(
    "--kind", type=click.Choice(["subset", "dataset", "model", "scored"]), help="Where several have the name."
)
@click.option("--location", "locations", multiple=True, help="Where a source lies now, if it has moved; repeatable.")
@store_option
def reproduce(reference: str, kind: str | None, locations: tuple[str, ...], root: str) -> None:
    """Rebuild VERSION (such as digits-clean@1) in a scratch store from its records, and compare every hash.

    Ends with exit code 1 and the first thing that differs, if anything does.
    """
    from flows.report.terminal import progress_bars
    from flows.reproduce_version import number_of_artifacts, reproduce_version
    from storage.store import Store

    store = Store.open(root)
    name = reference.partition("@")[0]
    kind = kind or next((one for one in ("subset", "dataset", "model") if store.knows(one, name)), "dataset")
    version = store.version(kind, reference)
    total = number_of_artifacts(store, version)
    with progress_bars(total) as bars:
        checks = list(reproduce_version(store, version, locations, bars))
    last = checks[-1]
    if last.difference is not None:
        _fail(f"{version} is not reproduced: {last.artifact}: {last.difference}", 1)
    click.echo(f"reproduced: {total} artifacts, every hash equal")


@tamis.command(short_help="Show names, versions, lineage, or one example.")
@click.argument("what", required=False)
@click.option("--recipe", "with_recipe", is_flag=True, help="Also print the recipe that published the version.")
@store_option
def show(what: str | None, with_recipe: bool, root: str) -> None:
    """List names and versions; or WHAT: a name, a version (name@3), or an example's id (name:key)."""
    from flows.report.plain_console import PlainConsole
    from flows.report.shown import print_example, print_names, print_version
    from storage.store import Store
    from storage.versions import KINDS

    store, console = Store.open(root), PlainConsole()
    if with_recipe and (what is None or ":" in what or any(what in store.names(kind) for kind in KINDS)):
        raise click.UsageError("--recipe has an effect on a version alone, such as digits-clean@1")
    if what is None:
        print_names(store, console)
    elif ":" in what:
        print_example(store, what, console)
    else:
        print_version(store, what, console, recipe=with_recipe)


@tamis.command(short_help="List the methods that recipes name.")
@click.argument("name", required=False)
def methods(name: str | None) -> None:
    """List the methods that recipes name, by kind; or one method's settings and source."""
    from flows.report.described import print_method, print_methods
    from flows.report.plain_console import PlainConsole

    if name is None:
        print_methods(PlainConsole())
    else:
        print_method(name, PlainConsole())


for command in (*COMMANDS, *MODEL_COMMANDS, check, ingest_signals, export):
    tamis.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; an expected error is one sentence on standard error and exit code 1."""
    from storage.errors import TamisError

    try:
        tamis.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail("stopped; run the same command again to carry on", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (TamisError, ValueError, FloatingPointError, OSError) as error:
        _fail(str(error), 1)
    sys.exit(0)


def _fail(sentence: str, code: int) -> NoReturn:
    click.echo(f"tamis: {sentence}", err=True)
    sys.exit(code)


def _run(store: "Store", recipe: "Recipe", no_prefect: bool, processes: int) -> "Outcome":
    """The outcome of a recipe: from memory, in this process, or as a Prefect flow run."""
    from flows.curate_and_train import curate_and_train, finished_before
    from flows.report.terminal import MESSAGES, progress_bars

    before = finished_before(store, recipe)
    if before is not None:
        return before
    with MESSAGES.status("reading the recipe and the store"):
        from flows.plan import plan_run
        from flows.step import is_done

        pending = sum(not is_done(store, step) for step in plan_run(recipe, store).steps)
    if no_prefect or processes > 1 or not pending:
        with progress_bars(pending) as bars:
            return curate_and_train(store, recipe, bars, processes=processes)
    with MESSAGES.status("starting the flow run (Prefect's temporary server takes some seconds)"):
        from flows.orchestrate import run_as_flow
    with progress_bars(pending) as bars:
        return run_as_flow(store, recipe, bars)


def _for_shell(text: str) -> str:
    """A text as one shell word: in double quotes where that changes nothing in it."""
    import shlex

    return shlex.quote(text) if any(sign in text for sign in '"$`\\') else f'"{text}"'


def _print_next(say: Callable[..., None], store: "Store", recipe: "Recipe") -> None:
    """Three commands that lead on from this run, ready for the shell."""
    import shlex

    from flows import resolve
    from storage.views import quoted_name

    command = sys.argv[0] if os.sep in sys.argv[0] and not Path(sys.argv[0]).is_absolute() else "tamis"
    usual = store.location == str(Path("./tamis-store").absolute())
    where = "" if usual else f" --store {shlex.quote(store.location)}"
    lines = [f"{command} show {recipe.name}{where}"]
    if recipe.scorers:
        name, config = list(recipe.scorers.items())[-1]
        score, data = (one if one.isidentifier() else quoted_name(one) for one in (name, recipe.name))
        order = "ASC" if resolve.method_class("scorer", config.method).high_means == "clean" else "DESC"
        scored = store.record(store.version("scored", recipe.name).artifact)
        labelled = "label, " if store.dataset(scored.request.inputs["dataset"]).schema.classes else ""
        query = f"SELECT example_id, {labelled}{score} FROM scored.{data} ORDER BY {score} {order} NULLS LAST LIMIT 5"
        lines.insert(0, f"{command} sql {_for_shell(query)}{where}")
    if recipe.subset is not None:
        subset = store.version("subset", recipe.subset)
        lines[-1] = f"{command} show {subset}{where}"
        if recipe.learners:
            lines.append(f"{command} train --subset {subset} --learner {list(recipe.learners)[-1]}{where}")
    say("\nWhat next:")
    for line in lines:
        say(f"  {line}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
