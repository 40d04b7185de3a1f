"""A TCP proxy in front of a port, which lets through as many bytes as it is told: states that would pass in a moment stay."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

BLOCK_BYTES = 64 * 1024


class Direction:
    """One way through a valve, all connections together."""

    def __init__(self) -> None:
        self.passed = 0
        """Bytes so far."""
        self._left: int | None = None
        self._changed = threading.Condition()

    def hold_after(self, count: int) -> None:
        """Let ``count`` more bytes through; what comes after them waits."""
        with self._changed:
            self._left = count
            self._changed.notify_all()

    def open(self) -> None:
        with self._changed:
            self._left = None
            self._changed.notify_all()

    def wake(self) -> None:
        """Somebody's connection has ended."""
        with self._changed:
            self._changed.notify_all()

    def take(self, wanted: int, ended: Callable[[], bool]) -> int:
        """How many bytes may pass, at least 1; 0: the connection has ended while it waited."""
        with self._changed:
            self._changed.wait_for(lambda: ended() or self._left is None or self._left > 0)
            if ended():
                return 0
            count = wanted if self._left is None else min(wanted, self._left)
            if self._left is not None:
                self._left -= count
            self.passed += count
            return count


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket, valve: Valve) -> None:
        self._sockets = (client, server)
        self._valve = valve
        self._ended = threading.Event()
        self._pumps = [
            threading.Thread(target=self._pump, args=pump, daemon=True)
            for pump in ((client, server, valve.up), (server, client, valve.down))
        ]
        for thread in self._pumps:
            thread.start()
        threading.Thread(target=self._close, daemon=True).start()

    def end(self) -> None:
        self._ended.set()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._valve.up.wake()
        self._valve.down.wake()

    def _pump(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        with contextlib.suppress(OSError):
            while data := memoryview(source.recv(BLOCK_BYTES)):
                while data and (count := direction.take(len(data), self._ended.is_set)):
                    sink.sendall(data[:count])
                    data = data[count:]
                if data:
                    break
        # Nobody here closes one half and goes on with the other.
        self.end()

    def _close(self) -> None:
        for thread in self._pumps:
            thread.join()
        for sock in self._sockets:
            sock.close()


class Valve:
    """``up`` leads to the port, ``down`` back to whoever connected. Open at first."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """Nobody need listen there yet."""
        self.up = Direction()
        self.down = Direction()
        self.refused = 0
        """Connections so far that led nowhere."""
        self._address = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[_Connection] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def open(self) -> None:
        self.up.open()
        self.down.open()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._connections:
            connection.end()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._address)
            except OSError:  # who should listen there is dead: so is the connection
                self.refused += 1
                client.close()
                continue
            self._connections.append(_Connection(client, server, self))
