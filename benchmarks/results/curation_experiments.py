"""The experiments of the curation tables: on which data set, with which wrong labels, and what differs in a recipe."""

from dataclasses import replace

from benchmarks.results.experiments import LIKE_CLASSES
from benchmarks.results.noise_found import NoiseExperiment
from benchmarks.results.noise_second_round import FreshSets, SecondChoice
from benchmarks.results.noise_summary import BesideCleanlab, DefaultChoice
from benchmarks.results.pruning import PruningExperiment
from benchmarks.results.sections import Section

ALL_TRAINING = "splits={train=1.0, validation=0.0, test=0.0}"
"""Nothing is evaluated, so that every row has scores."""

DIGITS_COLUMNS = 'columns={features=["image"], label="label", image_shape=[8, 8]}'

LETTER_COLUMNS = (
    'columns={features=["x_box", "y_box", "width", "high", "onpix", "x_bar", "y_bar", "x2bar", "y2bar", "xybar", '
    '"x2ybr", "xy2br", "x_ege", "xegvy", "y_ege", "yegvx"], label="label", key="id"}'
)

SATIMAGE_COLUMNS = f'columns={{features={[f"x_{place}" for place in range(1, 37)]}, label="label", key="id"}}'
SPAM_COLUMNS = f'columns={{features={[f"x_{place}" for place in range(1, 58)]}, label="label", key="id"}}'

CIFAR10N_COLUMNS = (
    'columns={features=["image"], label="label", clean_label="clean_label", key="id", split="split", '
    "image_shape=[32, 32, 3]}"
)

NOISY_TEXT = (
    'columns={features=["text"], text=["text"], label="label", clean_label="clean_label", key="id"}',
    ALL_TRAINING,
)

HASHED_WORDS = (
    'embedding={method="hashed_ngrams", column="text", sizes=[1], num_dimensions=4096, num_signs=1}',
    'model={method="embedding_head", widths=[256]}',
    "training.optimizer=adamw",
    "training.learning_rate=0.001",
    "training.weight_decay=0.01",
)
"""What text is to a model: counts of words in hashed buckets, one hidden layer."""

TABLE = 'model={method="mlp", widths=[256, 128]}'
"""The net for columns of numbers."""

DEVELOPMENT: tuple[NoiseExperiment, ...] = (
    NoiseExperiment(
        name="found_digits",
        title="Digits, 40 % symmetric",
        source=None,
        overrides=(
            DIGITS_COLUMNS,
            ALL_TRAINING,
            'noise={method="symmetric", rate=0.4}',
            "model.hidden=128",
            "training.batch_size=32",
        ),
    ),
    NoiseExperiment(
        name="found_fashion_symmetric",
        title="Fashion-MNIST, 40 % symmetric",
        source="fashion_mnist",
        overrides=("limit=20000", 'noise={method="symmetric", rate=0.4}'),
    ),
    NoiseExperiment(
        name="found_fashion_asymmetric",
        title="Fashion-MNIST, 40 % asymmetric",
        source="fashion_mnist",
        overrides=("limit=20000", LIKE_CLASSES),
    ),
)
"""The sets on which the default is chosen."""

NOISE: tuple[NoiseExperiment, ...] = tuple(
    replace(one, development=DEVELOPMENT)
    for one in (
        *DEVELOPMENT,
        NoiseExperiment(
            name="found_cifar10n",
            title="CIFAR-10N, worst labels",
            source="cifar10n",
            overrides=("limit=20000", CIFAR10N_COLUMNS, 'training.augment=["flip"]'),
        ),
        NoiseExperiment(
            name="found_ag_news",
            title="NoisyAG-News",
            source="noisy_ag_news",
            overrides=(*NOISY_TEXT, *HASHED_WORDS, "training.batch_size=64"),
        ),
        NoiseExperiment(
            name="found_yoruba",
            title="Noisy Yorùbá news",
            source="noisy_yoruba",
            overrides=(*NOISY_TEXT, *HASHED_WORDS, "training.batch_size=32"),
        ),
        NoiseExperiment(
            name="found_letter",
            title="Letters, 20 % symmetric",
            source="letter",
            overrides=(
                LETTER_COLUMNS,
                ALL_TRAINING,
                'noise={method="symmetric", rate=0.2}',
                TABLE,
            ),
        ),
    )
)
"""In the order in which they run."""

FRESH: tuple[NoiseExperiment, ...] = (
    NoiseExperiment(
        name="fresh_cifar10n",
        title="CIFAR-10N, first person",
        source="cifar10n_first",
        overrides=("limit=10000", CIFAR10N_COLUMNS, 'training.augment=["flip"]'),
    ),
    NoiseExperiment(
        name="fresh_ag_news",
        title="AG News, 30 % of business and science exchanged",
        source="ag_news",
        overrides=(
            'columns={features=["text"], text=["text"], label="label", key="id", split="split"}',
            'noise={method="asymmetric", rate=0.3, pairs=[[2,3],[3,2]]}',
            *HASHED_WORDS,
            "training.batch_size=64",
        ),
    ),
    NoiseExperiment(
        name="fresh_imdb",
        title="IMDB, 20 % symmetric",
        source="imdb",
        overrides=(
            "limit=10000",
            'columns={features=["text"], text=["text"], label="label", key="id"}',
            ALL_TRAINING,
            'noise={method="symmetric", rate=0.2}',
            *HASHED_WORDS,
            "training.batch_size=64",
        ),
    ),
    NoiseExperiment(
        name="fresh_satimage",
        title="Satimage, 20 % symmetric",
        source="satimage",
        overrides=(SATIMAGE_COLUMNS, ALL_TRAINING, 'noise={method="symmetric", rate=0.2}', TABLE),
    ),
    NoiseExperiment(
        name="fresh_spam",
        title="Spam, 20 % symmetric",
        source="spam",
        overrides=(SPAM_COLUMNS, ALL_TRAINING, 'noise={method="symmetric", rate=0.2}', TABLE),
    ),
)
"""Sets with noise that no choice has seen."""

PRUNING: tuple[PruningExperiment, ...] = (
    PruningExperiment(
        name="pruning_fashion",
        title="Fashion-MNIST: training on a part",
        source="fashion_mnist",
        num_classes=10,
        overrides=("limit=20000",),
    ),
    PruningExperiment(
        name="pruning_ag_news",
        title="AG News: training on a part",
        source="ag_news",
        num_classes=4,
        overrides=(
            'columns={features=["text"], text=["text"], label="label", key="id", split="split"}',
            *HASHED_WORDS,
        ),
    ),
)

CURATION: tuple[Section, ...] = (
    DefaultChoice(name="found_default", title="Which score is the default", sets=DEVELOPMENT),
    *NOISE,
    BesideCleanlab(name="found_beside_cleanlab", title="The default beside cleanlab", sets=NOISE),
    SecondChoice(name="found_second_round", title="A second choice, on all of these sets", sets=NOISE),
    FreshSets(name="found_fresh", title="Sets that no choice has seen", sets=FRESH, opened=NOISE, first=("elr_noise",)),
    *PRUNING,
)
