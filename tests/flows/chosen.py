"""A pool of twelve rows in the plane whose scores, flags and classes can be read off a drawing."""

from pathlib import Path
from typing import Any

import polars as pl

from flows.config import Recipe, parse_recipe

ROWS = pl.DataFrame(
    {
        "row": [f"r{place:02}" for place in range(12)],
        "x": [0.0, 0.1, 0.2, 0.3, 0.4, 0.25, 5.0, 5.1, 5.2, 5.3, 5.4, 5.25],
        "kind": ["cat"] * 5 + ["dog"] + ["dog"] * 5 + ["cat"],
        "language": ["en", "en", "de", "en", None, "en", "en", "de", "en", "en", "en", "en"],
        "place": ["farm", "town"] * 6,
        "truth": ["cat"] * 6 + ["dog"] * 6,
        "part": ["train"] * 12,
    }
)
"""Two clumps of six on a line; r05 and r11 bear the other clump's label."""


def chosen_recipe(folder: Path, *, selection: dict[str, Any], **further: Any) -> Recipe:
    """Score the rows by the labels of their three nearest, and select."""
    path = folder / "rows.csv"
    if not path.exists():
        ROWS.write_csv(path)
    return parse_recipe(
        {
            "name": "plane",
            "seeds": 1,
            "source": {"location": str(path)},
            "columns": {
                "features": ["x"],
                "label": "kind",
                "key": "row",
                "split": "part",
                "group": "place",
                "clean_label": "truth",
            },
            "signals": {"plane": {"method": "features"}},
            "scorers": {"doubt": {"method": "knn_disagreement", "signals": "plane", "num_neighbors": 3}},
            "selection": {"subset": "chosen", **selection},
            **further,
        }
    )
