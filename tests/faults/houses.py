"""Undisturbed houses: what they hold, and how many moments their building has at which a fault can strike."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.warm import Warm

AT_A_TIME = 4
"""Copies worked in at the same time."""

CHAINS = ("build", "extend", "tidy")


@dataclass(frozen=True, kw_only=True)
class House:
    """A chain of work that nothing disturbed."""

    chain: str
    sources: Path
    before: Path | None
    """The store in which the chain begins; None for an empty place."""
    place: Path
    """The store in which it ended."""
    passed: list[str]
    """The moments it passed, in order."""
    versions: dict[str, Any]
    """What stands at the end, with every hash."""

    def begin(self, place: Path) -> dict[str, str]:
        """Arguments of a job that works in a fresh copy."""
        if self.before is not None:
            shutil.copytree(self.before, place)
        return {"chain": self.chain, "root": str(place), "sources": str(self.sources)}

    @property
    def first(self) -> dict[str, Any]:
        """What stands before the chain begins."""
        return {} if self.before is None else {name: self.versions[name] for name in FIRST}


FIRST = ("dataset toys@1", "scored toys@1", "subset toys-clean@1")


def undisturbed(warm: Warm, chain: str, sources: Path, folder: Path, before: Path | None) -> House:
    """Build without any fault, and look at the outcome."""
    place = folder / "undisturbed"
    if before is not None:
        shutil.copytree(before, place)
    passed = warm.result("work", chain=chain, root=str(place), sources=str(sources))["passed"]
    state = warm.result("state", root=str(place))
    assert state["findings"] == []
    versions = state["versions"]
    return House(chain=chain, sources=sources, before=before, place=place, passed=passed, versions=versions)


def check_whole(house: House, state: dict[str, Any], said: list[str]) -> None:
    """Hold what a reader sees against the undisturbed house: all that was said to stand does, nothing is changed."""
    seen = state["versions"]
    assert set(house.first) | set(said) <= set(seen), f"lost: {set(said) - set(seen)}"
    assert seen == {name: house.versions[name] for name in seen}
    assert {severity for severity, _ in state["findings"]} <= {"leftover"}, state["findings"]


def check_recovery(house: House, end: dict[str, Any], said: list[str]) -> None:
    """After a fault the store is whole, and running again ends with the same hashes and nothing left over."""
    check_whole(house, end["after_kill"], said)
    assert end["at_the_end"] == {"versions": house.versions, "findings": []}


def check_moments(
    warm: Warm, house: House, folder: Path, moments: Iterable[int], fault: Callable[[int], dict[str, Any]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Work with a fault at each of these moments, each in a fresh copy, and check what is left and that a rerun heals.

    Args:
        warm: runs the jobs, a few at a time.
        house: the chain of work, undisturbed.
        folder: for the copies.
        moments: numbers of moments, from 1.
        fault: arguments of the work that make a fault at a moment.

    Yields:
        Each moment, and how the work ended there.
    """
    waiting = sorted(set(moments))
    while waiting:
        batch, waiting = waiting[:AT_A_TIME], waiting[AT_A_TIME:]
        begun = [house.begin(folder / str(moment)) for moment in batch]
        pairs = list(zip(batch, begun, strict=True))
        ends = warm.together(*(("work", {**one, **fault(moment)}) for moment, one in pairs))
        recovered = warm.together(*(("recover", {**one, "sweep_first": moment % 4 < 2}) for moment, one in pairs))
        for moment, one, end, after in zip(batch, begun, ends, recovered, strict=True):
            assert "result" in after, (moment, after.get("trace"))
            check_recovery(house, after["result"], end["said"])
            shutil.rmtree(one["root"])
            yield moment, end
