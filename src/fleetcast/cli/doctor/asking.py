"""One question by HTTP, and what the answer tells of the clock of who gives it."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from fleetcast.cli.doctor.clocks import behind_date_s
from fleetcast.model.limits import ANSWER_BYTES_MAX

_SERVER_CHARS_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    server: str
    """What it calls itself; empty: nothing."""
    body: bytes = field(repr=False)
    clock_behind_s: float | None
    """How far this clock is behind (positive) or ahead of its, at least; ``None``: it did not say."""


def ask(url: str, path: str, *, timeout_s: float, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
    """Ask below ``url``. Raises ``OSError``, ``HTTPException`` and ``ValueError`` where that cannot be done."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.netloc, timeout=timeout_s, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
    try:
        connection.connect()
        before = time.time()
        connection.request(method, f"{parts.path.rstrip('/')}{path}", headers=dict(headers or {}))
        response = connection.getresponse()
        behind_s = behind_date_s(response.getheader("Date"), before, time.time())
        server = (response.getheader("Server") or "")[:_SERVER_CHARS_MAX]
        return Answer(response.status, server, response.read(ANSWER_BYTES_MAX), behind_s)
    finally:
        connection.close()
