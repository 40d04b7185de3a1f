"""A small web service: a page, ``/version`` and ``/health``. Listens on 127.0.0.1, port ``$PORT``.

Without ``http.server``, which takes longer to import than all of this to start: where a fleet shares a machine, that many begin
at once.
"""

import json
import os
import signal
import socketserver
import sys

with open("page.html", "rb") as file:  # it is started in the release's directory
    PAGE = file.read()
VERSION = {
    "service": os.environ.get("FLEETCAST_SERVICE", "web"),
    "commit": os.environ.get("FLEETCAST_COMMIT", "unknown"),
    "machine": os.environ.get("FLEETCAST_MACHINE", "unknown"),
    "region": os.environ.get("FLEETCAST_REGION", "unknown"),
}
LINE_BYTES_MAX = 8192


class Handler(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self) -> None:
        method, _, rest = self.rfile.readline(LINE_BYTES_MAX).decode("latin-1").partition(" ")
        while self.rfile.readline(LINE_BYTES_MAX).strip():
            pass  # no header changes the answer
        path = rest.partition(" ")[0]
        if method != "GET":
            self.answer("501 Not Implemented", "text/plain", b"only GET\n")
        elif path == "/":
            self.answer("200 OK", "text/html; charset=utf-8", PAGE)
        elif path in ("/health", "/version"):
            self.answer("200 OK", "application/json", json.dumps(VERSION).encode())
        else:
            self.answer("404 Not Found", "text/plain", b"no such page\n")

    def answer(self, status: str, kind: str, body: bytes) -> None:
        head = f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)


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
