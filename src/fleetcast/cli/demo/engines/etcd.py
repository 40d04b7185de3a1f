"""An etcd server of our own, in a directory of its own.

The version that can be had as a package, 3.5.1, is not one to keep anything in (3.5.0 to 3.5.2 may lose what they promised to
keep).
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fleetcast.cli.demo.engines import programs
from fleetcast.cli.demo.engines.kept import Kept
from fleetcast.launch.ports import free_ports
from fleetcast.launch.settings import LOOPBACK
from fleetcast.model.errors import Unavailable

_ANSWER_S_MAX: Final = 5.0
_ALONE_MS: Final = (50, 500)
"""Between two heartbeats, and before an election: alone nobody else could be elected."""
_IN_COMPANY_MS: Final = (100, 1000)


@dataclass(frozen=True)
class Certificates:
    """PEM files: who signed, what a server shows, and that what clients show is asked for."""

    ca: Path
    certificate: Path
    key: Path
    client_certificate: Path
    client_key: Path


@dataclass(frozen=True)
class Membership:
    """Of a cluster."""

    name: str
    peers: Mapping[str, int] = field(default_factory=dict)
    """Port of loopback by the members' names, this one's among them; empty: it is alone."""


class EtcdServer(Kept):
    """One member, a cluster by itself unless told otherwise, on a port of loopback that it keeps."""

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = False,
        certificates: Certificates | None = None,
        membership: Membership | None = None,
        remains: bool = False,
    ) -> None:
        """It is started by :meth:`start`. ``durable``: a write is on the disk when it is told."""
        super().__init__("etcd", directory, remains=remains)
        self.port, peer_port = free_ports(2, LOOPBACK, random.Random())
        self._member = membership or Membership("alone")
        self._peers = self._member.peers or {self._member.name: peer_port}
        self._durable = durable
        self._certificates = certificates

    @property
    def url(self) -> str:
        """As settings have it, without a prefix."""
        return f"{'etcds' if self._certificates else 'etcd'}://{LOOPBACK}:{self.port}"

    def commands(self) -> Sequence[Sequence[str]]:
        return ((str(programs.etcd("etcd")), *self._options()),)

    def answers(self) -> bool:
        """Whether it is healthy, by its own word: it knows a leader."""
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

    def forget(self) -> None:
        """What it kept, while it does not run: it starts as a new cluster."""
        shutil.rmtree(self.directory / "data", ignore_errors=True)

    def ctl(self, *arguments: str) -> str:
        """What ``etcdctl`` says. Raises :class:`Unavailable` when it fails."""
        command = [str(programs.etcd("etcdctl")), f"--endpoints={self._client_url}", *self._shown(), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Unavailable("etcdctl_failed", f"etcdctl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    @property
    def _client_url(self) -> str:
        return f"{'https' if self._certificates else 'http'}://{LOOPBACK}:{self.port}"

    def _options(self) -> Sequence[str]:
        peers = {name: f"http://{LOOPBACK}:{port}" for name, port in self._peers.items()}
        ours = peers[self._member.name]
        heartbeat_ms, election_ms = _ALONE_MS if len(peers) == 1 else _IN_COMPANY_MS
        options = ["--name", self._member.name, "--data-dir", str(self.directory / "data"), "--log-level", "warn"]
        options += ["--listen-client-urls", self._client_url, "--advertise-client-urls", self._client_url]
        options += ["--listen-peer-urls", ours, "--initial-advertise-peer-urls", ours]
        options += ["--initial-cluster", ",".join(f"{name}={url}" for name, url in peers.items())]
        options += ["--heartbeat-interval", str(heartbeat_ms), "--election-timeout", str(election_ms)]
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
            taken = isinstance(error, Unavailable) and "address already in use" in str(error)
            server.close()
            if last or not taken:  # somebody else took the port just now: another one
                raise
        else:
            return server
    raise AssertionError("the last attempt returns or raises")
