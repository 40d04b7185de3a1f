"""libtorrent in the contest: a client of ours around it on every host, introduced to all others at the start signal."""

from __future__ import annotations

import importlib.util
import random
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench.rivals import content, torrent
from bench.rivals.libtorrent_peer import Order
from bench.rivals.settings import libtorrent_settings
from bench.swarm.contest import Field, Run, compete
from fleetcast.launch.ports import free_ports
from fleetcast.launch.settings import LOOPBACK
from lab.errors import LabError
from lab.program import Program, end, pipe, wait_ready


def check() -> None:
    """Raises :class:`LabError` where it is not installed."""
    if importlib.util.find_spec("libtorrent") is None:
        raise LabError("libtorrent is missing: make bench-setup installs it, --fleetcast-only does without")


def run(field: Field, directory: Path) -> Run:
    """``directory``: must not exist."""
    settings = libtorrent_settings()
    hosts = {"origin": field.origin, **{host.name: host for host in field.machines}}
    for name in hosts:
        (directory / name).mkdir(parents=True)
    content.make(directory / "origin" / "content", field.size_bytes)
    (directory / "torrent").write_bytes(torrent.metainfo(directory / "origin" / "content", settings.piece_bytes))
    ports = dict(zip(hosts, free_ports(len(hosts), LOOPBACK, random.Random()), strict=True))
    programs: dict[str, Program] = {}
    with ExitStack() as stack:
        lifeline, go = stack.enter_context(pipe()), stack.enter_context(pipe())
        stack.callback(lambda: end(programs.values()))
        for name, host in hosts.items():
            order = Order(
                torrent=str(directory / "torrent"),
                directory=str(directory / name),
                seed=name == "origin",
                address=host.address,
                port=ports[name],
                peers=tuple((other.address, ports[others]) for others, other in hosts.items() if others != name),
                session=settings.session,
                ready=str(directory / name / "ready"),
                done=str(directory / name / "done"),
                go=go.reader,
                lifeline=lifeline.reader,
            )
            argv = [sys.executable, "-m", "bench.rivals.libtorrent_peer", msgspec.json.encode(order).decode()]
            programs[name] = Program(name, host, argv, directory, pipes=[go.reader, lifeline.reader])
        wait_ready([(program, directory / name / "ready") for name, program in programs.items()])
        return compete(field, programs, go.close, {host.name: directory / host.name / "done" for host in field.machines})
