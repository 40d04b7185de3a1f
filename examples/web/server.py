"""A small web service: a page, ``/version`` and ``/health``. Listens on 127.0.0.1, port ``$PORT``."""

import json
import os
import signal
import socketserver
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

PAGE = Path(__file__).with_name("page.html").read_bytes()
VERSION = {
    "service": os.environ.get("FLEETCAST_SERVICE", "web"),
    "commit": os.environ.get("FLEETCAST_COMMIT", "unknown"),
    "machine": os.environ.get("FLEETCAST_MACHINE", "unknown"),
    "region": os.environ.get("FLEETCAST_REGION", "unknown"),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/":
            self.answer(200, "text/html; charset=utf-8", PAGE)
        elif self.path in ("/health", "/version"):
            self.answer(200, "application/json", json.dumps(VERSION).encode())
        else:
            self.answer(404, "text/plain", b"no such page\n")

    def answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler) as server:
        print(f"serving {VERSION['commit'][:12]} on port {server.server_address[1]}")
        server.serve_forever()


if __name__ == "__main__":
    main()
