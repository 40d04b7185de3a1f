"""A server on this machine that takes what it is told by POST, and writes it down."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Heard:
    path: str
    token: str
    said: dict[str, str]


@dataclass
class Recorder:
    """A server that answers each request as ``answer`` says, 201 by default."""

    url: str
    heard: list[Heard] = field(default_factory=list)
    answer: Callable[[Heard], tuple[int, bytes]] = lambda _heard: (201, b'{"id": 1}')

    @property
    def states(self) -> list[str]:
        return [one.said["state"] for one in self.heard]


@contextlib.contextmanager
def listening() -> Iterator[Recorder]:
    """Such a server, on loopback, for as long as the context is open."""
    recorder = Recorder("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            heard = Heard(self.path, self.headers["authorization"], body)
            recorder.heard.append(heard)
            status, answer = recorder.answer(heard)
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    recorder.url = f"http://127.0.0.1:{server.server_port}"
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
