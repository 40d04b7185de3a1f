"""A company on PostgreSQL, etcd and an S3 store, looked at through these."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from company import Company
from fleetcast.cli.demo.engines.servers import CONTROL, NAME, Servers, bucket_of


@dataclass
class EngineCompany(Company):
    """``main`` is a valve in front of the S3 server, as control, workers and regions reach the main store."""

    servers: Servers = field(kw_only=True)

    def rows(self, query: str, *values: object) -> list[Any]:
        """While the database is there."""
        url = self.servers.postgres.url(NAME).replace("+psycopg", "")
        with psycopg.connect(url, row_factory=dict_row) as connection:
            return connection.execute(query.replace("?", "%s").encode(), values).fetchall()

    def check_copies(self, sha: str) -> None:
        artifact = self.artifact(sha)
        original = self._hash(CONTROL, artifact["content_blob"])
        for region in self.regions:
            assert self._hash(region, f"artifacts/{artifact['digest']}/content") == original

    def said(self, name: str, what: str) -> Callable[[], bool]:
        """Whether a process has logged ``what`` since now."""
        file = self.directory / "run" / f"{name}.log"
        before = file.stat().st_size

        def since() -> bool:
            with open(file, "rb") as log:
                log.seek(before)
                return what.encode() in log.read()

        return since

    def _hash(self, owner: str, key: str) -> str:
        body = self.servers.s3.client().get_object(Bucket=bucket_of(owner), Key=key)["Body"]
        return hashlib.sha256(body.read()).hexdigest()
