"""Doors to engines: a database, a blob store, a key-value store. Bytes and rows, not deployments.

``blobs`` and ``kv`` say what an engine promises; ``database``, ``sqlite_kv`` and ``directory_blobs`` are the embedded
engines, which need nothing installed. ``data_port`` serves a directory's blobs to other processes by grant, ``data_port_blobs``
looks into one from afar, ``transfer`` moves bulk data by any grant. ``tests/contracts`` holds every engine to its door.
"""
