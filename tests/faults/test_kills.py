import math
import random
import shutil

import pytest

from tests.faults.houses import CHAINS, House, check_moments, check_recovery, check_whole


def check_kills(warm, house: House, folder, moments) -> None:
    for moment, end in check_moments(warm, house, folder, moments, lambda moment: {"kill_at": moment}):
        assert end["killed"], (moment, end)


def test_every_moment_is_counted_the_same_way_each_time(warm, house, tmp_path):
    passed = warm.result("work", **house.begin(tmp_path / "again"))["passed"]
    assert passed == house.passed
    assert len(passed) > 30
    assert {"write", "link", "flushed", "native write", "native written", "sealed"} <= set(passed)


def test_a_kill_at_some_moments_loses_nothing(warm, house, tmp_path):
    count = len(house.passed)
    check_kills(warm, house, tmp_path, (1, count // 3, 2 * count // 3, count))


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_nothing(warm, house, tmp_path):
    check_kills(warm, house, tmp_path, range(1, len(house.passed) + 1))


@pytest.mark.slow
def test_kills_out_of_the_blue_lose_nothing_and_readers_see_whole_versions(warm, house, tmp_path):
    dice = random.Random(20)
    killed = 0
    place, said = tmp_path / "0", set()
    arguments = house.begin(place)
    while killed < math.ceil(50 / len(CHAINS)):
        ends = warm.together(
            ("work", arguments),
            ("read_on", {"root": arguments["root"], "done": [], "times": 3}),
            kill_after=dice.uniform(0, 0.25),
        )
        assert "result" in ends[1], ends[1]
        assert ends[0]["killed"] or "result" in ends[0], ends[0]
        said |= set(ends[0]["said"])
        check_whole(house, warm.result("state", root=arguments["root"]), list(said))
        if ends[0]["killed"]:
            killed += 1
        else:
            recovered = warm.result("recover", sweep_first=killed % 2 == 0, **arguments)
            check_recovery(house, recovered, list(said))
            shutil.rmtree(place)
            place, said = tmp_path / str(killed), set()
            arguments = house.begin(place)


def test_a_check_that_a_version_stands_can_fail(warm, house, tmp_path):
    arguments = house.begin(tmp_path / "store")
    warm.result("work", **arguments)
    (tmp_path / "store" / "versions" / "scored" / "toys" / "00000001.json").unlink()
    with pytest.raises(AssertionError, match="lost"):
        check_whole(house, warm.result("state", root=arguments["root"]), list(house.versions))
