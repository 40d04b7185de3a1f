"""The program that keeps a service's listening sockets open while no process of the service and no agent has them.

Run as a file with ``python -I -S``, so that it needs little memory and goes on whatever becomes of the installation: it imports
nothing of ours. Its arguments are the name of the socket at which it answers, in its working directory, and the addresses of
the sockets that it was started with, which are the descriptors from 3 on. Who asks is handed all of them.
"""

from __future__ import annotations

import os
import socket
import sys

_FIRST = 3
_ANSWER_S_MAX = 5.0


def keep(name: str, addresses: list[str]) -> None:
    """Never returns."""
    descriptors = [_FIRST + number for number in range(len(addresses))]
    os.umask(0o077)
    server = socket.socket(socket.AF_UNIX)
    server.bind(name)
    server.listen()
    while True:
        asking, _ = server.accept()
        with asking:
            asking.settimeout(_ANSWER_S_MAX)
            try:
                socket.send_fds(asking, ["\n".join(addresses).encode()], descriptors)
            except OSError:
                continue


if __name__ == "__main__":
    keep(sys.argv[1], sys.argv[2:])
