from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.rebalancer import Rebalanced, Rebalancer, TrainingRows
from tests.contracts.discovery import build, implementations, modules, public_classes
from tests.curation.imbalanced import assert_on_segments, clouds

pytest.importorskip("imblearn", reason="imbalanced-learn is not installed")

REBALANCERS = implementations("curation.rebalance", Rebalancer)
SETTINGS = {"num_clusters": 2, "cluster_share": 0.05}
CATEGORIES = {"SMOTENC": 3, "SMOTEN": 4}
"""How many categorical columns a method is given here; none where it is not named."""

every_rebalancer = pytest.mark.parametrize("rebalancer", REBALANCERS, ids=lambda rebalancer: rebalancer.__name__)


def rows_for(rebalancer: type[Rebalancer], *, seed: int = 0, **world) -> TrainingRows:
    columns = 0 if rebalancer.__name__ == "SMOTEN" else 3
    return clouds(
        **{"num_categories": CATEGORIES.get(rebalancer.__name__, 0), "columns": columns, "seed": seed, **world}
    )


def taken(rows: TrainingRows, positions) -> TrainingRows:
    return replace(
        rows,
        index=rows.index.take(positions),
        features=rows.features[positions],
        labels=rows.labels[positions],
        categories=None if rows.categories is None else rows.categories[positions],
    )


def by_example(made: Rebalanced) -> tuple:
    """All that was decided, with ids in place of positions."""
    ids = np.array(list(made.index))
    parts = [ids[made.parent_a].tolist(), ids[made.parent_b].tolist(), made.gap.tolist(), made.labels.tolist()]
    parts += [made.features.tolist(), sorted(ids[made.kept])]
    parts += [None if made.categories is None else made.categories.tolist()]
    parts += [None if made.voters is None else ids[made.voters].tolist()]
    return tuple(parts)


def test_the_walk_finds_rebalancers():
    names = {rebalancer.__module__.rpartition(".")[2] for rebalancer in REBALANCERS}
    assert {"random_over", "random_under", "smote", "borderline_smote", "svm_smote", "adasyn"} <= names
    assert {"smote_nc", "smote_n", "kmeans_smote", "smote_enn", "smote_tomek"} <= names


@pytest.mark.parametrize("module", modules("curation.rebalance"), ids=lambda module: module.__name__)
def test_each_file_defines_exactly_one_rebalancer(module):
    assert len(public_classes(module, Rebalancer)) == 1


@every_rebalancer
def test_a_rebalancer_is_a_frozen_dataclass_of_settings(rebalancer):
    assert is_dataclass(rebalancer)
    assert rebalancer.__doc__
    assert isinstance(rebalancer.revision, int)
    instance = build(rebalancer, **SETTINGS)
    for field in fields(rebalancer):
        assert field.kw_only
        with pytest.raises(FrozenInstanceError):
            setattr(instance, field.name, None)
    assert replace(instance) == instance


@every_rebalancer
@pytest.mark.parametrize("world", [{}, {"counts": (60, 25, 30)}, {"twins": 8}], ids=["two", "three", "twins"])
def test_every_synthetic_row_names_parents_of_its_class_and_lies_where_the_gap_says(rebalancer, world):
    rows = rows_for(rebalancer, **world)
    made = build(rebalancer, **SETTINGS)(rows, np.random.default_rng(0))
    assert made.index == rows.index
    assert made.features.dtype == rows.features.dtype
    assert made.features.shape == (len(made), rows.features.shape[1])
    assert (made.gap > -1).all()
    assert (made.gap < 1).all()
    assert_on_segments(rows, made)
    for parents in (made.parent_a, made.parent_b, *([] if made.voters is None else [made.voters])):
        assert parents.min(initial=0) >= 0
        assert parents.max(initial=0) < len(rows)
    if made.voters is not None:
        np.testing.assert_array_equal(
            rows.labels[made.voters], np.broadcast_to(made.labels[:, None], made.voters.shape)
        )


@every_rebalancer
@pytest.mark.parametrize("seed", range(3))
def test_permuting_rows_with_their_ids_changes_nothing_for_any_of_them(rebalancer, seed):
    rows = rows_for(rebalancer, counts=(50, 20, 25), twins=4)
    instance = build(rebalancer, **SETTINGS)
    positions = np.random.default_rng(seed).permutation(len(rows))
    moved = instance(taken(rows, positions), np.random.default_rng(3))
    assert by_example(moved) == by_example(instance(rows, np.random.default_rng(3)))


@every_rebalancer
def test_the_generator_is_the_only_source_of_chance(rebalancer):
    rows, instance = rows_for(rebalancer), build(rebalancer, **SETTINGS)
    np.random.seed(1)  # noqa: NPY002
    first = instance(rows, np.random.default_rng(5))
    np.random.seed(2)  # noqa: NPY002
    assert by_example(first) == by_example(instance(rows, np.random.default_rng(5)))
    assert by_example(first) != by_example(instance(rows, np.random.default_rng(6)))


@every_rebalancer
def test_rows_are_left_untouched(rebalancer):
    rows = rows_for(rebalancer)
    arrays = {name: getattr(rows, name) for name in ("features", "labels", "categories")}
    before = {name: None if array is None else array.copy() for name, array in arrays.items()}
    build(rebalancer, **SETTINGS)(rows, np.random.default_rng(0))
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(rows, name), array)


@every_rebalancer
@settings(max_examples=10, deadline=None)
@given(large=st.integers(40, 70), small=st.integers(12, 30), seed=st.integers(0, 99))
def test_only_the_class_that_is_too_small_changes_and_no_further_than_to_the_other(rebalancer, large, small, seed):
    rows = rows_for(rebalancer, counts=(large, small), seed=seed, apart=0.2)
    made = build(rebalancer, **{**SETTINGS, "num_clusters": 1})(rows, np.random.default_rng(seed))
    after = np.bincount(np.concatenate([rows.labels[made.kept], made.labels]), minlength=2)
    if rebalancer.__name__ == "RandomUnder":
        assert after.tolist() == [small, small]
    elif rebalancer.__name__ in ("SMOTEENN", "SMOTETomek"):
        assert after.max() <= large
    elif rebalancer.__name__ in ("ADASYN", "SVMSMOTE"):
        # Shares are rounded, and a kind of support vectors may be missing.
        assert after[0] == large
        assert small <= after[1] <= large + small
    else:
        assert after.tolist() == [large, large]


@every_rebalancer
@pytest.mark.parametrize(
    ("balance", "message"),
    [
        ("even", "balance must be 'auto', a number in .0, 1. or a table of counts, got 'even'"),
        (0.0, r"balance must be in \(0, 1\] as a number, got 0.0"),
        (1.5, r"balance must be in \(0, 1\] as a number, got 1.5"),
        ({"a": -1}, "counts of at least 0, got -1 for class 'a'"),
    ],
)
def test_a_balance_that_makes_no_sense_is_refused(rebalancer, balance, message):
    with pytest.raises(ValueError, match=message):
        build(rebalancer, balance=balance)


@every_rebalancer
def test_one_class_alone_cannot_be_rebalanced(rebalancer):
    rows = rows_for(rebalancer)
    with pytest.raises(ValueError, match="needs at least two classes with examples, got 1"):
        build(rebalancer)(taken(rows, np.flatnonzero(rows.labels == 0)), np.random.default_rng(0))


@pytest.mark.parametrize(
    "rebalancer", [one for one in REBALANCERS if "num_neighbors" in {field.name for field in fields(one)}]
)
def test_a_class_with_too_few_rows_is_named_with_its_count_and_a_remedy(rebalancer):
    rows = rows_for(rebalancer, counts=(40, 4))
    instance = build(rebalancer, num_neighbors=5)
    if rebalancer.__name__ == "KMeansSMOTE":
        message = "no cluster holds at least 6 examples of class 'b'"
    else:
        message = r"class 'b' has 4 examples, but .* needs at least 6; set num_neighbors to 3 or use random_over"
    with pytest.raises(ValueError, match=message):
        instance(rows, np.random.default_rng(0))
    with pytest.raises(ValueError, match="num_neighbors must be at least 1, got 0"):
        build(rebalancer, num_neighbors=0)
