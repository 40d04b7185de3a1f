"""One libtorrent client: ``python -m bench.rivals.libtorrent_peer ORDER``, ORDER being an :class:`Order` as JSON.

Everything is up when the file ``ready`` exists. The end of the pipe ``go`` adds the torrent and introduces the peers; the file
``done`` exists once every piece is verified and in its place. Then it serves, until the end of the pipe ``lifeline``.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

LOOK_S = 0.02


@dataclass(frozen=True)
class Order:
    torrent: str
    directory: str
    """Where the content goes, or is."""
    seed: bool
    address: str
    port: int
    peers: tuple[tuple[str, int], ...]
    """Addresses and ports of the others; a seed waits for them."""
    session: dict[str, Any]
    ready: str
    done: str
    go: int
    lifeline: int


def main(order: Order) -> None:
    libtorrent: Any = importlib.import_module("libtorrent")  # without types: it is there for benchmarks only
    session = libtorrent.session({**order.session, "listen_interfaces": f"{order.address}:{order.port}"})
    wanted = libtorrent.load_torrent_file(order.torrent)
    wanted.save_path = order.directory
    wanted.flags &= ~libtorrent.torrent_flags.auto_managed & ~libtorrent.torrent_flags.paused
    if order.seed:
        wanted.flags |= libtorrent.torrent_flags.seed_mode
        session.add_torrent(wanted)
    Path(order.ready).touch()
    _await_end(order.go)
    if not order.seed:
        torrent = session.add_torrent(wanted)
        for peer in order.peers:
            torrent.connect_peer(peer)
        while not torrent.status().is_seeding:
            time.sleep(LOOK_S)
        Path(order.done).touch()
    threading.Event().wait()


def _await_end(pipe: int) -> None:
    while os.read(pipe, 1):
        pass


def _hold_on_to(lifeline: int) -> None:
    _await_end(lifeline)
    os._exit(0)  # not the orderly shutdown, which waits for trackers there are none of


if __name__ == "__main__":
    ordered = msgspec.json.decode(sys.argv[1], type=Order)
    threading.Thread(target=_hold_on_to, args=(ordered.lifeline,), daemon=True).start()
    main(ordered)
