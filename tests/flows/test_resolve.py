import pytest

from curation.scorers.el2n import EL2N
from flows import resolve
from learners.methods.elr import ELR


def test_a_name_leads_to_the_one_class_of_its_file():
    assert resolve.method_class("scorer", "el2n") is EL2N
    assert resolve.method("learner", {"method": "elr", "beta": 0.9}, "learners.x") == ELR(beta=0.9)


def test_every_method_that_is_listed_resolves():
    for kind in resolve.KINDS:
        for name in resolve.available(kind):
            assert isinstance(resolve.method_class(kind, name), type)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("scorer", {"method": "el3n"}, r"there is no scorer 'el3n'; there are .*aum, .*el2n, elr_noise"),
        ("learner", {"method": "x"}, r"there is no learner 'x'; there are .*elr, .*erm"),
        ("selector", {}, r"s\.method is missing; selectors are .*everything, .*random"),
        (
            "learner",
            {"method": "elr", "bta": 1},
            r"unknown key 'bta' in s; did you mean 'beta'\?; known keys are beta, lam",
        ),
        ("learner", {"method": "elr", "beta": 1.5}, r"s: beta must be in \[0, 1\), got 1\.5"),
        ("learner", {"method": "elr", "beta": "x"}, r"s\.beta: Expected 'float', got 'str'"),
        (
            "selector",
            {"method": "borda", "fraction": 0.5, "prefer_high": ["x"], "quotas": {"over": ["label"], "cieling": 1.2}},
            r"unknown key 'cieling' in s\.quotas; did you mean 'ceiling'",
        ),
        (
            "selector",
            {
                "method": "borda",
                "fraction": 0.5,
                "prefer_high": ["x"],
                "quotas": [{"over": ["label"], "floor": 0.5}, {"over": ["group"], "cieling": 1.2}],
            },
            r"unknown key 'cieling' in s\.quotas\[1\]; did you mean 'ceiling'",
        ),
        ("selector", {"method": "random"}, r"s: Object missing required field 'fraction'"),
        ("scorer", {"method": "../el2n"}, r"there is no scorer '\.\./el2n'"),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        resolve.method(kind, settings, "s")


def test_described_settings_write_out_every_default():
    assert resolve.described("learner", {"method": "elr", "beta": 0.9}, "x") == (
        {"method": "elr", "beta": 0.9, "lam": 3.0},
        ELR.revision,
    )


def test_noise_is_resolved_by_the_name_of_its_class():
    assert resolve.noise({"method": "symmetric", "rate": 0.2}, "noise").rate == 0.2
    assert resolve.noise({"method": "asymmetric", "rate": 0.2, "pairs": [[0, 1]]}, "noise").pairs == ((0, 1),)
    with pytest.raises(ValueError, match="there is no noise 'x'; there are asymmetric, symmetric, transition_matrix"):
        resolve.noise({"method": "x"}, "noise")
