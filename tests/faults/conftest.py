"""The warm process, and the houses that nothing disturbed, which all tests of faults share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import building
from tests.faults.houses import CHAINS, House, undisturbed
from tests.faults.warm import Warm


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    process = Warm()
    yield process
    process.close()


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    building.write_sources(folder)
    return folder


@pytest.fixture(scope="session")
def houses(warm: Warm, sources: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, House]:
    """What each chain of work ends with, by its name."""
    built: dict[str, House] = {}
    for chain in CHAINS:
        before = None if chain == "build" else built["build"].place
        built[chain] = undisturbed(warm, chain, sources, tmp_path_factory.mktemp(chain), before)
    return built


@pytest.fixture(params=CHAINS)
def house(request: pytest.FixtureRequest, houses: dict[str, House]) -> House:
    """Each of the houses."""
    return houses[request.param]
