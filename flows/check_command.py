"""`tamis check`: what a subset did to the examples as a whole."""

import click

from flows.command_options import store_option


@click.command(short_help="Check a subset for shifts and leaks.")
@click.argument("reference", metavar="SUBSET")
@click.option("--format", "shape", type=click.Choice(["table", "json"]), default="table", show_default=True)
@store_option
def check(reference: str, shape: str, root: str) -> None:
    """Check SUBSET (such as digits-clean@1) against the pool it was chosen from and against the other splits.

    Tells whether a classifier tells what was kept from what was dropped, which classes and groups shifted, whether
    the effective rank fell, and which kept rows equal rows of the validation or test split. What was checked before
    is not computed again.
    """
    import json

    from flows.check_subset import check_step
    from flows.report.checked import print_checks
    from flows.report.plain_console import PlainConsole
    from flows.report.terminal import progress_bars
    from flows.step import is_done, run_step
    from storage.store import Store

    store = Store.open(root)
    step = check_step(store, reference)
    if not is_done(store, step):
        with progress_bars(1) as show:
            run_step(store, step, None, show)
    subset, found = str(store.version("subset", reference)), store.record(step.id).meta
    if shape == "json":
        click.echo(json.dumps({"subset": subset, **found}, indent=2))
    else:
        print_checks(subset, found, PlainConsole())
