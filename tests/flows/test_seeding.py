from flows.seeding import derived_seed


def test_a_seed_depends_on_the_recipe_seed_and_every_name():
    seeds = {derived_seed(0, "noise"), derived_seed(1, "noise"), derived_seed(0, "limit"), derived_seed(0, "noise", 1)}
    assert len(seeds) == 4
    assert derived_seed(0, "training", 2) == derived_seed(0, "training", 2)
    assert all(0 <= seed < 2**32 for seed in seeds)
