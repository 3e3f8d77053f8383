import json
import re
import shutil
import subprocess
import sys
from collections import Counter

import pytest

from tests.faults.houses import House, check_moments, check_recovery
from tests.faults.warm import ROOT, one_sentence

SENTENCE = re.compile(
    r"cannot write \S+ of the store \S+: No space left on device; free some space and run the same command again; "
    "what was published before is untouched"
)


def check_failures(warm, house: House, folder, moments) -> None:
    """Every second disk stays full from its moment on, the others have room again at once."""
    failures = check_moments(
        warm, house, folder, moments, lambda moment: {"fail_at": moment, "lasting": moment % 2 == 0}
    )
    for moment, end in failures:
        assert end.get("error") == "DiskError", (moment, house.passed[moment - 1], end)
        assert SENTENCE.fullmatch(end["text"]), end["text"]


def test_a_disk_that_is_full_is_one_sentence_and_harms_nothing(warm, house, tmp_path):
    count = len(house.passed)
    check_failures(warm, house, tmp_path, (2, count // 3, count // 2, count))


@pytest.mark.slow
def test_a_disk_that_is_full_at_any_moment_is_one_sentence_and_harms_nothing(warm, house, tmp_path):
    check_failures(warm, house, tmp_path, range(1, len(house.passed) + 1))


def test_nothing_is_left_over_where_the_writer_lives_to_clear_up(warm, house, tmp_path):
    places = Counter(house.passed)
    moment = house.passed.index("native written") + 1
    assert places["native written"] > 1
    arguments = house.begin(tmp_path / "store")
    assert warm.end("work", fail_at=moment, **arguments)["error"] == "DiskError"
    assert warm.result("state", root=arguments["root"])["findings"] == []


@pytest.mark.parametrize("file_bytes", [300, 1500, 6000])
def test_files_that_may_not_grow_are_one_sentence_whoever_writes_them(warm, houses, tmp_path, file_bytes):
    house = houses["build"]
    arguments = house.begin(tmp_path / "store")
    end = warm.end("work", file_bytes=file_bytes, **arguments)
    assert end["error"] == "DiskError", end.get("trace")
    assert "File too large; raise the limit on the size of files and run the same command again" in end["text"]
    check_recovery(house, warm.result("recover", sweep_first=False, **arguments), end["said"])


def test_a_small_file_system_that_fills_up_again_and_again_ends_with_the_same_hashes(warm, houses, sources, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=400k none {disk}"
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=False).returncode:
        pytest.skip("this platform lets a test mount no file system")
    filled = [sys.executable, "-m", "tests.faults.filled_disk", str(disk), str(sources)]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", *filled],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert len(answer["told"]) >= 3
    assert all(SENTENCE.fullmatch(one) for one in answer["told"]), answer["told"]
    assert answer["versions"] == houses["build"].versions


def test_the_command_line_says_it_in_one_sentence_and_the_same_command_works_later(warm, sources, tmp_path):
    arguments = ["ingest", str(sources / "first.csv"), "--name", "toys", "--label", "label", "--key", "id"]
    arguments += ["--features", "x", "--store", str(tmp_path / "store")]
    end = warm.end("tamis", arguments=arguments, file_bytes=600)
    one_sentence(end, names="File too large; raise the limit on the size of files and run the same command again")
    again = warm.end("tamis", arguments=arguments)
    assert again["result"]["code"] == 0, again
    assert "26 rows read = 24 kept + 2 quarantined" in again["result"]["out"]
    assert warm.result("state", root=str(tmp_path / "store"))["findings"] == []
