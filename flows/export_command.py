"""`tamis export`: rows of a version in the formats of other tools."""

from pathlib import Path

import click

from flows.command_options import store_option


@click.command(short_help="Write a version's rows for other tools.")
@click.argument("reference", metavar="VERSION")
@click.option("--to", required=True, metavar="FORMAT", help="parquet, csv, hf, webdataset or delta.")
@click.option("--output", required=True, help="File or directory, outside the store.")
@click.option("--kind", type=click.Choice(["subset", "dataset", "scored"]), help="Where several kinds have the name.")
@click.option("--all", "dropped_too", is_flag=True, help="Of a subset, also the rows of weight 0.")
@click.option("--replace", is_flag=True, help="Replace the file or the earlier export at --output.")
@store_option
def export(reference: str, to: str, output: str, kind: str | None, dropped_too: bool, replace: bool, root: str) -> None:
    """Write the rows of VERSION (such as digits-clean@3) in another tool's format, whole or not at all.

    Parquet and CSV are one file; hf, webdataset and delta are directories. A subset's rows come with their weight,
    the reason for it and the corrected label.
    """
    from flows.export_version import export_version
    from storage.store import Store

    if "://" in output:
        raise ValueError(f"--output {output} is a URL; name a file or directory of this machine")
    place, store = Path(output), Store.open(root)
    click.echo(
        export_version(store, reference, to=to, output=place, kind=kind, dropped_too=dropped_too, replace=replace)
    )
