"""A server on this machine that answers as Prometheus' HTTP API does, and as an endpoint of a service."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from threaded_server import threaded_server


@dataclass
class Prometheus:
    """``value``: of every query, as text; ``None``: no series matches it. ``answer``: to any other path, with its status."""

    url: str
    value: str | None = "0"
    more: tuple[str, ...] = ()
    """Of further series."""
    answer: Callable[[str], tuple[int, bytes]] = lambda _path: (200, b'{"ready": true, "lag": 3}')
    queries: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def result(self) -> dict[str, object]:
        values = [] if self.value is None else [self.value, *self.more]
        samples = [{"metric": {"instance": str(number)}, "value": [1764500000.5, text]} for number, text in enumerate(values)]
        return {"status": "success", "data": {"resultType": "vector", "result": samples}}


@contextlib.contextmanager
def prometheus() -> Iterator[Prometheus]:
    """Such a server, on loopback, for as long as the context is open."""
    played = Prometheus("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/api/v1/query":
                (query,) = parse_qs(parts.query)["query"]
                played.queries.append(query)
                # What Prometheus says of a query that it cannot parse.
                bad = {"status": "error", "errorType": "bad_data", "error": "1:5: parse error: unexpected end of input"}
                found = (400, bad) if query.endswith("(") else (200, played.result())
                status, body = found[0], json.dumps(found[1]).encode()
            else:
                played.paths.append(self.path)
                status, body = played.answer(self.path)
            self.send_response(status)
            if status == 302:
                self.send_header("location", "/elsewhere")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            return

    with threaded_server(Handler) as played.url:
        yield played
