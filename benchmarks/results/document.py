"""The document of results: tables in marked sections, between which prose is written by hand."""

import re
from collections.abc import Sequence

from flows.config import Recipe


def with_section(text: str, name: str, title: str, rows: Sequence[dict[str, str]], recipe: Recipe) -> str:
    """The document with a section's table replaced, or added at the end.

    Args:
        text: the document.
        name: of the section.
        title: heading of a section that is added.
        rows: of the table, at least one.
        recipe: what was run.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{begin}\n\n{markdown(rows)}\n\n{command(name, recipe)}\n\n{end}"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: section, text)
    return f"{text.rstrip()}\n\n### {title}\n\n{section}\n"


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """Rows as a Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def command(name: str, recipe: Recipe) -> str:
    """What to run for this table, and with which seeds."""
    seeds = "seed 0" if recipe.seeds == 1 else f"seeds 0 to {recipe.seeds - 1}"
    run = (
        f"python -m benchmarks.results gpu --only {name}"
        if name.endswith("_gpu")
        else f"make results-learners ONLY={name}"
    )
    return f"`{run}`; {seeds}, derived from `seed = {recipe.seed}`."
