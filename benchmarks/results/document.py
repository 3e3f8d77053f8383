"""The document of results: tables in marked sections, between which prose is written by hand."""

import re
from collections.abc import Sequence

from flows.config import Recipe


def with_section(
    text: str,
    name: str,
    title: str,
    rows: Sequence[dict[str, str]],
    recipe: Recipe,
    *,
    target: str = "learners",
    note: str = "",
) -> str:
    """The document with a section's table replaced, or added at the end.

    Args:
        text: the document.
        name: of the section.
        title: heading of a section that is added.
        rows: of the table, at least one.
        recipe: what was run.
        target: the tables that it is one of, as `python -m benchmarks.results` takes them.
        note: a sentence under the table; empty for none.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    parts = [begin, markdown(rows), *([note] if note else []), command(name, recipe, target), end]
    section = "\n\n".join(parts)
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: section, text)
    return f"{text.rstrip()}\n\n### {title}\n\n{section}\n"


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """Rows as a Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def command(name: str, recipe: Recipe, target: str = "learners") -> str:
    """What to run for this table, and with which seeds."""
    seeds = "seed 0" if recipe.seeds == 1 else f"seeds 0 to {recipe.seeds - 1}"
    made = target in ("learners", "curation")
    run = f"make results-{target} ONLY={name}" if made else f"python -m benchmarks.results {target} --only {name}"
    return f"`{run}`; {seeds}, derived from `seed = {recipe.seed}`."
