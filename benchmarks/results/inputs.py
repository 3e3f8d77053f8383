"""Sources of the experiments: the data sets as files that recipes read, with a validation split of their own."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

VALIDATION_ROWS = 2000
"""Last rows of a training file that become the validation split."""


def source(data: Path, folder: Path, name: str) -> Path:
    """The file of an experiment's data set, made from the files in `data` unless it is there.

    Args:
        data: has the data sets, one Parquet file or two each.
        folder: where made files are kept.
        name: one of `MAKERS`.

    Raises:
        FileNotFoundError: a file is missing from `data`; its name says which.
    """
    target = folder / f"{name}.parquet"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows = MAKERS[name](data)
        partial = target.with_suffix(".partial")
        rows.write_parquet(partial)
        partial.replace(target)
    return target


def fashion_mnist(data: Path) -> pl.DataFrame:
    """`id`, `image` (784 bytes), `label`, `split`."""
    train = with_validation(pl.read_parquet(data / "fashion_mnist_train.parquet"))
    return pl.concat([train, pl.read_parquet(data / "fashion_mnist_test.parquet")], how="vertical_relaxed")


def cifar10n(data: Path) -> pl.DataFrame:
    """CIFAR-10 images with CIFAR-10N's worst labels as given; test labels are the clean ones."""
    return _cifar10n(data, "worse_label")


def cifar10n_first(data: Path) -> pl.DataFrame:
    """The same with the labels of the first of three people."""
    return _cifar10n(data, "random_label1")


def _cifar10n(data: Path, given: str) -> pl.DataFrame:
    train = with_validation(pl.read_parquet(data / "cifar10_train.parquet"))
    people = pl.read_parquet(data / "cifar10n_labels.parquet").select("id", "clean_label", label=given)
    train = train.drop("label").join(people, on="id", how="inner", validate="1:1")
    test = pl.read_parquet(data / "cifar10_test.parquet").with_columns(clean_label=pl.col("label"))
    return pl.concat([train.select(test.columns), test], how="vertical_relaxed")


def ag_news(data: Path) -> pl.DataFrame:
    """`id`, `text`, `label`, `split`."""
    rows = pl.read_parquet(data / "ag_news.parquet", columns=["id", "text", "label", "split"])
    train = with_validation(rows.filter(pl.col("split") == "train"))
    return pl.concat([train, rows.filter(pl.col("split") == "test")])


def noisy_ag_news(data: Path) -> pl.DataFrame:
    """`id`, `text`, `label` by three people, `clean_label`; how far they agreed is left out, for it tells the truth."""
    return pl.read_parquet(data / "noisy_agnews.parquet", columns=["id", "text", "label", "clean_label"])


def noisy_yoruba(data: Path) -> pl.DataFrame:
    """`id`, `text`, `label` by a gazetteer, `clean_label`: the training headlines of which both are known."""
    rows = pl.read_parquet(data / "noisy_yoruba_news.parquet")
    return rows.filter(pl.col("split") == "train").drop("split")


def letter(data: Path) -> pl.DataFrame:
    """`id`, 16 numbers, `label` (26 letters); splits are drawn."""
    return pl.read_parquet(data / "tab_letter.parquet").drop("target")


def imdb(data: Path) -> pl.DataFrame:
    """`id`, `text`, `label`; splits are drawn."""
    return pl.read_parquet(data / "imdb_train.parquet", columns=["id", "text", "label"])


def satimage(data: Path) -> pl.DataFrame:
    """`id`, `x_1` to `x_36`, `label` (6 soils); splits are drawn."""
    return _numbered(pl.read_parquet(data / "tab_satimage.parquet"))


def spam(data: Path) -> pl.DataFrame:
    """`id`, `x_1` to `x_57`, `label` (two kinds); splits are drawn."""
    return _numbered(pl.read_parquet(data / "tab_spam.parquet"))


def _numbered(rows: pl.DataFrame) -> pl.DataFrame:
    features = [name for name in rows.columns if name not in ("id", "label", "target")]
    return rows.drop("target").rename({name: f"x_{place}" for place, name in enumerate(features, 1)})


def with_validation(train: pl.DataFrame) -> pl.DataFrame:
    """Rows of a training file in the order of `id`, the last of them as the validation split."""
    rows = train.sort("id")
    place = pl.int_range(pl.len())
    held_out = place >= pl.len() - VALIDATION_ROWS
    return rows.with_columns(split=pl.when(held_out).then(pl.lit("validation")).otherwise(pl.lit("train")))


MAKERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    "fashion_mnist": fashion_mnist,
    "cifar10n": cifar10n,
    "ag_news": ag_news,
    "noisy_ag_news": noisy_ag_news,
    "noisy_yoruba": noisy_yoruba,
    "letter": letter,
    "cifar10n_first": cifar10n_first,
    "imdb": imdb,
    "satimage": satimage,
    "spam": spam,
}
"""Data sets of the experiments by the name of their file."""
