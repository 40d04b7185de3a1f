"""What holds for every test, and the databases they share."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler.loadfile import LoadFileScheduling

from fleetcast.cli.demo.engines.etcd import EtcdServer, etcd_server
from fleetcast.cli.demo.engines.postgres import PostgresServer, postgres_server
from fleetcast.cli.demo.engines.swift import SwiftServer, swift_server
from fleetcast.schema import migrate
from fleetcast.stores.database import Database

# Speed is not a test: on a busy machine any example may take long.
settings.register_profile("fleetcast", deadline=None)
settings.load_profile("fleetcast")

TEMPLATE: Final = "migrated"
Fresh = Callable[[pytest.FixtureRequest, Path, bool], Iterator[str]]
"""Yields the URL of a database of its own for a test, which is gone afterwards; true: with all tables and no rows."""
LONG: Final = (
    "faults/test_queue.py",
    "docs/test_pages.py",
    "bench/test_swarm.py",
    "contracts/test_blobs.py",
    "e2e/",
    "faults/",
    "bench/",
    "control/",
    "worker/",
    "swarm/",
    "replication/",
    "rollouts/",
    "region/",
    "contracts/",
    "builds/",
)
"""Parts of the paths of files that start processes or search for long, the longest first."""
TOGETHER: Final = dict.fromkeys(("contracts/test_blobs.py", "e2e/test_s3.py", "e2e/test_migrate.py"), "swift")
"""Files that one worker takes, one after the other: each of them takes a server that is slow to start."""


def _file(request: pytest.FixtureRequest, directory: Path, migrated: bool) -> Iterator[str]:
    if migrated:
        shutil.copy(request.getfixturevalue("migrated_file"), directory / "fleetcast.db")
    yield f"sqlite+aiosqlite:///{directory / 'fleetcast.db'}"


def _on_server(request: pytest.FixtureRequest, _: Path, migrated: bool) -> Iterator[str]:
    server: PostgresServer = request.getfixturevalue("postgres")
    yield server.create_database("fresh", template=request.getfixturevalue("migrated_template") if migrated else "template1")
    server.drop_database("fresh")


ENGINES: Final[Mapping[str, Fresh]] = {
    "sqlite": _file,
    "postgresql": _on_server,
}
"""Behind the database door; the first one is the embedded one."""
_OTHERS: Final = [*ENGINES][1:]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="write the texts that tests compare with anew, to be looked at")
    parser.addoption("--supervisor", choices=("children", "systemd"), default="children", help="of the services of agents")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    return _ByServer(config, log)


class _ByServer(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return TOGETHER.get(file.removeprefix("tests/"), file)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of parameters that are marked ``one_engine`` one engine is enough. Files that take long begin first: else the last one
    runs when every other worker has nothing left to do."""
    items[:] = [item for item in items if not (item.get_closest_marker("one_engine") and _on_another(item))]
    items.sort(key=lambda item: next((n for n, part in enumerate(LONG) if f"/{part}" in str(item.path)), len(LONG)))


def _on_another(item: pytest.Item) -> bool:
    values = item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    return any(engine in values for engine in _OTHERS)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What takes a database runs on each engine, but for what says nothing about SQL and is marked ``one_engine``."""
    for fixture in {"database_url", "empty_database_url"} & set(metafunc.fixturenames):
        one = metafunc.definition.get_closest_marker("one_engine") is not None
        metafunc.parametrize(fixture, [*ENGINES][:1] if one else ENGINES, indirect=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skip is not a pass: a run with one fails."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    left_out = [outcome for outcome in ("skipped", "xfailed", "xpassed") if reporter.stats.get(outcome)]
    if left_out and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"failed: {', '.join(left_out)} tests are not allowed here")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that runs, for whoever asks first and all that come after. Nobody stops it: that takes one's own."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def etcd() -> Iterator[EtcdServer]:
    """A server that runs, as that of PostgreSQL: whoever asks takes a prefix of his own, and nobody stops it."""
    with etcd_server() as server:
        yield server


@pytest.fixture(scope="session")
def swift() -> Iterator[SwiftServer]:
    """An S3 server that runs, likewise."""
    with swift_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """A database on it with all tables, to make others of."""
    migrate(postgres.create_database(TEMPLATE))
    return TEMPLATE


@pytest.fixture
async def server_database(postgres: PostgresServer, migrated_template: str) -> AsyncIterator[Database]:
    """A fresh one of the engine that has several writers."""
    database = await Database.open(postgres.create_database("writers", template=migrated_template))
    yield database
    await database.close()
    postgres.drop_database("writers")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in a file."""
    path = tmp_path_factory.mktemp("migrated") / "control.db"
    migrate(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of its own for each test, with all tables and no rows, on each engine."""
    yield from ENGINES[request.param](request, tmp_path, True)


@pytest.fixture
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The same without tables."""
    yield from ENGINES[request.param](request, tmp_path, False)
