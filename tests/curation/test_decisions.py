import numpy as np
import pytest

from curation.decisions import of_condition, select_among
from curation.label_actions import LabelAction
from curation.selectors.class_balanced import ClassBalanced
from curation.selectors.everything import Everything
from curation.selectors.importance_sampling import ImportanceSampling
from curation.selectors.rs2 import RS2
from curation.selectors.top_fraction import TopFraction
from storage.index import ExampleIndex
from storage.values import Scores, Selection, Signals

INDEX = ExampleIndex(f"world:{number}" for number in range(6))
SIGNALS = Signals(index=INDEX, arrays={"label": np.array([0, 0, 0, 1, 1, 1])})
SCORES = {
    "hard": Scores(index=INDEX, values=np.array([6.0, 5, 4, 3, 2, 1]), high_means="hard"),
    "noise": Scores(
        index=INDEX,
        values=np.zeros(6),
        high_means="suspect",
        columns={
            "flagged": np.array([True, True, False, False, False, False]),
            "suggested_label": np.array([1, 1, 0, 1, 1, 1]),
            "confidence": np.array([0.9, 0.6, 0.5, 0.5, 0.5, 0.5]),
        },
    ),
    "votes": Scores(
        index=INDEX,
        values=np.zeros(6),
        high_means="suspect",
        columns={"suggested_label": np.array([1, -1, 0, 1, 1, 0]), "confidence": np.full(6, 0.8)},
    ),
}


def select(selector, *decided) -> Selection:
    return select_among(selector, SIGNALS, SCORES, np.random.default_rng(0), decided)


def act(**settings) -> LabelAction:
    return LabelAction(**{"score": "noise", **settings})


def test_without_decisions_a_selector_is_called_as_ever():
    rule = TopFraction(score="hard", fraction=0.5)
    plain = rule(SIGNALS, SCORES, np.random.default_rng(0))
    assert select(rule).reasons.tolist() == plain.reasons.tolist()


def test_what_fails_a_condition_is_gone_before_the_rule_chooses():
    failed = of_condition(np.array([False, True, True, True, True, False]), "hard <\n 6")
    selection = select(TopFraction(score="hard", fraction=0.5), failed)
    assert selection.weights.tolist() == [0, 1, 1, 0, 0, 0]
    assert selection.reasons.tolist() == [
        "does not fulfil hard < 6",
        "hard among the 50 % highest",
        "hard among the 50 % highest",
        "hard not among the 50 % highest",
        "hard not among the 50 % highest",
        "does not fulfil hard < 6",
    ]


def test_flagged_examples_are_dropped():
    selection = select(Everything(), act(action="drop").decide(SIGNALS, SCORES))
    assert selection.weights.tolist() == [0, 0, 1, 1, 1, 1]
    assert selection.reasons[:3].tolist() == ["flagged by noise", "flagged by noise", "everything"]
    assert selection.labels is None


def test_flagged_examples_weigh_less_than_the_rule_says():
    action = act(action="down_weight", weight=0.25).decide(SIGNALS, SCORES)
    assert select(Everything(), action).weights.tolist() == [0.25, 0.25, 1, 1, 1, 1]
    selection = select(TopFraction(score="hard", fraction=0.5, drop_first=1 / 6), action)
    assert selection.weights.tolist() == [0, 0.25, 1, 1, 0, 0]
    text = "hard among the 50 % highest after the 16.6667 % highest"
    assert selection.reasons[1] == f"flagged by noise, weight times 0.25; {text}"
    assert selection.reasons[0] == "hard among the 16.6667 % highest, dropped first"


def test_a_weight_multiplies_that_of_a_rule_with_weights_of_its_own():
    rule = ImportanceSampling(score="hard", fraction=1.0)
    plain = select(rule)
    weighed = select(rule, act(action="down_weight", weight=0.5).decide(SIGNALS, SCORES))
    np.testing.assert_allclose(weighed.weights, plain.weights * [0.5, 0.5, 1, 1, 1, 1])


def test_sure_suggestions_become_labels_and_unsure_ones_are_dropped():
    selection = select(Everything(), act(action="relabel", confidence=0.7).decide(SIGNALS, SCORES))
    assert selection.labels.tolist() == [1, 0, 0, 1, 1, 1]
    assert selection.weights.tolist() == [1, 0, 1, 1, 1, 1]
    assert selection.reasons[0] == "flagged by noise, relabelled at confidence 0.7 or more; everything"
    assert selection.reasons[1] == "flagged by noise at confidence below 0.7"


def test_unsure_ones_may_keep_their_label():
    action = act(action="relabel", confidence=0.7, unsure="keep")
    selection = select(Everything(), action.decide(SIGNALS, SCORES))
    assert selection.labels.tolist() == [1, 0, 0, 1, 1, 1]
    assert selection.weights.tolist() == [1] * 6
    assert selection.reasons[1] == "flagged by noise at confidence below 0.7, label kept; everything"


def test_the_rule_sees_the_corrected_labels_and_dropped_rows_keep_theirs():
    # With both flagged relabelled, class 0 has one example and class 1 five: equal shares of 4 are 1 and 3.
    action = act(action="relabel", confidence=0.6).decide(SIGNALS, SCORES)
    selection = select(ClassBalanced(score="hard", fraction=2 / 3, keep="low"), action)
    assert selection.weights.tolist() == [0, 0, 1, 1, 1, 1]
    assert selection.labels.tolist() == [0, 0, 0, 1, 1, 1]
    selection = select(ClassBalanced(score="hard", fraction=2 / 3), action)
    assert selection.weights.tolist() == [1, 1, 1, 1, 0, 0]
    assert selection.labels.tolist() == [1, 1, 0, 1, 1, 1]


def test_a_score_without_flags_flags_where_its_suggestion_differs_and_is_none_below_0():
    selection = select(Everything(), act(score="votes", action="drop").decide(SIGNALS, SCORES))
    assert selection.weights.tolist() == [0, 1, 1, 1, 1, 0]


def test_a_condition_and_an_action_give_the_reason_of_the_first_that_drops():
    failed = of_condition(np.array([False, True, True, True, True, False]), "hard < 6")
    selection = select(Everything(), failed, act(action="drop").decide(SIGNALS, SCORES))
    assert selection.weights.tolist() == [0, 0, 1, 1, 1, 0]
    assert selection.reasons[[0, 1, 5]].tolist() == [
        "does not fulfil hard < 6",
        "flagged by noise",
        "does not fulfil hard < 6",
    ]


def test_a_schedule_is_handed_on():
    selection = select(RS2(fraction=0.5), act(action="drop").decide(SIGNALS, SCORES))
    assert selection.schedule.fraction == 0.5
    assert selection.weights.tolist() == [0, 0, 1, 1, 1, 1]


def test_when_nothing_is_left_the_first_reason_is_told():
    with pytest.raises(ValueError, match=r"none of 6 examples is left .* \(such as: does not fulfil hard > 9\)"):
        select(Everything(), of_condition(np.zeros(6, dtype=bool), "hard > 9"))


def test_scores_that_cannot_do_it_are_told_what_they_lack():
    with pytest.raises(ValueError, match="no scores named 'lost'; this run has hard, noise, votes"):
        act(score="lost", action="drop").decide(SIGNALS, SCORES)
    with pytest.raises(ValueError, match="the score 'hard' flags no examples"):
        act(score="hard", action="drop").decide(SIGNALS, SCORES)
    flags = Scores(index=INDEX, values=np.zeros(6), high_means="suspect", columns={"flagged": np.ones(6, dtype=bool)})
    with pytest.raises(ValueError, match="needs the column 'suggested_label' of the score 'noise', which has flagged"):
        act(action="relabel", confidence=0.5).decide(SIGNALS, {"noise": flags})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"action": "delete"}, "action must be one of drop, down_weight, relabel, got 'delete'"),
        ({"action": "down_weight"}, r"weight must be in \(0, 1\) with action = 'down_weight', got None"),
        ({"action": "down_weight", "weight": 1.0}, r"weight must be in \(0, 1\) .* got 1.0"),
        ({"action": "relabel"}, r"confidence must be in \[0, 1\] with action = 'relabel', got None"),
        ({"action": "relabel", "confidence": 1.5}, r"confidence must be in \[0, 1\] .* got 1.5"),
        ({"action": "relabel", "confidence": 0.5, "unsure": "guess"}, "unsure must be one of drop, keep, got 'guess'"),
        ({"action": "drop", "weight": 0.5}, "weight has no effect with action = 'drop'"),
        ({"action": "drop", "confidence": 0.5}, "confidence has no effect with action = 'drop'"),
        (
            {"action": "down_weight", "weight": 0.5, "unsure": "keep"},
            "unsure has no effect with action = 'down_weight'",
        ),
    ],
)
def test_settings_outside_their_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        act(**settings)
