"""`make bench`: run every benchmark of this folder in turn, each as a process of its own."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Run the benchmarks, whose files lie in subfolders named for the packages they measure."""
    for package in ("storage", "curation", "learners", "flows"):
        for path in sorted((HERE / package).glob("*.py")):
            print(f"== {path.relative_to(HERE.parent)}", flush=True)
            subprocess.run([sys.executable, str(path)], check=True, cwd=HERE.parent)


if __name__ == "__main__":
    main()
