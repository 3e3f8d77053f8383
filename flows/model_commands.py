"""Commands that train, evaluate and use models: `tamis train evaluate predict`."""

from typing import TYPE_CHECKING

import click

from flows.command_options import led_by_one, set_option, store_option

if TYPE_CHECKING:
    from flows.predict_rows import Epoch, Predictions
    from storage.ingest.source import Source

_FIRST_ROWS = 10

epoch_option = click.option(
    "--epoch",
    type=click.Choice(["last", "best"]),
    default="last",
    show_default=True,
    help="Weights of the last epoch, or of the best on the validation split.",
)


@click.command(short_help="Train a learner on a published subset.")
@click.option("--subset", "reference", required=True, help="Subset to train on, such as digits-clean@1.")
@click.option("--learner", required=True, help="A learner of the subset's recipe, or a method's name.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Trainings, one per seed.")
@click.option("--name", help="Name of the model that is published; by default SUBSET-LEARNER.")
@store_option
@set_option
@led_by_one
def train(reference: str, learner: str, seeds: int, name: str | None, root: str, overrides: tuple[str, ...]) -> None:
    """Train a learner on a published subset, evaluate it on the test split, and publish the model.

    Of several seeds the first one's model is published, whatever the test results say. A training under way is saved
    every 20 seconds, or after as many minutes as TAMIS_CHECKPOINT_MINUTES says; run the same command again to carry on.
    """
    from flows.publish_model import check_free, model_step
    from flows.report.plain_console import PlainConsole
    from flows.report.terminal import print_rows, progress_bars
    from flows.step import is_done, run_step
    from flows.train_on_subset import plan_training, training_rows
    from storage.store import Store

    store = Store.open(root)
    steps = plan_training(store, reference, learner, seeds, overrides)
    subset = store.version("subset", reference).name
    model = model_step(subset, learner, steps[0].id, steps[1].id, name=name)
    check_free(store, model)
    pending = [step for step in (*steps, model) if not is_done(store, step)]
    with progress_bars(len(pending)) as bars:
        for step in pending:
            run_step(store, step, None, bars)
    print_rows(f"{learner} on {reference}", training_rows(store, steps), PlainConsole())
    click.echo(f"The first seed's model is {store.version('model', name or f'{subset}-{learner}')}.")


@click.command(short_help="Predict the rows of a file with a stored model.")
@click.argument("reference", metavar="MODEL")
@click.argument("location", metavar="FILE")
@click.option("--output", type=click.Path(dir_okay=False), help="Write all predictions to this file.")
@click.option("--format", "shape", type=click.Choice(["csv", "json", "jsonl", "parquet"]), help="Else the ending's.")
@click.option("--source-format", help="Format of FILE, such as csv, jsonl or parquet; by default the ending decides.")
@click.option("--probabilities", is_flag=True, help="Add a column probs_CLASS for each class.")
@click.option("--batch-size", type=click.IntRange(min=1), default=500, show_default=True, help="Rows per forward pass.")
@epoch_option
@store_option
def predict(
    reference: str,
    location: str,
    output: str | None,
    shape: str | None,
    source_format: str | None,
    probabilities: bool,
    batch_size: int,
    epoch: "Epoch",
    root: str,
) -> None:
    """Predict the rows of FILE with MODEL (such as digits-elr@1): class and confidence of each.

    FILE is anything that `tamis ingest` reads, with the feature columns of the model's data set; no label is needed. It
    is read block by block. A row that breaks a rule of the features has no prediction and says which rule it breaks.
    Without --output the first rows are shown, and how many rows each class has.
    """
    from flows.predict_rows import predict_rows
    from flows.report.answers import write_answer
    from flows.report.terminal import MESSAGES
    from storage.ingest.source import Source
    from storage.store import Store

    store, source = Store.open(root), Source(location=location, format=source_format)
    if output is not None:
        _check_apart(source, output)
    found = predict_rows(store, reference, source, epoch=epoch, batch_size=batch_size, with_probabilities=probabilities)
    if output is None and shape is None:
        _print_first(found)
    else:
        write_answer(found.parts, shape or "table", output, avoid=store.root)
    for sentence in filter(None, (found.problem_sentence, found.sentence)):
        MESSAGES.print(sentence, highlight=False, soft_wrap=True)


def _check_apart(source: "Source", output: str) -> None:
    """Refuse to write over what is being read."""
    from pathlib import Path

    from storage.ingest.location import matching_files

    if Path(output).resolve() in [one.resolve() for one in matching_files(source.location)]:
        raise ValueError(f"--output {output} is the file that is read; name another")


def _print_first(found: "Predictions") -> None:
    """The first rows, and how many rows each class has; all are read, few are kept."""
    import polars as pl

    from flows.report.answers import print_table
    from flows.report.plain_console import PlainConsole
    from flows.report.terminal import print_rows

    first: list[pl.DataFrame] = []
    for part in found.parts:
        if sum(map(len, first)) < _FIRST_ROWS:
            first.append(part.head(_FIRST_ROWS))
    console, rows = PlainConsole(), pl.concat(first).head(_FIRST_ROWS)
    print_table(rows if rows["problem"].null_count() < len(rows) else rows.drop("problem"), console, _FIRST_ROWS)
    if found.rows > len(rows):
        console.print(f"{found.rows - len(rows)} more rows; --output FILE gives all {found.rows}", highlight=False)
    counts = [{"predicted": str(name), "rows": str(count)} for name, count in sorted(found.by_class.items())]
    print_rows("Predictions", [*counts, {"predicted": "all", "rows": str(found.by_class.total())}], console)


@click.command(short_help="Evaluate a stored model on a stored data set.")
@click.argument("reference", metavar="MODEL")
@click.argument("data", metavar="DATA")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="test", show_default=True)
@epoch_option
@click.option("--attack", "attacks", multiple=True, metavar="NAME", help="Such as pgd_20 or auto_attack; repeatable.")
@click.option("--epsilon", type=float, help="Radius of the attacks, in input units; else 8/255.")
@click.option("--norm", type=click.Choice(["linf", "l2"]), help="Norm of that radius; else linf.")
@click.option("--attacked", type=click.IntRange(min=1), help="Examples that are attacked; else 500.")
@store_option
def evaluate(
    reference: str,
    data: str,
    split: str,
    epoch: "Epoch",
    attacks: tuple[str, ...],
    epsilon: float | None,
    norm: str | None,
    attacked: int | None,
    root: str,
) -> None:
    """Evaluate MODEL (such as digits-elr@1) on DATA (such as digits@2), and keep the result.

    The data set needs the features that the model reads, and may have no class that it does not know. What was
    evaluated before is not computed again.
    """
    from flows.evaluate_model import evaluation_metrics, evaluation_step
    from flows.report.plain_console import PlainConsole
    from flows.report.tables import metric_rows
    from flows.report.terminal import print_rows, progress_bars
    from flows.step import is_done, run_step
    from storage.store import Store

    threat = {name: one for name, one in (("epsilon", epsilon), ("norm", norm)) if one is not None}
    if not attacks and (threat or attacked):
        raise click.UsageError("--epsilon, --norm and --attacked have no effect without --attack")
    asked = {"attacks": list(attacks), "threat": threat, **({"attacked": attacked} if attacked else {})}
    store = Store.open(root)
    step = evaluation_step(store, reference, data, split=split, epoch=epoch, attacks=asked if attacks else {})
    if not is_done(store, step):
        with progress_bars(1) as show:
            run_step(store, step, None, show)
    meta, console = store.record(step.id).meta, PlainConsole()
    title = f"{store.version('model', reference)} on the {split} split of {data}, {meta['examples']} examples"
    print_rows(title, metric_rows({f"{epoch} epoch": evaluation_metrics(meta, epoch)}), console)
    for sentence in meta["warnings"]:
        console.print(f"Warning: {sentence}.", highlight=False)


COMMANDS = (train, evaluate, predict)
"""What `tamis` takes over."""
