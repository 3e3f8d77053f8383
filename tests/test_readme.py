import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.recipes import SMALL

README = Path(__file__).parent.parent / "README.md"
TOUR = README.read_text(encoding="utf-8").split("## A five-minute tour")[1].split("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TOUR, flags=re.DOTALL)


@pytest.fixture
def place(tmp_path) -> tuple[Path, dict[str, str]]:
    """A directory to work in, and an environment in which `tamis` is on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TAMIS_", "PREFECT_"))}
    return tmp_path, {**kept, "PATH": path, "PREFECT_HOME": str(tmp_path / "prefect"), "COLUMNS": "120"}


def shortened(command: str) -> str:
    """A command of the tour, its training of a few epochs and without Prefect."""
    if not command.startswith("tamis run "):
        return command
    overrides = [one for one in SMALL if " --set seeds=" not in command or not one.startswith("seeds=")]
    return shlex.join(["tamis", "run", "--no-prefect", *(part for one in overrides for part in ("--set", one))]) + (
        command.removeprefix("tamis run")
    )


@pytest.mark.parametrize("said", [shortened, pytest.param(str, marks=pytest.mark.slow)], ids=["shortened", "in full"])
def test_the_tour_works_from_its_first_command_to_its_last(place, said):
    folder, environment = place
    commands = [line.removeprefix("$ ") for block in blocks("console") for line in block.strip().splitlines()]
    assert len(commands) >= 10
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", said(command)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    assert (folder / "suspects.csv").read_text().startswith("example_id,label,suggested,elr_noise")
    assert (
        "digits-easy"
        in subprocess.run(
            ["tamis", "show"], cwd=folder, env=environment, capture_output=True, text=True, check=True
        ).stdout
    )
    for script in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "examples kept" in done.stdout


def test_every_method_stands_in_the_table_of_methods():
    from flows import resolve

    text = README.read_text(encoding="utf-8")
    for kind in ("learner", "scorer", "selector"):
        for name in resolve.available(kind):
            assert re.search(rf"\| {kind} \| [^|]*`{name}`[^|]* \|", text), f"the README's table lacks {kind} {name}"


def test_help_and_readme_name_the_same_commands():
    from flows.cli import tamis

    used = set(re.findall(r"^\$ tamis (\w+)", TOUR, flags=re.MULTILINE)) | {"serve", "methods"}
    assert {"run", "sql", "show", "train", "ingest"} <= used
    assert used <= set(tamis.commands)
