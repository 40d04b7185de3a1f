"""What moving bytes costs at least: one pair over loopback.

``sendfile`` out, ``recv_into`` in, BLAKE3 and ``pwrite`` of each 256 KiB: what any swarm of this design does with every byte,
and nothing else. Sender and receiver are processes of their own, and both count. As a program (``python -m bench.swarm.floor
DIRECTORY SIZE_BYTES``) it prints their CPU seconds.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

from blake3 import blake3

from bench.rivals import content
from lab.errors import LabError

CHUNK_BYTES = 256 << 10
RECEIVE_BUFFER_BYTES = 4 << 20
RUN_S_MAX = 300
ACCEPT_S_MAX = 10


def cpu_s(directory: Path, size_bytes: int) -> float:
    """CPU seconds of both, for so many bytes in files in ``directory``; they are removed afterwards.

    Raises:
        LabError: it failed.
    """
    argv = [sys.executable, "-m", "bench.swarm.floor", str(directory), str(size_bytes)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=RUN_S_MAX)
    if done.returncode:
        raise LabError(f"the floor could not be measured: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    return float(done.stdout)


def _send(listener: socket.socket, source: int, size_bytes: int) -> None:
    connection, _ = listener.accept()
    with connection:
        sent = 0
        while sent < size_bytes:
            sent += os.sendfile(connection.fileno(), source, sent, size_bytes - sent)


def _receive(address: tuple[str, int], target: int, size_bytes: int) -> None:
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        buffer = memoryview(bytearray(CHUNK_BYTES))
        offset = 0
        while offset < size_bytes:
            chunk, got = buffer[: min(CHUNK_BYTES, size_bytes - offset)], 0
            while got < len(chunk):
                more = connection.recv_into(chunk[got:])
                if not more:
                    raise ConnectionError("the sender has gone")
                got += more
            blake3(chunk).digest()
            os.pwrite(target, chunk, offset)
            offset += len(chunk)


def _used(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def main(directory: Path, size_bytes: int) -> float:
    source, target = directory / "floor-source", directory / "floor-target"
    try:
        content.make(source, size_bytes)
        with open(source, "rb") as read, open(target, "wb") as written, socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(ACCEPT_S_MAX)
            before = _used(resource.RUSAGE_SELF)
            sender = os.fork()
            if sender == 0:
                try:
                    _send(listener, read.fileno(), size_bytes)
                finally:
                    os._exit(0)
            _receive(listener.getsockname(), written.fileno(), size_bytes)
            os.waitpid(sender, 0)
            return _used(resource.RUSAGE_SELF) - before + _used(resource.RUSAGE_CHILDREN)
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), int(sys.argv[2])))
