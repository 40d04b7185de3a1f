"""A plain copy to compare with: one stream out of a store, written as it comes; nothing is verified and nothing resumed.

``python -m bench.replicate.plain`` reads a job from standard input: a JSON object with the ``grant`` that is read, how many
``bytes`` that is, and where to: a ``file``, or ``parts``, grants of the parts of an upload.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from fleetcast.model.limits import BLOB_PART_BYTES
from fleetcast.model.messages.grants import Grant
from fleetcast.stores.transfer import GrantConnection


def copy(job: dict[str, Any]) -> None:
    """Raises :class:`FleetcastError`, :class:`OSError`."""
    size, buffer = job["bytes"], memoryview(bytearray(BLOB_PART_BYTES))
    with GrantConnection() as source, GrantConnection() as target, source.reading(_grant(job["grant"]), 0, size) as fill:
        file = os.open(job["file"], os.O_WRONLY | os.O_CREAT, 0o600) if "file" in job else -1
        for number, at in enumerate(range(0, size, BLOB_PART_BYTES)):
            piece = buffer[: min(BLOB_PART_BYTES, size - at)]
            fill(piece)
            if file < 0:
                target.write(_grant(job["parts"][number]), piece)
            else:
                os.write(file, piece)
        if file >= 0:
            os.fsync(file)
            os.close(file)


def _grant(url: str) -> Grant:
    return Grant("GET" if "uploadId" not in url else "PUT", url, 0)


if __name__ == "__main__":
    copy(json.load(sys.stdin))
