"""A bucket of an S3-compatible store, opened: for its own process by the blob door, for a data port that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import token_hex

from fleetcast.model.errors import Refused
from fleetcast.model.limits import BLOB_PART_BYTES
from fleetcast.stores.s3_blobs import S3Blobs
from fleetcast.stores.s3_credentials import S3Place
from fleetcast.stores.s3_lanes import Lanes
from fleetcast.stores.s3_objects import S3Objects
from fleetcast.stores.served_s3 import ServedS3


@dataclass(frozen=True, slots=True)
class S3Bucket:
    blobs: S3Blobs
    served: ServedS3


@contextmanager
def s3_bucket(place: S3Place, *, part_bytes: int = BLOB_PART_BYTES) -> Iterator[S3Bucket]:
    """Nothing is asked of the store before the first call: a process starts without it."""
    # Slow readers of a data port take no lane from who fills the bucket.
    objects, lanes, serving = S3Objects(place.address, place.credentials), Lanes(), Lanes()
    blobs = S3Blobs(objects, lanes, part_bytes=part_bytes)
    try:
        yield S3Bucket(blobs, ServedS3(objects, serving))
    finally:
        blobs.close()
        lanes.close()
        serving.close()
        objects.close()


def probe(place: S3Place) -> None:
    """Do there what a process does, with a small object that is gone afterwards.

    Raises:
        Unavailable: it cannot be reached or used, or may not be.
        Refused: it does what it is asked, but not as it must.
    """
    objects, key = S3Objects(place.address, place.credentials), f"doctor/{token_hex(8)}"
    try:
        objects.put(key, b"first")
        try:
            if objects.create(key, b"again"):
                raise Refused("store_overwrites", f"{place.address} ignores If-None-Match: it overwrites what is there")
            if [(blob.key, blob.size) for blob in objects.walk(key)] != [(key, len(b"first"))]:
                raise Refused("store_lists_late", f"{place.address} does not list what was just written")
        finally:
            objects.delete(key)
        upload = objects.begin(key)
        try:
            objects.parts(key, upload)
        finally:
            objects.abort(key, upload)
    finally:
        objects.close()
