"""One Prefect server for the whole module; everything else about flows is tested without one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.recipes import SMALL, small_recipe


def test_only_one_module_of_flows_imports_prefect():
    import flows

    folder = Path(flows.__file__).parent
    importing = [path.name for path in folder.rglob("*.py") if "prefect import" in path.read_text()]
    assert importing == ["orchestrate.py"]


def test_the_main_job_is_a_prefect_flow_with_a_quiet_terminal(tmp_path):
    command = [sys.executable, "-m", "flows.cli", "run", "digits", "--store", str(tmp_path / "s")]
    for override in (*SMALL, "arms=[]"):
        command += ["--set", override]
    environment = {"PREFECT_HOME": str(tmp_path / "prefect"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=240)
    assert "Wrong labels found by each score" in done.stdout
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith(("[", "starting", "reading")) for line in lines), done.stderr


def recorded(folder: Path) -> None:
    """Run the small recipe as a flow, and check what Prefect's server has of it."""
    from prefect.client.orchestration import get_client
    from prefect.testing.utilities import prefect_test_harness

    from flows.orchestrate import curate_and_train_flow

    with prefect_test_harness(server_startup_timeout=120):
        report = curate_and_train_flow(small_recipe().to_json(), store=str(folder / "s"))
        with get_client(sync_client=True) as client:
            (flow_run,) = client.read_flow_runs()
            tasks = client.read_task_runs(limit=200)
            artifacts = client.read_artifacts()
    assert report.startswith("report-")
    assert flow_run.state_name == "Completed"
    names = {task.name for task in tasks}
    assert "ingest sklearn:digits" in names
    assert "train elr on everything, seed 2 of 2" in names
    assert {artifact.key for artifact in artifacts} == {"digits-comparison", "digits-detection", "digits-summary"}


def test_flow_and_tasks_are_recorded_and_results_are_prefect_artifacts(tmp_path):
    # A process of its own: forks of one that ran a flow end with an error of Prefect's services.
    code = "import sys, pathlib; from tests.flows.test_orchestrate import recorded; recorded(pathlib.Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


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
