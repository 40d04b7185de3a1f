"""An S3 server of our own, in a directory of its own: OpenStack Swift with its S3 API.

Four processes, on an address of the loopback network that nobody else has.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pwd
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from fleetcast.cli.demo.engines import programs
from fleetcast.cli.demo.engines.kept import READY_S_MAX, Kept
from fleetcast.model.errors import Refused

USER: Final = "fleetcast:fleetcast"
SECRET: Final = "secret-of-fleetcast"
_PORTS: Final = {"object": 6200, "container": 6201, "account": 6202, "proxy": 6280}
_TIMEOUTS: Final = ("conn", "node", "recoverable_node", "client", "container_update")
_PATIENCE_S: Final = 60
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


class SwiftServer(Kept):
    """One node with one copy of everything."""

    def __init__(self, directory: Path, *, port: int = _PORTS["proxy"], remains: bool = False) -> None:
        """Make its files; it is started by :meth:`start`. ``port``: of the S3 API.

        Raises:
            Refused: the file system has no extended attributes.
            Unavailable, NotFound: it cannot be made.
        """
        super().__init__("the S3 server", directory, remains=remains)
        self.address = "127." + ".".join(str(random.SystemRandom().randint(1, 254)) for _ in range(3))
        self.port = port
        self._ports = {**_PORTS, "proxy": port}
        _check_attributes(directory)
        (directory / "bin").mkdir()
        for name in _PORTS:
            (directory / "bin" / f"swift-{name}-server").symlink_to(programs.swift(name))
        (directory / "devices" / "d1").mkdir(parents=True)
        (directory / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = fleetcast\n[storage-policy:0]\nname = one\ndefault = yes\n"
        )
        for name, listening in self._ports.items():
            (directory / f"{name}.conf").write_text(self._settings(name, listening))
        self._prepare([sys.executable, "-c", _RINGS, str(directory), self.address, *map(str, self._ports.values())])

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"

    def url(self, bucket: str, prefix: str = "", *, endpoint: str = "") -> str:
        """For the setting ``store_url``. ``endpoint``: somebody who stands between us and the server."""
        return f"s3://{bucket}/{prefix}?endpoint={endpoint or self.endpoint}&region=us-east-1&addressing=path"

    def commands(self) -> Sequence[Sequence[str]]:
        return [(str(self.directory / "bin" / f"swift-{name}-server"), str(self.directory / f"{name}.conf")) for name in _PORTS]

    def answers(self) -> bool:
        return all(self._answers(port) for port in self._ports.values())

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
            *(f"{bound}_timeout = {_PATIENCE_S}" for bound in _TIMEOUTS),
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

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "SWIFT_CONF_FILE": str(self.directory / "swift.conf")}

    def _answers(self, port: int) -> bool:
        connection = http.client.HTTPConnection(self.address, port, timeout=READY_S_MAX)
        try:
            connection.request("OPTIONS", "/")
            connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()
        return True


@contextlib.contextmanager
def swift_server(*, parent: Path | None = None, port: int = _PORTS["proxy"]) -> Iterator[SwiftServer]:
    """A server that runs, in a directory below ``parent`` (where temporary files go). ``port``: of the S3 API."""
    directory = Path(tempfile.mkdtemp(prefix="fleetcast-s3-", dir=parent or "/tmp"))
    try:
        server = SwiftServer(directory, port=port)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    try:
        server.start()
        yield server
    finally:
        server.close()


def _check_attributes(directory: Path) -> None:
    try:
        os.setxattr(directory, "user.fleetcast", b"here")
    except OSError:
        raise Refused(
            "no_extended_attributes",
            f"the S3 server needs extended attributes, which the file system of {directory} has not: choose another TMPDIR",
        ) from None
