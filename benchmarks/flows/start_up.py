"""How long `tamis --help` takes, as a process of its own.

Run: python benchmarks/flows/start_up.py [--runs 20]
"""

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {"tamis --help": ["-m", "flows.cli", "--help"], "python -c pass": ["-c", "pass"]}


def seconds(arguments: list[str]) -> float:
    """Wall time of one interpreter with these arguments."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print minimum, median and maximum of each command, run in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(runs + 1):
        for name, arguments in COMMANDS.items():
            taken = seconds(arguments)
            if number:
                times[name].append(taken)
    for name, taken_all in times.items():
        print(
            f"{name}: min {min(taken_all):.3f} s, median {statistics.median(taken_all):.3f} s, "
            f"max {max(taken_all):.3f} s over {runs} runs"
        )


if __name__ == "__main__":
    main()
