"""Making an installation: complete, closed to others, and unchanged when made again."""

from __future__ import annotations

import asyncio
import random
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from fleetcast.cli import processes
from fleetcast.http.tokens import Role, TokenSet
from fleetcast.launch import installation, sources, wiring
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports
from fleetcast.model.errors import Invalid, Refused

REGIONS = ("eu", "us")
BLUEPRINT = Blueprint(2, REGIONS, 5, installation.consecutive_ports(2, 5), control={"reaper_interval_s": 1.5})


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_an_installation_is_whole(tmp_path: Path) -> None:
    file = installation.create(tmp_path / "data", BLUEPRINT)
    settings = sources.load(file, environ={})
    assert settings.control is not None
    assert settings.control.reaper_interval_s == 1.5
    assert len(settings.workers) == 2
    assert [agent.machine for agent in settings.agents] == ["eu-1", "us-1", "eu-2", "us-2", "eu-3"]
    assert all(agent.region_url == settings.region(agent.region).public_url for agent in settings.agents)
    assert TokenSet.load(settings.control.secrets).role_of(settings.workers[0].token_file.read_text().strip()) is Role.WORKER


def test_no_two_processes_share_a_port(tmp_path: Path) -> None:
    settings = sources.load(installation.create(tmp_path, BLUEPRINT), environ={})
    assert settings.control is not None
    ports = [settings.control.port, settings.control.data_port]
    ports += [port for region in settings.regions for port in (region.port, region.data_port)]
    ports += [int(agent.environment["PORT"]) for agent in settings.agents]
    assert len(set(ports)) == len(ports) == Blueprint.ports_needed(2, 5)


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    installation.create(tmp_path, BLUEPRINT)
    secrets = list((tmp_path / "secrets").iterdir())
    assert len(secrets) == len(Role) + 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}


def test_made_again_nothing_changes(tmp_path: Path) -> None:
    installation.create(tmp_path, BLUEPRINT)
    before = contents(tmp_path)
    installation.create(tmp_path, Blueprint(1, ("mars",), 1, installation.consecutive_ports(1, 1)))
    assert contents(tmp_path) == before


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Invalid, match="cannot make an installation in"):
        installation.create(tmp_path / "file" / "data", BLUEPRINT)


def test_up_where_it_runs_already_names_the_settings_file_it_was_given(tmp_path: Path) -> None:
    file = installation.create(tmp_path, BLUEPRINT, "eu.toml")
    with installation.supervised(tmp_path, advice=""), pytest.raises(Refused, match=f"status --settings {file} shows it"):
        processes.up(file)


async def test_a_data_port_is_told_as_others_reach_it(tmp_path: Path) -> None:
    ports = free_ports(Blueprint.ports_needed(1, 1), "127.0.0.1", random.Random())
    main, bucket = "http://main.example.org:9", "http://eu.example.org:9"
    blueprint = Blueprint(1, ("eu",), 1, ports, control={"data_url": main}, region={"data_url": bucket})
    settings = sources.load(installation.create(tmp_path, blueprint), environ={})
    for wired, url in ((wiring.control(settings), main), (wiring.region(settings.region("eu")), bucket)):
        stop, told = asyncio.Event(), dict[str, str]()

        def listening(addresses: Mapping[str, str], stop: asyncio.Event = stop, told: dict[str, str] = told) -> None:
            told.update(addresses)
            stop.set()

        await asyncio.wait_for(wired.serve(stop, listening), 30)
        assert told["data"] == url


def test_free_ports_are_different_free_and_not_the_kernels() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = free_ports(20, "127.0.0.1", random.Random(7))
    assert len(set(ports)) == 20
    assert not [port for port in ports if first <= port <= last]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", ports[0]))
        listener.listen()
        assert ports[0] not in free_ports(20, "127.0.0.1", random.Random(7))
