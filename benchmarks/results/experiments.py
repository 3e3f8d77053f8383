"""The experiments of the learners' table: which recipe, with what changed, on which data set."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.results.inputs import source
from benchmarks.results.tables import (
    Table,
    adversarial_table,
    noise_table,
    single_step_table,
    targets_table,
    throughput_table,
)
from flows.config import Recipe, load_recipe

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One table of the document: a recipe whose arms are its rows."""

    name: str
    """Of the table and of the data set in the store."""
    title: str
    """Heading above the table."""
    recipe: str
    """File in `recipes`."""
    source: str
    """Data set, one of `inputs.MAKERS`."""
    overrides: tuple[str, ...] = ()
    """`key.path=value` changes to the recipe."""
    table: Table
    """Makes rows of finished arms."""

    def loaded(self, data: Path, folder: Path) -> Recipe:
        """The recipe with its source in place."""
        location = source(data, folder, self.source)
        return load_recipe(
            str(RECIPES / self.recipe), (f"source.location={location}", f"name={self.name}", *self.overrides)
        )


LIKE_CLASSES = 'noise={method="asymmetric", rate=0.4, pairs=[[9,7],[7,5],[2,6],[3,4],[4,3]]}'
"""Boots become sneakers, sneakers sandals, pullovers shirts, and dresses and coats each other."""

PLAIN_AND_ELR = 'arms=[{learner="erm", data="everything"}, {learner="elr", data="everything"}]'
"""Arms of the tables that compare these two alone."""

LEARNERS: tuple[Experiment, ...] = (
    Experiment(
        name="fashion_symmetric_40",
        title="Fashion-MNIST, 40 % symmetric noise",
        recipe="noise.toml",
        source="fashion_mnist",
        table=noise_table,
    ),
    Experiment(
        name="fashion_symmetric_20",
        title="Fashion-MNIST, 20 % symmetric noise",
        recipe="noise.toml",
        source="fashion_mnist",
        overrides=("noise.rate=0.2", PLAIN_AND_ELR),
        table=noise_table,
    ),
    Experiment(
        name="fashion_symmetric_60",
        title="Fashion-MNIST, 60 % symmetric noise",
        recipe="noise.toml",
        source="fashion_mnist",
        overrides=("noise.rate=0.6", PLAIN_AND_ELR),
        table=noise_table,
    ),
    Experiment(
        name="fashion_attacked",
        title="Fashion-MNIST under attack, linf 0.1",
        recipe="adversarial.toml",
        source="fashion_mnist",
        table=adversarial_table,
    ),
    Experiment(
        name="letter_attacked",
        title="A table under attack: letters, a quarter of each deviation",
        recipe="adversarial_table.toml",
        source="letter",
        table=adversarial_table,
    ),
    Experiment(
        name="fashion_targets",
        title="Clean Fashion-MNIST: targets",
        recipe="targets.toml",
        source="fashion_mnist",
        table=targets_table,
    ),
    Experiment(
        name="ag_news_targets",
        title="Clean AG News: targets",
        recipe="targets_text.toml",
        source="ag_news",
        table=targets_table,
    ),
    Experiment(
        name="cifar10n",
        title="CIFAR-10N, worst labels",
        recipe="cifar10n.toml",
        source="cifar10n",
        table=noise_table,
    ),
    Experiment(
        name="cifar10n_one_seed",
        title="CIFAR-10N, worst labels: two networks, one seed",
        recipe="cifar10n.toml",
        source="cifar10n",
        overrides=(
            "seeds=1",
            'arms=[{learner="erm", data="everything"}, {learner="co_teaching", data="everything"}, '
            '{learner="elr_plus", data="everything"}]',
        ),
        table=noise_table,
    ),
    Experiment(
        name="fashion_single_step",
        title="Fashion-MNIST under attack, linf 0.3: single-step training",
        recipe="single_step.toml",
        source="fashion_mnist",
        table=single_step_table,
    ),
    Experiment(
        name="fashion_asymmetric_40",
        title="Fashion-MNIST, 40 % asymmetric noise",
        recipe="noise.toml",
        source="fashion_mnist",
        overrides=(
            LIKE_CLASSES,
            "learners.elr.lam=1.0",
            "learners.elr.beta=0.9",
            "learners.elr_plus.lam=1.0",
            "learners.elr_plus.beta=0.9",
            "learners.co_teaching.forget_rate=0.2",
        ),
        table=noise_table,
    ),
)
"""In the order in which they run."""

GPU: tuple[Experiment, ...] = (
    Experiment(
        name="cifar10n_gpu",
        title="CIFAR-10N, worst labels, PreAct-ResNet-18 in bfloat16",
        recipe="cifar10n_gpu.toml",
        source="cifar10n",
        table=throughput_table,
    ),
)
"""What takes hours without a GPU."""
