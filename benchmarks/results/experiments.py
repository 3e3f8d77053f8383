"""The experiments of the learners' table: which recipe, with what changed, on which data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results.arms import finished_arms
from benchmarks.results.inputs import source
from benchmarks.results.tables import (
    Row,
    Table,
    adversarial_table,
    noise_table,
    single_step_table,
    targets_table,
    throughput_table,
)
from flows.config import Recipe, load_recipe
from storage.store import Store

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
    target: str = "learners"
    """The tables that it is one of, as `python -m benchmarks.results` takes them."""

    def recipes(self, data: Path, folder: Path) -> list[Recipe]:
        """The recipe with its source in place."""
        place = located(data, folder, self.source, self.name)
        return [load_recipe(str(RECIPES / self.recipe), (*place, *self.overrides))]

    def waits_for(self, module: str) -> bool:
        """Trainings and evaluations; models are not published."""
        return module in ("train_learner", "evaluate_learner")

    def shows(self, module: str) -> bool:
        """Whether the table may have another row once a step of this module has ended."""
        return module == "evaluate_learner"

    def rows(self, store: Store, recipes: Sequence[Recipe]) -> list[Row]:
        """A row a finished arm, once the first arm, which the others are compared with, is finished."""
        arms = finished_arms(store, recipes[0])
        return self.table(arms) if arms and arms[0].config == recipes[0].arms[0] else []

    def note(self, store: Store, recipes: Sequence[Recipe]) -> str:
        """Nothing."""
        return ""


def located(data: Path, folder: Path, name: str | None, dataset: str) -> tuple[str, str]:
    """Changes to a recipe that put its source in place and name its data set.

    Args:
        data: has the data sets' files.
        folder: where made files are kept.
        name: one of `inputs.MAKERS`; None for scikit-learn's digits.
        dataset: name in the store.
    """
    location = "sklearn:digits" if name is None else source(data, folder, name)
    return f"source.location={location}", f"name={dataset}"


LIKE_CLASSES = 'noise={method="asymmetric", rate=0.4, pairs=[[9,7],[7,5],[2,6],[3,4],[4,3]]}'
"""Boots become sneakers, sneakers sandals, pullovers shirts, and dresses and coats each other."""

PLAIN_AND_ELR = 'arms=[{learner="erm", data="everything"}, {learner="elr", data="everything"}]'
"""Arms of the tables that compare these two alone."""

SMALLER = ("model.width=12", "model.hidden=128")
"""Half the net of the first table, so that all tables are made within 90 minutes on two cores."""

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
        overrides=(*SMALLER, "noise.rate=0.2", PLAIN_AND_ELR),
        table=noise_table,
    ),
    Experiment(
        name="fashion_symmetric_60",
        title="Fashion-MNIST, 60 % symmetric noise",
        recipe="noise.toml",
        source="fashion_mnist",
        overrides=(*SMALLER, "noise.rate=0.6", PLAIN_AND_ELR),
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
            "name=cifar10n",
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
            *SMALLER,
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
        target="gpu",
    ),
)
"""What takes hours without a GPU."""

DRO_IRAT_TRIED = {"dro_irat_2": "r=2.0", "dro_irat_4": "r=4.0"}
"""Other settings of DRO-IRAT, by what the table calls them."""

SAME_ATTACK = "attack={epsilon=0.1, step_size=0.025, num_steps=7}"

TRIED: tuple[Experiment, ...] = (
    Experiment(
        name="fashion_attacked_tried",
        title="Fashion-MNIST under attack: other settings of DRO-IRAT",
        recipe="adversarial.toml",
        source="fashion_mnist",
        overrides=(
            "name=fashion_attacked",
            *(
                f'learners.{name}={{method="dro_irat", {settings}, {SAME_ATTACK}}}'
                for name, settings in DRO_IRAT_TRIED.items()
            ),
            'arms=[{learner="pgd_training", data="everything"}, '
            + ", ".join(f'{{learner="{name}", data="everything"}}' for name in DRO_IRAT_TRIED)
            + "]",
        ),
        table=adversarial_table,
        target="tried",
    ),
)
"""What was tried where a claim was not reproduced."""
