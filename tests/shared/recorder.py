"""A server on this machine that takes what it is told by POST, and writes it down."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from threaded_server import threaded_server


@dataclass(frozen=True)
class Heard:
    path: str
    token: str
    said: dict[str, str]
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)
    """By their names in lower case."""
    body: bytes = field(default=b"", compare=False)


@dataclass
class Recorder:
    """A server that answers each request as ``answer`` says, 201 by default."""

    url: str
    heard: list[Heard] = field(default_factory=list)
    answer: Callable[[Heard], tuple[int, bytes]] = lambda _heard: (201, b'{"id": 1}')
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of every answer."""

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
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard = Heard(self.path, self.headers["authorization"], json.loads(body), headers, body)
            recorder.heard.append(heard)
            status, answer = recorder.answer(heard)
            self.send_response(status)
            for name, value in {"content-length": str(len(answer)), **recorder.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            return

    with threaded_server(Handler) as recorder.url:
        yield recorder
