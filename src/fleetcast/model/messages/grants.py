"""Grants: time-limited URLs for bulk data, on any blob store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from fleetcast.model.limits import BLOB_PARTS_MAX
from fleetcast.model.spelling import Natural


@dataclass(frozen=True, slots=True)
class Grant:
    """Send ``method`` to ``url`` with ``headers`` before ``expires_at_ms`` (UTC). Reads take a ``Range`` header."""

    method: str
    url: str
    expires_at_ms: Natural
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartReceipt:
    """What a store answered to one uploaded part; needed to complete the upload."""

    number: Annotated[int, Meta(ge=1, le=BLOB_PARTS_MAX)]
    size: Natural
    etag: str
