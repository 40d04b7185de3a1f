"""Grants: time-limited URLs for bulk data, on any blob store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Grant:
    """Send ``method`` to ``url`` with ``headers`` before ``expires_at_ms`` (UTC). Reads take a ``Range`` header."""

    method: str
    url: str
    expires_at_ms: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartReceipt:
    """What a store answered to one uploaded part; needed to complete the upload."""

    number: int
    """From 1."""
    size: int
    etag: str
