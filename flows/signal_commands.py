"""The command about signals of one's own: `tamis ingest-signals`."""

from typing import Any

import click

from flows.command_options import store_option


@click.command("ingest-signals", short_help="Bring your own probabilities, embeddings or scores.")
@click.argument("dataset", metavar="NAME")
@click.argument("location", metavar="FILE")
@click.option("--as", "name", help="Name of the signals in the store, such as probs; with --score, the score's.")
@click.option("--take", multiple=True, metavar="NAME[=ARRAY]", help="Array to take, and its name here; else all.")
@click.option("--classes", help="Order of the classes in probabilities and logits, such as a,b,c; else the data set's.")
@click.option("--score", help="Array of one number per example that becomes a column of scored.NAME.")
@click.option("--high-means", type=click.Choice(["clean", "suspect", "hard", "similar"]), help="With --score.")
@click.option("--format", "source_format", help="Such as npz or parquet; by default the ending decides.")
@click.option("--append", is_flag=True, help="FILE holds the rows that were appended to NAME alone.")
@store_option
def ingest_signals(dataset: str, location: str, root: str, **options: Any) -> None:
    """Read arrays per example of data set NAME from FILE (.npz, .parquet, .csv, ...), so that nothing need be trained.

    A column example_id (reviews:17) or key (17) says whose each row is. Arrays are columns of numbers or lists;
    probs_0, probs_1, ... together are probs. Arrays named probs or ..._probs must be probabilities, those named
    logits or ..._logits one number per class. The whole training split must be there; other splits are left out.
    Recipes read them with a section such as [signals.mine] given = "probs".
    """
    from flows.report.terminal import progress_bars
    from flows.signals_by_hand import ingest_signals as put
    from storage.store import Store

    click.echo(put(Store.open(root), dataset, location, options, progress_bars))
