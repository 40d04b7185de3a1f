"""A BitTorrent tracker that tells everybody about everybody.

``python -m bench.rivals.tracker ADDRESS PORT INTERVAL_S READY PIPE``: the file READY exists once it is up, the end of the pipe
is its end.
"""

from __future__ import annotations

import http.server
import os
import socket
import struct
import sys
import threading
import urllib.parse
from pathlib import Path

from bench.rivals.torrent import bencoded


class Tracker(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], interval_s: int) -> None:
        super().__init__(address, _Announce)
        self.interval_s = interval_s
        self.peers: dict[str, set[bytes]] = {}
        """By the torrent's hash: addresses and ports in the compact form."""
        self.lock = threading.Lock()


class _Announce(http.server.BaseHTTPRequestHandler):
    server: Tracker

    def do_GET(self) -> None:
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query, encoding="latin-1")
        me = socket.inet_aton(self.client_address[0]) + struct.pack(">H", int(asked["port"][0]))
        with self.server.lock:
            peers = self.server.peers.setdefault(asked["info_hash"][0], set())
            others = b"".join(peers - {me})
            peers.add(me)
        answer = bencoded({"interval": self.server.interval_s, "min interval": 1, "peers": others})
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- as the base class has it
        """Say nothing."""


if __name__ == "__main__":
    address, port, interval_s, ready, pipe = sys.argv[1:]
    with Tracker((address, int(port)), int(interval_s)) as tracker:
        threading.Thread(target=tracker.serve_forever, daemon=True).start()
        Path(ready).touch()
        while os.read(int(pipe), 1):
            pass
    os._exit(0)
