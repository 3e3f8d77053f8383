"""Commands about versions and the store's upkeep: `tamis relabel tag log gc fsck`."""

import sys

import click

from flows.command_options import store_option


@click.command(short_help="Correct labels, remembering who and why.")
@click.argument("name")
@click.argument("labels")
@click.option("--by", required=True, help="Who says so.")
@click.option("--why", required=True, help="The reason; every corrected row remembers both.")
@store_option
def relabel(name: str, labels: str, by: str, why: str, root: str) -> None:
    """Correct labels of data set NAME by the file LABELS, as the data set's next version.

    LABELS has the columns example_id (such as digits:17) or key (17), and label.
    """
    from flows.ingest_by_hand import relabel_examples
    from flows.report.terminal import progress_bars
    from storage.store import Store

    click.echo(relabel_examples(Store.open(root), name, labels, by, why, progress_bars))


@click.command(short_help="Let a name such as production stand for a version.")
@click.argument("reference", metavar="[VERSION]", required=False)
@click.argument("tag", required=False)
@click.option(
    "--kind", type=click.Choice(["subset", "dataset", "model", "scored"]), help="Where several kinds have the name."
)
@store_option
def tag(reference: str | None, tag: str | None, kind: str | None, root: str) -> None:
    """Let TAG stand for VERSION (such as digits-clean@3) wherever a name can stand; without both, list the tags.

    A tag moves: give it again to let it stand for another version. TAG@1 is what it stood for first.
    """
    from flows.report.plain_console import PlainConsole
    from flows.report.shown import print_tags
    from storage.store import Store

    store = Store.open(root)
    if reference is None:
        print_tags(store, PlainConsole())
        return
    if tag is None:
        raise click.UsageError("give a VERSION and a TAG, or neither")
    name = reference.partition("@")[0]
    kind = kind or next((one for one in ("subset", "dataset", "model") if store.knows(one, name)), "dataset")
    moved = store.tag(kind, tag, reference)
    click.echo(f"{kind} {moved.tag} is {moved.reference}")


@click.command(short_help="Say what changed from version to version.")
@click.argument("name")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="Versions to show.")
@store_option
def log(name: str, last: int, root: str) -> None:
    """Say of every version of NAME, newest first, when it came, what changed, and its tags."""
    from flows.report.history import print_history
    from flows.report.plain_console import PlainConsole
    from storage.store import Store

    print_history(Store.open(root), name, last, PlainConsole())


@click.command(short_help="Remove what no version needs.")
@click.option("--delete", is_flag=True, help="Remove it; else it is only listed.")
@click.option(
    "--grace-hours", type=click.FloatRange(min=0), default=168, show_default=True, help="Keep what is younger."
)
@store_option
def gc(delete: bool, grace_hours: float, root: str) -> None:
    """List, or with --delete remove, what no version, tag or newest run needs, and what killed writers left."""
    from flows.report.plain_console import PlainConsole
    from flows.report.upkeep import print_waste
    from storage.roots import is_url
    from storage.store import Store
    from storage.sweep import Sweep

    sweep = Sweep(Store.open(root).files, grace_seconds=3600 * grace_hours)
    waste = list(sweep.remove()) if delete else sweep.find()
    print_waste(waste, PlainConsole(), removed=delete, grace_hours=grace_hours)
    if is_url(root):
        click.echo("No lock reaches other machines: let --grace-hours be longer than any step that runs there.")


@click.command(short_help="Check the store against its records.")
@click.option("--quick", is_flag=True, help="Leave out the content of files.")
@store_option
def fsck(quick: bool, root: str) -> None:
    """Check ids, files, hashes, row counts, versions and tags; ends with exit code 1 if anything is wrong."""
    from flows.report.plain_console import PlainConsole
    from flows.report.upkeep import print_findings
    from storage.fsck import check_store
    from storage.store import Store

    if print_findings(check_store(Store.open(root).files, quick=quick), PlainConsole()):
        sys.exit(1)


COMMANDS = (relabel, tag, log, gc, fsck)
"""What `tamis` takes over."""
