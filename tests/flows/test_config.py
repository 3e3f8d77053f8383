import pytest

from flows.config import bundled_recipes, check_beside_metadata, load_recipe
from storage.errors import NotFoundError
from tests.flows.recipes import SMALL, small_recipe


def test_every_bundled_recipe_loads():
    assert bundled_recipes() == ["ag_news", "digits", "fashion_mnist"]
    for name in bundled_recipes():
        assert load_recipe(name).arms


def test_method_settings_stay_with_their_section():
    recipe = load_recipe("digits")
    assert recipe.scorers["el2n"].settings == {"epoch": 6}
    assert recipe.selection.settings == {"score": "elr_noise", "maximum": 0.0}
    assert recipe.learners["plain"].record["train_logits"] == "every"


def test_the_plain_form_of_a_recipe_is_the_recipe():
    from flows.config import parse_recipe

    recipe = small_recipe()
    assert parse_recipe(recipe.to_json()) == recipe


def test_overrides_are_read_as_toml_or_as_text():
    recipe = load_recipe(
        "digits", ["seed=7", "source.location=/data/x.parquet", "training.epochs=5", "scorers.el2n.epoch=2"]
    )
    assert recipe.seed == 7
    assert recipe.source.location == "/data/x.parquet"
    assert recipe.training["epochs"] == 5
    assert recipe.scorers["el2n"].settings["epoch"] == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sed=7", r"unknown key 'sed' in the recipe; did you mean 'seed'\?; known keys are arms, columns"),
        (
            "source.locaton=x",
            r"unknown key 'locaton' in source; did you mean 'location'\?; known keys are format",
        ),
        ("seed='x'", r"seed: Expected 'int', got 'str'"),
        ("seeds=0", r"seeds must be at least 1, got 0"),
        ("contract.action='explode'", r"contract\.action: Invalid enum value 'explode'; choose one of \w+, "),
        ("scorers.el2n.signals='x'", r"scorers\.el2n\.signals names 'x'; the recipe has the learners plain, elr and"),
        ("limit=0", r"limit must be at least 1, got 0"),
        ("selection.maximum=nan", r"selection\.maximum must be a finite number, got nan"),
        ("scorers.split={method='aum', signals='plain'}", r"a score cannot be named 'split'"),
        ("scorers.LOSS={method='loss', signals='plain'}", r"a score cannot be named 'LOSS'"),
        ("scorers.loss_se={method='loss', signals='plain'}", r"'loss' and 'loss_se' would share a column"),
        ("splits={train=0.9, validation=0.1, test=0.0}", r"evaluated on the test split, but splits\.test is 0"),
        ("columns={features=['image'], image_shape=[8, 8]}", r"plain, elr need labels; name the label column"),
        ("splits.train=0.9", r"must add up to 1"),
        ("no equals sign", r"--set needs key\.path=value, got 'no equals sign'"),
        ("seed.inner=1", r"'seed' is not a section"),
    ],
)
def test_a_wrong_key_or_value_is_one_sentence(override, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_recipe("digits", [override])
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there_lists_those_that_are(tmp_path):
    with pytest.raises(NotFoundError, match=r"no recipe named 'digit'; bundled are ag_news, digits, fashion_mnist"):
        load_recipe("digit")
    with pytest.raises(NotFoundError, match=r"no recipe at .*x\.toml; bundled recipes are ag_news, digits"):
        load_recipe(str(tmp_path / "x.toml"))
    (tmp_path / "broken.toml").write_text("name = [")
    with pytest.raises(ValueError, match=r"broken\.toml is not valid TOML"):
        load_recipe(str(tmp_path / "broken.toml"))


def test_an_arm_on_a_subset_needs_a_selection(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(
        'name = "x"\n[source]\nlocation = "sklearn:iris"\n[columns]\nfeatures = ["*"]\nlabel = "label"\n'
        '[model]\nmethod = "mlp"\n[learners.plain]\nmethod = "erm"\n[[arms]]\nlearner = "plain"\ndata = "subset"\n'
    )
    with pytest.raises(ValueError, match=r"'plain on the subset' needs a \[selection\]"):
        load_recipe(str(path))


def test_small_overrides_are_all_used():
    assert len(SMALL) == 6
    assert small_recipe().seeds == 2


@pytest.mark.parametrize("column", ["loss", "Loss", "loss_se", "LOSS_suggested_label", "loss_frozen"])
def test_a_score_cannot_meet_a_metadata_column(column):
    with pytest.raises(
        ValueError, match=rf"the score 'loss' and the data set's metadata column '{column}' would share"
    ):
        check_beside_metadata(("el2n", "loss"), ("author", column))


def test_metadata_of_another_name_stands_beside_scores():
    check_beside_metadata(("el2n", "loss"), ("author", "losses", "loss_of_weight", "se"))


def test_a_recipe_that_is_no_text_is_named_with_the_place(tmp_path):
    (tmp_path / "odd.toml").write_bytes('name = "größe"\n'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"odd\.toml is not UTF-8 text: .* at byte 10; save it as UTF-8"):
        load_recipe(str(tmp_path / "odd.toml"))


def test_a_setting_of_a_named_section_is_refused_by_that_name():
    with pytest.raises(ValueError, match=r"^learners\.elr: folds must be at least 2, got 1"):
        load_recipe("digits", ("learners.elr.folds=1",))
