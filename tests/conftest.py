"""Fixtures that tests of every level share."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from shim.install import launcher
from tests.support.nats import NatsServer

# How long an example takes depends on what else the machine does: nothing that a test may judge.
settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# `--long`, or `--hypothesis-profile thorough`: fifty times as many examples of each.
settings.register_profile("thorough", settings.get_profile("usual"), max_examples=5000)
settings.load_profile("usual")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run large counts whole")


def pytest_configure(config: pytest.Config) -> None:
    """Run as from a terminal, even under nohup or in the background: tests send these signals."""
    if config.getoption("--long"):
        settings.load_profile("thorough")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether to run large counts whole, however long that takes."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def launcher_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The launcher, installed in a directory of its own."""
    return launcher.install(tmp_path_factory.mktemp("launcher"))


@pytest.fixture
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server that hosts of a fleet share."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server
