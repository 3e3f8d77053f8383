"""One Prefect server for the whole module; everything else about flows is tested without one."""

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.flows.recipes import SMALL


def test_only_one_module_of_flows_imports_prefect():
    import flows

    folder = Path(flows.__file__).parent
    importing = [path.name for path in folder.rglob("*.py") if "prefect import" in path.read_text()]
    assert importing == ["orchestrate.py"]


def run_and_note(folder: Path) -> None:
    """Run the small recipe from the command line, and write down what Prefect's server has of it."""
    from flows import cli

    arguments = ["run", "digits", "--store", str(folder / "s")]
    for override in SMALL:
        arguments += ["--set", override]
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    fork = multiprocessing.get_context("fork").Process(target=print)
    fork.start()
    fork.join()
    # Prefect reads its settings at import: flows/orchestrate.py must come first.
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        noted = {
            "code": stop.value.code or 0,
            "code_of_fork": fork.exitcode,
            "flow_runs": [one.state_name for one in client.read_flow_runs()],
            "task_runs": [one.name for one in client.read_task_runs(limit=200)],
            "artifacts": sorted(one.key for one in client.read_artifacts()),
        }
    (folder / "noted.json").write_text(json.dumps(noted))


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """A process that ran the main job, and what it wrote down."""
    folder = tmp_path_factory.mktemp("prefect")
    code = (
        "import sys, pathlib; from tests.flows.test_orchestrate import run_and_note as r; r(pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={"PREFECT_HOME": str(folder / "prefect"), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done, json.loads((folder / "noted.json").read_text())


def test_the_main_job_has_a_quiet_terminal(ran):
    done, noted = ran
    assert noted["code"] == 0
    assert "Wrong labels found by each score" in done.stdout
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith(("[", "starting", "reading")) for line in lines), done.stderr


def test_flow_and_tasks_are_recorded_and_results_are_prefect_artifacts(ran):
    _, noted = ran
    assert noted["flow_runs"] == ["Completed"]
    assert {"ingest sklearn:digits", "train elr on everything, seed 2 of 2"} <= set(noted["task_runs"])
    assert set(noted["artifacts"]) == {"digits-comparison", "digits-detection", "digits-summary"}


def test_a_fork_of_a_process_that_ran_a_flow_ends_as_it_should(ran):
    assert ran[1]["code_of_fork"] == 0


@pytest.mark.slow
def test_a_served_recipe_runs_on_its_interval_and_keeps_its_schedule(tmp_path):
    import signal
    import time

    command = [sys.executable, "-m", "flows.cli", "serve", "digits", "--interval", "20", "--store", str(tmp_path / "s")]
    for override in (*SMALL, "arms=[]"):
        command += ["--set", override]
    environment = {"PREFECT_HOME": str(tmp_path / "prefect"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not list((tmp_path / "s" / "runs").glob("*.json")):
        time.sleep(1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert list((tmp_path / "s" / "runs").glob("*.json")), output
    assert (tmp_path / "s" / "versions" / "subset" / "digits-clean").is_dir()


def test_a_schedule_that_is_none_is_one_sentence(tmp_path):
    from flows.orchestrate import serve_recipe

    with pytest.raises(ValueError, match="--cron 'bad' is no schedule; write minute, hour, day"):
        serve_recipe("digits", str(tmp_path), (), name="digits", cron="bad", interval=None)
