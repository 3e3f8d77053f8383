"""Importance weights of DSIR by its authors' package; `data-selection` is no dependency."""

import importlib.util
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VERSION = "1.0.3"
"""What `make results-curation` installs."""


def is_installed() -> bool:
    """Whether the package can be asked."""
    return importlib.util.find_spec("data_selection") is not None


def package_weights(documents: Sequence[str], targets: Sequence[str]) -> NDArray[np.float64]:
    """(N,) log importance weight of each document, by the package's defaults, but short documents have one too."""
    from data_selection import HashedNgramDSIR

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("documents.jsonl", "targets.jsonl")]
        for path, texts in zip(paths, (documents, targets), strict=True):
            path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        selection = HashedNgramDSIR(
            [str(paths[0])],
            [str(paths[1])],
            cache_dir=str(Path(folder) / "cache"),
            num_proc=1,
            min_example_length=0,
        )
        selection.fit_importance_estimator(num_tokens_to_fit="all")
        selection.compute_importance_weights()
        # One process, so that there is one file, in the order of the documents.
        (found,) = (Path(folder) / "cache" / "log_importance_weights").glob("*.npy")
        return np.load(found).astype(np.float64)
