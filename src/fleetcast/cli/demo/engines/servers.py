"""The servers of a company on real engines: PostgreSQL, an etcd cluster for control and one in each region, an S3 store."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from fleetcast.cli.demo.engines import programs
from fleetcast.cli.demo.engines.etcd import EtcdServer
from fleetcast.cli.demo.engines.kept import Kept
from fleetcast.cli.demo.engines.postgres import PostgresServer
from fleetcast.cli.demo.engines.swift import SwiftServer
from fleetcast.launch.installation import Value
from fleetcast.launch.ports import free_ports
from fleetcast.launch.settings import LOOPBACK
from fleetcast.model.errors import FleetcastError

CONTROL: Final = "control"
"""Whose stores are the global ones; no region of a demo has that name."""
NAME: Final = "fleetcast"
"""Of the database, and of the prefix of keys."""

Tell = Callable[[str, str], None]


class Servers:
    """Each is there once it is started. One thread at a time, but for :meth:`close`, which may come while :meth:`start` is at
    it and ends that."""

    def __init__(self, directory: Path, regions: Sequence[str], tell: Tell) -> None:
        """``directory``: made here, removed by somebody else. ``tell`` hears of each server and its address, from any thread.

        Raises :class:`NotFound` where a program is not there.
        """
        programs.check()
        self._directory = directory
        self._regions = regions
        self._tell = tell
        self.made: list[Kept] = []
        """All there are."""
        self._closed = False
        self.postgres: PostgresServer
        self.etcd: dict[str, EtcdServer] = {}
        """By owner: :data:`CONTROL` or the region."""
        self.s3: SwiftServer

    def start(self) -> None:
        """All of them at the same time, until each can be used. Raises :class:`FleetcastError` with what the first one has
        against it."""
        self._directory.mkdir(mode=0o700)
        wanted = [self._start_swift, self._start_postgres]
        with ThreadPoolExecutor(thread_name_prefix="engines") as threads:
            futures = [threads.submit(start) for start in wanted]
            futures += [threads.submit(self._start_etcd, owner) for owner in (CONTROL, *self._regions)]
            failed = [future for future in wait(futures, return_when=FIRST_EXCEPTION).done if future.exception() is not None]
            if failed:
                self.close()
        for future in failed:
            future.result()

    def close(self) -> None:
        """Stop all of them. Safe to call again."""
        self._closed = True
        for server in reversed(self.made):
            with contextlib.suppress(FleetcastError):  # what does not end by itself is ended with the directory
                server.close()

    @property
    def control(self) -> Mapping[str, Value]:
        """Settings that make control use them."""
        return {"database_url_file": str(self._database_file), **self._stores(CONTROL)}

    @property
    def of_region(self) -> Mapping[str, Mapping[str, Value]]:
        """The same for each region, by its name."""
        return {region: self._stores(region) for region in self._regions}

    def _stores(self, owner: str) -> Mapping[str, Value]:
        urls = {"kv_url": f"{self.etcd[owner].url}/{NAME}", "store_url": self.s3.url(bucket_of(owner))}
        return {"store_credentials_file": str(self._credentials), **urls}

    def _start_postgres(self) -> None:
        (port,) = free_ports(1, LOOPBACK, random.Random())
        self.postgres = server = PostgresServer(self._place("postgresql"), port=port, remains=True)
        self._start(server, f"{LOOPBACK}:{port}")
        server.create_role()
        self._database_file.touch(mode=0o600)
        self._database_file.write_text(server.create_database(NAME))

    def _start_etcd(self, owner: str) -> None:
        self.etcd[owner] = server = EtcdServer(self._place(f"etcd-{owner}"), remains=True)
        self._start(server, f"{LOOPBACK}:{server.port}")

    def _start_swift(self) -> None:
        self.s3 = server = SwiftServer(self._place("s3"), remains=True)
        self._start(server, server.endpoint.removeprefix("http://"))
        server.write_credentials(self._credentials)
        for bucket in map(bucket_of, (CONTROL, *self._regions)):
            server.create_bucket(bucket)

    def _start(self, server: Kept, address: str) -> None:
        self.made.append(server)
        if self._closed:  # before it was in the list of what is closed
            server.close()
        server.start()
        self._tell(server.directory.name, address)

    def _place(self, name: str) -> Path:
        place = self._directory / name
        place.mkdir(mode=0o700)
        return place

    @property
    def _database_file(self) -> Path:
        return self._directory / "database.url"

    @property
    def _credentials(self) -> Path:
        return self._directory / "store.credentials"


def bucket_of(owner: str) -> str:
    """Control's or a region's, in the S3 store."""
    return f"{NAME}-{owner}"
