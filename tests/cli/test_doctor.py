"""What the doctor finds on files, a PostgreSQL server, etcd and an S3 store that are really so."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from fleetcast.cli.demo.engines.etcd import EtcdServer
from fleetcast.cli.demo.engines.postgres import OWNER, PASSWORD, PostgresServer
from fleetcast.cli.demo.engines.swift import SwiftServer
from fleetcast.cli.doctor.checks import ANSWER_WARN_S, Check, Verdict, answering
from fleetcast.cli.doctor.database import database
from fleetcast.cli.doctor.installation import installation as directories
from fleetcast.cli.doctor.key_values import key_values
from fleetcast.cli.doctor.permissions import permissions
from fleetcast.cli.doctor.retention import retention
from fleetcast.cli.doctor.store import stores
from fleetcast.launch import installation, sources
from fleetcast.launch.installation import Blueprint, consecutive_ports
from fleetcast.launch.settings import Settings
from fleetcast.schema.upgrade import revisions, schema_transaction, upgrade

Change = Callable[..., Settings]
SECRETS = (
    "github_hook_secrets",
    "gitlab_status_token",
    "database_url_file",
    "store_credentials_file",
    "kv_user_file",
    "kv_key_file",
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of an installation that has been made and started, all of it in files."""
    file = installation.create(tmp_path / "data", Blueprint(1, ("local",), 1, consecutive_ports(1, 1)))
    made = sources.load(file, environ={})
    assert made.control is not None
    made.control.directory.mkdir(mode=0o700)
    made.regions[0].directory.mkdir(parents=True)
    return made


@pytest.fixture
def change(settings: Settings) -> Change:
    """The same with other settings of control."""

    def changed(**choices: object) -> Settings:
        assert settings.control is not None
        return replace(settings, control=replace(settings.control, **choices))  # type: ignore[arg-type]

    return changed


@pytest.fixture
def an_hour_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """This host's clock, not that of any server."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)


def found(checks: Iterable[Check], *names: str) -> list[str]:
    """What is not well, in words; every line of it says what to do."""
    wrong = [check for check in checks if check.verdict is not Verdict.OK and (not names or check.name in names)]
    assert all(check.says and check.advice and "\n" not in check.says + check.advice for check in wrong)
    return [f"{check.verdict} {check.name}: {check.says}; {check.advice}" for check in wrong]


def test_nothing_is_wrong_with_a_new_installation(settings: Settings) -> None:
    assert found([*permissions(settings), *database(settings), *retention(settings)]) == []


@pytest.mark.parametrize("key", SECRETS)
def test_every_secret_that_settings_name_is_its_owners(change: Change, tmp_path: Path, key: str) -> None:
    path = tmp_path / "a secret"
    settings = change(**{key: path})
    assert found(permissions(settings)) == [
        f"fail secrets: cannot read {path}: No such file or directory; write it, or correct control.{key}"
    ]
    path.write_text("secret\n")
    path.chmod(0o640)
    assert found(permissions(settings)) == [f"fail secrets: others may read {path} (mode 0640); chmod 600 {path}"]
    path.chmod(0o600)
    assert found(permissions(settings)) == []


def test_a_data_key_that_others_read_is_told(settings: Settings) -> None:
    path = settings.regions[0].directory / "data.key"
    path.write_text("key\n")
    path.chmod(0o644)
    assert found(permissions(settings)) == [f"fail secrets: others may read {path} (mode 0644); chmod 600 {path}"]


def test_what_others_may_replace_is_told(settings: Settings, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "keys" / "worker.pub").chmod(0o666)
    (data / "secrets").chmod(0o777)
    (data / "control").chmod(0o755)
    assert found(permissions(settings)) == [
        f"fail permissions: others may write to {data}/keys/worker.pub (mode 0666); chmod o-w {data}/keys/worker.pub",
        f"fail permissions: others may write to {data}/secrets (mode 0777); chmod o-w {data}/secrets",
        f"fail permissions: others may look into {data}/control (mode 0755), whose databases have secrets in them; "
        f"chmod 700 {data}/control",
    ]


def test_what_another_user_left_behind_is_told(settings: Settings) -> None:
    path = settings.regions[0].directory / "kv.db"
    path.touch()
    if os.geteuid() == 0:
        os.chown(path, 65_534, -1)
    else:
        path.chmod(0o400)
    (said,) = found(permissions(settings))
    assert str(path) in said


def test_a_place_that_cannot_be_looked_into_is_told(change: Change, tmp_path: Path) -> None:
    """A name that no file may have: as root there is no directory that may not be looked into."""
    settings = change(directory=tmp_path / ("x" * 300))
    assert settings.control is not None
    said = found([*permissions(settings), *directories(settings), *database(settings)])
    assert any(f"cannot read {settings.control.directory / 'data.key'}: File name too long" in line for line in said)


def test_tables_of_another_version_are_told(settings: Settings) -> None:
    assert settings.control is not None
    path = settings.control.directory / "fleetcast.db"
    newest, before = revisions()[:2]
    with schema_transaction(f"sqlite+aiosqlite:///{path}") as connection:
        upgrade(connection, before)
    (said,) = found(database(settings))
    assert said.startswith(f"warn schema: the tables are at {before}, 1 steps before {newest}; start control")
    with schema_transaction(f"sqlite+aiosqlite:///{path}") as connection:
        upgrade(connection)
    assert found(database(settings)) == []
    with sqlite3.connect(path) as later:
        later.execute("UPDATE alembic_version SET version_num = 'r9999'")
    later.close()
    (said,) = found(database(settings))
    assert said.startswith("fail schema: the tables are at r9999, which this version does not know; use the version")


def test_a_file_that_is_damaged_is_told_and_left_alone(settings: Settings) -> None:
    assert settings.control is not None
    path = settings.control.directory / "fleetcast.db"
    path.write_bytes(b"no database" * 1000)
    (said,) = found(database(settings))
    assert said.startswith(f"fail database: {path} cannot be read: file is not a database;")
    assert [each.name for each in path.parent.iterdir()] == ["fleetcast.db"]


@pytest.fixture
def server_url(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    yield postgres.create_database("examined", template=migrated_template)
    postgres.drop_database("examined")


@pytest.mark.usefixtures("an_hour_ahead")
def test_a_clock_that_is_not_the_databases_is_told(change: Change, server_url: str) -> None:
    (said,) = found(database(change(database_url=server_url)))
    assert said.startswith("fail clock of the database: 3600 s ahead of the database's; run an NTP client on both hosts")


def test_a_server_that_answers_before_it_has_written_is_told(change: Change, postgres: PostgresServer, server_url: str) -> None:
    with postgres.administrator() as connection:
        connection.execute("ALTER DATABASE examined SET synchronous_commit = off")
    (said,) = found(database(change(database_url=server_url)))
    assert "answers before it has written; set synchronous_commit = on" in said


def test_a_role_that_may_not_change_the_tables_is_told(change: Change, postgres: PostgresServer, server_url: str) -> None:
    with postgres.administrator() as connection:
        connection.execute(sql.SQL("CREATE ROLE guest LOGIN PASSWORD {}").format(PASSWORD))
    try:
        as_guest = server_url.replace(f"//{OWNER}:", "//guest:")
        assert as_guest != server_url
        (said,) = found(database(change(database_url=as_guest)))
        assert f"the tables belong to the role {OWNER}; use that role" in said
        empty = postgres.create_database("untouched")
        (said,) = found(database(change(database_url=empty.replace(f"//{OWNER}:", "//guest:"))))
        assert "lets us make no tables; make the role of the URL the database's owner" in said
    finally:
        postgres.drop_database("untouched")
        with postgres.administrator() as connection:
            connection.execute("DROP ROLE guest")


def test_each_server_of_a_cluster_is_asked(change: Change, etcd: EtcdServer) -> None:
    settings = change(kv_url=f"{etcd.url},127.0.0.1:1/examined")
    checks = {check.says: check for check in key_values(settings)}
    (away,) = [check for says, check in checks.items() if "etcd at 127.0.0.1:1" in says]
    assert (away.name, away.verdict) == ("global kv", Verdict.WARN)
    assert any(says.startswith("etcd 3.") and "keys below /examined/" in says for says in checks)
    assert checks["within 2 s of its servers'"].verdict is Verdict.OK


@pytest.mark.usefixtures("an_hour_ahead")
def test_a_clock_that_is_not_etcds_is_told(change: Change, etcd: EtcdServer) -> None:
    (said,) = found(key_values(change(kv_url=f"{etcd.url}/examined")), "clock of global kv")
    assert "s ahead of its servers'; run an NTP client" in said


@pytest.mark.usefixtures("an_hour_ahead")
def test_a_clock_that_is_not_the_stores_is_told_before_what_it_spoils(
    change: Change, swift: SwiftServer, tmp_path: Path
) -> None:
    swift.create_bucket("examined")
    credentials = swift.write_credentials(tmp_path / "store.credentials")
    settings = change(store_url=swift.url("examined"), store_credentials_file=credentials)
    clock, *_ = found(stores(settings))
    assert clock.startswith("fail clock of main store: ")
    assert "s ahead of the store's; run an NTP client" in clock


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        (
            {"main_retention_days": 10_000, "main_retention_count": 100_000, "main_retention_bytes": 0},
            "next to nothing leaves the main store: 10000 days, 100000 of a service; set control.main_retention_bytes",
        ),
        (
            {"region_retention_days": 0.001, "retention_grace_s": 60},
            "what nobody uses leaves the regions' buckets after 1 min: ",
        ),
        ({"main_retention_count": 0}, "the main store keeps 0 of each service beside what is needed"),
        ({"region_retention_count": 1}, "the regions' buckets keep 1 of each service beside what is needed"),
        ({"retention_interval_s": 7 * 86_400}, "control looks only every 7 days for what may go"),
    ],
)
def test_retention_that_keeps_all_or_hardly_anything_is_told(change: Change, choices: dict[str, float], says: str) -> None:
    (said,) = found(retention(change(**choices)))
    assert says in said


def test_an_engine_that_takes_long_is_told() -> None:
    assert answering("database", "PostgreSQL", ANSWER_WARN_S / 100) == Check("database", Verdict.OK, "PostgreSQL, 5 ms a step")
    (said,) = found([answering("database", "PostgreSQL", 2 * ANSWER_WARN_S)])
    assert said.startswith("warn database: PostgreSQL, 1000 ms a step; look at its disk")
