"""Which engine is behind the key-value door: the embedded one in a file, or an etcd cluster."""

from __future__ import annotations

from pathlib import Path

from fleetcast.stores.etcd_access import EtcdAccess
from fleetcast.stores.kv import KeyValueStore


async def open_kv(path: Path, etcd: EtcdAccess | None) -> KeyValueStore:
    """The store on ``etcd``, or without one in ``path``, made when it is missing.

    Raises:
        Unavailable: no server answers, or the file fails.
        Invalid, NotFound: a file that ``etcd`` names cannot be used.
    """
    # Each engine loads only what it needs: an HTTP client, or SQLite.
    if etcd is not None:
        from fleetcast.stores.etcd_kv import EtcdKv

        return await EtcdKv.open(etcd)
    from fleetcast.stores.sqlite_kv import SqliteKv

    return await SqliteKv.open(path)
