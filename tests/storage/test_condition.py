import pytest

from storage.condition import check_columns, parse_condition
from storage.errors import QueryError


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("el2n < 0.9 AND language = 'en'", {"el2n", "language"}),
        ("EL2N < 0.9 -- hard ones", {"el2n"}),
        ("label IN ('a', 'b') OR el2n BETWEEN 0 AND 1", {"label", "el2n"}),
        ("CASE WHEN el2n < 1 THEN NOT doubt_flagged ELSE false END", {"el2n", "doubt_flagged"}),
        ("length(remark) > 3 AND remark ~ 'a.*' AND remark IS NOT NULL", {"remark"}),
        ("try_cast(remark AS INTEGER) > 1", {"remark"}),
        ('coalesce("el 2n", 0)::DOUBLE < 1', {"el 2n"}),
    ],
)
def test_an_expression_tells_its_columns(text, columns):
    assert parse_condition(text).columns == columns


ONE = "it must be one expression over one example, such as"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a < 1) AS x, (b < 1", ONE),
        ("a < 1) FROM (SELECT 2 AS a", ONE),
        ("a < 1) UNION SELECT (true", ONE),
        ("a < 1) ORDER BY (1", ONE),
        ("a < 1) USING SAMPLE (1", ONE),
        ("a < 1) FROM read_csv('/etc/passwd') WHERE (true", ONE),
        ("a < 1; COPY (SELECT 1) TO 'x.csv'", 'syntax error at or near ";" (character 6)'),
        ("a < 1) /* ", "unterminated /* comment"),
        ("a < (SELECT max(a) FROM scored.other)", "subquery is not available here"),
        ("a < max(a) OVER ()", "window is not available here"),
        ("a < avg(a)", "the function 'avg' is not one of single values"),
        ("COLUMNS(*) > 1", "star is not available here"),
        ("a < $1", "parameter is not available here"),
        ("list_filter([1], z -> z < a) = [1]", "lambda is not available here"),
        ("a < random()", "the answer of 'random' changes from time to time"),
        ("seen < now()", "the answer of 'now' changes from time to time"),
        ("scored.digits.a < 1", "scored.digits.a has too many parts"),
        ("clean_label = label", "clean_label is the truth, which only reports may read"),
        ("true", "it reads no column"),
        ("", "it reads no column"),
        ("a <", 'syntax error at or near ")" (at its end)'),
    ],
)
def test_what_is_not_one_expression_over_one_example_is_refused_in_one_sentence(text, message):
    with pytest.raises(QueryError) as caught:
        parse_condition(text)
    told = str(caught.value)
    assert told.startswith(f"the condition {text.strip()!r} cannot be used: {message}")
    assert "\n" not in told


def test_only_columns_of_a_score_are_its_own():
    condition = parse_condition("el2n_se < 1 AND Loss < 2 AND el2n_x < 1")
    assert condition.score_columns("el2n", ("se", "flagged")) == {"el2n_se"}
    assert condition.score_columns("loss", ("se",)) == {"loss"}
    assert condition.score_columns("el", ("se",)) == set()


def test_unknown_columns_are_named_with_the_nearest():
    check_columns(parse_condition("EL2N < 1"), ["el2n"])
    with pytest.raises(QueryError, match=r"there is no column 'el2m' to choose by; .* have \"el2n\""):
        check_columns(parse_condition("el2m < 1"), ["loss", "el2n", "label"])
    with pytest.raises(
        QueryError, match=r"there is no column 'zzz' to choose by; .* have \"el2n\", \"label\", \"loss\""
    ):
        check_columns(parse_condition("zzz < 1"), ["loss", "el2n", "label"])
