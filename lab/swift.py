"""An S3 server of our own, in a directory of its own: OpenStack Swift with its S3 API, for tests and benchmarks.

Four processes, from the development dependency ``swift``, on an address of the loopback network that nobody else has. A pipe
is their lifeline: however their owner ends, they end and their directory goes. The file system must know extended attributes.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pwd
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lab.errors import LabError
from lab.limits import SWIFT_END_S_MAX, SWIFT_READY_S_MAX

USER: Final = "fleetcast:fleetcast"
SECRET: Final = "secret-of-fleetcast"
_PORTS: Final = {"object": 6200, "container": 6201, "account": 6202, "proxy": 6280}
_TIMEOUTS: Final = ("conn", "node", "recoverable_node", "client", "container_update")
_LOOK_S: Final = 0.05
_KEEPER: Final = """
directory=$1; shift
for each in "$@"; do
    "$directory/bin/swift-$each-server" "$directory/$each.conf" < /dev/null &
    servers="$servers $!"
done
read -r how
kill -KILL $servers
if [ -z "$how" ]; then rm -rf "$directory"; fi
"""
"""Starts the servers and reads the lifeline; ends them with that. A word on it: the directory stays."""
_RINGS: Final = """
import sys
from swift.common.ring import RingBuilder
directory, ip, *ports = sys.argv[1:]
for name, port in zip(("object", "container", "account"), ports):
    ring = RingBuilder(2, 1, 1)
    ring.add_dev({"region": 1, "zone": 1, "ip": ip, "port": int(port), "device": "d1", "weight": 1.0,
                  "replication_ip": ip, "replication_port": int(port), "meta": ""})
    ring.rebalance()
    ring.get_ring().save(f"{directory}/{name}.ring.gz")
"""
"""In a process of its own: swift is not imported here."""
_PIPELINE: Final = "catch_errors s3api tempauth slo dlo copy proxy-server"


class SwiftServer:
    """One node with one copy of everything. One thread at a time."""

    def __init__(self, directory: Path) -> None:
        """Make its files; it is started by :meth:`start`."""
        self.directory = directory
        self.address = "127." + ".".join(str(random.SystemRandom().randint(1, 254)) for _ in range(3))
        self._running: subprocess.Popen[bytes] | None = None
        (directory / "bin").mkdir()
        for name in _PORTS:
            (directory / "bin" / f"swift-{name}-server").symlink_to(Path(sys.prefix) / "bin" / f"swift-{name}-server")
        (directory / "devices" / "d1").mkdir(parents=True)
        (directory / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = fleetcast\n[storage-policy:0]\nname = one\ndefault = yes\n"
        )
        for name, port in _PORTS.items():
            (directory / f"{name}.conf").write_text(self._settings(name, port))
        self._rings()

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{_PORTS['proxy']}"

    def url(self, bucket: str, prefix: str = "") -> str:
        """For the setting ``store_url``."""
        return f"s3://{bucket}/{prefix}?endpoint={self.endpoint}&region=us-east-1&addressing=path"

    def start(self) -> None:
        """Until it answers. Raises :class:`LabError` with its last words when it does not."""
        with open(self.directory / "server.log", "ab") as output:
            self._running = subprocess.Popen(
                ["sh", "-c", _KEEPER, "sh", str(self.directory), *_PORTS],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, "SWIFT_CONF_FILE": str(self.directory / "swift.conf")},
                start_new_session=True,  # a terminal's Ctrl-C reaches us alone
            )
        deadline = time.monotonic() + SWIFT_READY_S_MAX
        while not all(self._answers(port) for port in _PORTS.values()):
            if self._running.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"the S3 server does not start: {self._last_words()} (more in {self.directory}/server.log)")
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """At once. What it holds is there when it is started again."""
        self._end(b"stay\n")

    def close(self) -> None:
        """Stop it, and remove what is left of it. Safe to call again."""
        if self._running is not None:
            self._end(b"")
        shutil.rmtree(self.directory, ignore_errors=True)

    def create_bucket(self, name: str) -> None:
        self.client().create_bucket(Bucket=name)

    def client(self) -> Any:
        """A client of Amazon's own making, to look at the store from outside."""
        import botocore.session  # here: every test process imports this file
        from botocore.config import Config

        session = botocore.session.get_session()
        config = Config(signature_version="s3v4", s3={"addressing_style": "path"})
        return session.create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id=USER,
            aws_secret_access_key=SECRET,
            config=config,
        )

    def write_credentials(self, path: Path) -> Path:
        """A file for the setting ``store_credentials_file``."""
        path.touch(mode=0o600)
        path.write_text(f"[default]\naws_access_key_id = {USER}\naws_secret_access_key = {SECRET}\n")
        return path

    def _settings(self, name: str, port: int) -> str:
        lines = [
            "[DEFAULT]",
            f"bind_ip = {self.address}",
            f"bind_port = {port}",
            "workers = 0",
            f"user = {pwd.getpwuid(os.geteuid()).pw_name}",
            f"swift_dir = {self.directory}",
            f"devices = {self.directory}/devices",
            "mount_check = false",
            "fallocate_reserve = 0",
            "log_address = /dev/null",
            # On a busy machine its own patience, of half a second here and there, would be at an end: then it gives a node up
            # for a minute, or lists later what was just written.
            *(f"{bound}_timeout = {SWIFT_READY_S_MAX}" for bound in _TIMEOUTS),
            "error_suppression_limit = 1000000",
            "[pipeline:main]",
            f"pipeline = {_PIPELINE if name == 'proxy' else f'{name}-server'}",
            f"[app:{name}-server]",
            f"use = egg:swift#{name}",
        ]
        if name == "proxy":
            account, user = USER.split(":")
            lines += ["allow_account_management = true", "account_autocreate = true"]
            for each in _PIPELINE.split()[:-1]:
                lines += [f"[filter:{each}]", f"use = egg:swift#{each}"]
                # What S3 itself does: as many parts, and here parts as small as tests like them.
                lines += {
                    "s3api": ["max_upload_part_num = 10000", "min_segment_size = 1", "location = us-east-1"],
                    "tempauth": [f"user_{account}_{user} = {SECRET} .admin"],
                    "slo": ["max_manifest_segments = 10000", "min_segment_size = 1"],
                }.get(each, [])
        return "\n".join(lines) + "\n"

    def _rings(self) -> None:
        """Where things are: all of it here."""
        made = [sys.executable, "-c", _RINGS, str(self.directory), self.address, *map(str, _PORTS.values())]
        done = subprocess.run(made, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise LabError(f"the S3 server's rings cannot be made: {done.stderr.strip().splitlines()[-1:]}")

    def _answers(self, port: int) -> bool:
        connection = http.client.HTTPConnection(self.address, port, timeout=SWIFT_READY_S_MAX)
        try:
            connection.request("OPTIONS", "/")
            connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def _end(self, word: bytes) -> None:
        running, self._running = self._running, None
        if running is None or running.stdin is None:
            raise LabError("the S3 server does not run: start it first")
        with contextlib.suppress(BrokenPipeError):
            running.stdin.write(word)
            running.stdin.close()
        running.wait(SWIFT_END_S_MAX)

    def _last_words(self) -> str:
        lines = (self.directory / "server.log").read_text(errors="replace").strip().splitlines()
        return (lines or ["it said nothing"])[-1]


@contextlib.contextmanager
def swift_server(*, parent: Path | None = None) -> Iterator[SwiftServer]:
    """A server that runs, in a directory below ``parent`` (where temporary files go)."""
    directory = Path(tempfile.mkdtemp(prefix="fleetcast-s3-", dir=parent or "/tmp"))
    try:
        server = SwiftServer(directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    try:
        server.start()
        yield server
    finally:
        server.close()
