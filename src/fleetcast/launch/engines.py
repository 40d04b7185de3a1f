"""The engines that settings name, opened for a command that works on them itself, apart from any process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fleetcast.launch.database import database_address
from fleetcast.launch.key_values import etcd_of
from fleetcast.launch.store import s3_place
from fleetcast.model.errors import Invalid, NotFound

if TYPE_CHECKING:
    from fleetcast.launch.settings import ControlSettings, RegionSettings, Settings
    from fleetcast.stores.blobs import BlobStore
    from fleetcast.stores.database import Database
    from fleetcast.stores.kv import KeyValueStore


def control_of(settings: Settings, file: Path) -> ControlSettings:
    """Raises :class:`Invalid` where control runs elsewhere: only there is what it keeps."""
    if settings.control is None:
        raise Invalid("no_control", f"{file} has no [control] table: run this on control's host, or pass its --settings FILE")
    return settings.control


@asynccontextmanager
async def existing_database(control: ControlSettings) -> AsyncIterator[Database]:
    """Raises :class:`NotFound` instead of making a file, and as :meth:`Database.open`."""
    from fleetcast.stores.database import Database, database_url

    address = database_address(control)
    url = database_url(address)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise NotFound("no_database", f"there is no database {url.database}: pass --settings FILE of the installation meant")
    database = await Database.open(address)
    try:
        yield database
    finally:
        await database.close()


def has_kv(holder: ControlSettings | RegionSettings) -> bool:
    """Whether there is a key-value store already, as far as a look at this host tells."""
    return etcd_of(holder) is not None or (holder.directory / "kv.db").exists()


@asynccontextmanager
async def opened_kv(holder: ControlSettings | RegionSettings) -> AsyncIterator[KeyValueStore]:
    """The global store of control, or a region's own; made when it is missing. Raises as :func:`open_kv`."""
    from fleetcast.stores.kv_engines import open_kv

    kv = await open_kv(holder.directory / "kv.db", etcd_of(holder))
    try:
        yield kv
    finally:
        await kv.close()


@contextmanager
def opened_blobs(holder: ControlSettings | RegionSettings) -> Iterator[BlobStore]:
    """The main store of control, or a region's bucket; made when it is missing. Nothing is granted from it."""
    place = s3_place(holder)
    if place is not None:
        from fleetcast.stores.s3_bucket import s3_bucket

        with s3_bucket(place) as bucket:
            yield bucket.blobs
        return
    from fleetcast.stores.directory_blobs import DirectoryBlobs

    yield DirectoryBlobs(holder.directory / "bucket", data_url="", data_key=b"")
