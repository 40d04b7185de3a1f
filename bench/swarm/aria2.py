"""aria2 in the contest: its own program on every host, given the torrent at the start signal, and a tracker on the hub."""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from bench.rivals import content, torrent
from bench.rivals.settings import Aria2Settings, aria2_settings
from bench.swarm.contest import Field, Run, compete
from fleetcast.launch.ports import free_ports
from fleetcast.launch.settings import LOOPBACK
from lab.errors import LabError
from lab.host import Host
from lab.namespaces import inside
from lab.program import LOOK_S, READY_S_MAX, Program, end, pipe, wait_ready

RPC_S_MAX = 20.0


def check() -> None:
    """Raises :class:`LabError` where it is not installed."""
    if shutil.which("aria2c") is None:
        raise LabError("aria2 is missing: apt-get install aria2 installs it, --fleetcast-only does without")


def run(field: Field, directory: Path) -> Run:
    """``directory``: must not exist."""
    settings = aria2_settings()
    hosts = {"origin": field.origin, **{host.name: host for host in field.machines}}
    for name in hosts:
        (directory / name).mkdir(parents=True)
    tracker_port, *ports = free_ports(1 + 2 * len(hosts), LOOPBACK, random.Random())
    rpc_ports = dict(zip(hosts, ports[len(hosts) :], strict=True))
    content.make(directory / "origin" / "content", field.size_bytes)
    announce = f"http://{field.hub.address}:{tracker_port}/announce"
    metainfo = torrent.metainfo(directory / "origin" / "content", settings.piece_bytes, announce)
    (directory / "torrent").write_bytes(metainfo)
    programs: dict[str, Program] = {}
    with ExitStack() as stack:
        lifeline = stack.enter_context(pipe())
        stack.callback(lambda: end(programs.values()))
        _start_tracker(programs, field.hub, tracker_port, settings, directory, lifeline.reader)
        hook = _hook(directory)
        for (name, host), port in zip(hosts.items(), ports, strict=False):
            own = [f"--dir={directory / name}", f"--listen-port={port}", f"--rpc-listen-port={rpc_ports[name]}"]
            if name == "origin":
                own += ["--bt-seed-unverified=true", str(directory / "torrent")]
            else:
                own += [f"--on-bt-download-complete={hook}"]
            common = ["--no-conf", "--quiet", "--enable-rpc", f"--stop-with-process={os.getpid()}"]
            programs[name] = Program(name, host, ["aria2c", *common, *settings.arguments(), *own], directory)
        for name, host in hosts.items():
            _wait_up(programs[name], host, rpc_ports[name])

        def go() -> None:
            for host in field.machines:
                _call(host, rpc_ports[host.name], "aria2.addTorrent", base64.b64encode(metainfo).decode())

        done = {host.name: directory / host.name / "content.done" for host in field.machines}
        return compete(field, programs, go, done)


def _start_tracker(
    programs: dict[str, Program], hub: Host, port: int, settings: Aria2Settings, directory: Path, lifeline: int
) -> None:
    ready = directory / "tracker.ready"
    said = [hub.address, str(port), str(settings.tracker_interval_s), str(ready), str(lifeline)]
    argv = [sys.executable, "-m", "bench.rivals.tracker", *said]
    programs["tracker"] = Program("tracker", hub, argv, directory, pipes=[lifeline])
    wait_ready([(programs["tracker"], ready)])


def _hook(directory: Path) -> Path:
    """What aria2 runs when everything is verified; the third argument is the file."""
    hook = directory / "done.sh"
    hook.write_text('#!/bin/sh\n: > "$3.done"\n')
    hook.chmod(0o755)
    return hook


def _wait_up(program: Program, host: Host, rpc_port: int) -> None:
    deadline = time.monotonic() + READY_S_MAX
    while True:
        program.must_run()
        try:
            _call(host, rpc_port, "aria2.getVersion")
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise LabError(f"aria2 on {host.name} was not ready within {READY_S_MAX:g} s: {error}") from error
        time.sleep(LOOK_S)


def _call(host: Host, port: int, method: str, *parameters: object) -> None:
    """Raises :class:`OSError` where nobody answers, :class:`LabError` where the answer is no."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=RPC_S_MAX)
    with inside(host.namespace):
        connection.connect()
    try:
        asked = {"jsonrpc": "2.0", "id": "", "method": method, "params": list(parameters)}
        connection.request("POST", "/jsonrpc", json.dumps(asked))
        answer = connection.getresponse()
        said = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise LabError(f"aria2 on {host.name} refused {method}: {said.decode(errors='replace')}")
