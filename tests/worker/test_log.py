"""The log arrives whole, in order, in pieces that may be repeated, and no longer than it may be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fleetcast.model.limits import BUILD_LOG_PIECE_BYTES_MAX
from fleetcast.worker.log import AttemptLog


class Receiver:
    """Takes pieces as control does: by offset, what is known is ignored."""

    def __init__(self) -> None:
        self.data = b""
        self.calls = 0

    async def take(self, offset: int, text: str) -> None:
        assert offset <= len(self.data)
        encoded = text.encode()
        assert len(encoded) <= BUILD_LOG_PIECE_BYTES_MAX
        self.data += encoded[len(self.data) - offset :]
        self.calls += 1


async def sent(log: AttemptLog) -> str:
    receiver = Receiver()
    pump = asyncio.create_task(log.pump(receiver.take))
    await asyncio.wait_for(log.drain(), 5)
    pump.cancel()
    log.close()
    return receiver.data.decode()


async def test_text_arrives_whatever_the_pieces_it_was_written_in(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log")
    text = "größer → 🚀\n" * 40_000
    encoded = text.encode()
    for start in range(0, len(encoded), 9973):
        log.write(encoded[start : start + 9973])
    assert await sent(log) == text


async def test_undecodable_bytes_are_replaced(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log")
    log.write(b"before \xff\xfe after")
    assert await sent(log) == "before �� after"


async def test_our_own_lines_stand_out(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log")
    log.line("build: make")
    assert await sent(log) == "==> build: make\n"


async def test_of_a_log_that_is_too_long_beginning_and_end_are_kept(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log", bytes_max=20_000)
    for number in range(1000):
        log.write(f"{number} {'ä' * 50}\n".encode())
    log.finish()
    log.line("failed: the build command exited 1")
    received = await sent(log)
    assert len(received.encode()) <= 20_000
    assert received.startswith("0 ä")
    head, notice, end = received.partition("\n==> the log is too long: only its end is kept from here on\n")
    assert notice
    assert len(head.encode()) > 10_000
    assert end.endswith(f"999 {'ä' * 50}\n==> failed: the build command exited 1\n")


async def test_a_log_of_one_endless_line_keeps_its_end_too(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log", bytes_max=10_000)
    log.write("ä".encode() * 50_000)
    log.write(b"the end")
    log.finish()
    assert (await sent(log)).endswith("äthe end\n")


async def test_it_is_followed_while_it_is_written(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log")
    receiver = Receiver()
    arrived = asyncio.Event()

    async def take(offset: int, text: str) -> None:
        await receiver.take(offset, text)
        arrived.set()

    pump = asyncio.create_task(log.pump(take))
    for word in (b"one ", b"two ", b"three"):
        arrived.clear()
        log.write(word)
        await asyncio.wait_for(arrived.wait(), 5)
        assert receiver.data.endswith(word)
    assert not pump.done()
    pump.cancel()
    log.close()


async def test_an_error_of_the_receiver_ends_it(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log")
    log.write(b"text")

    async def refuse(offset: int, text: str) -> None:
        raise PermissionError("void")

    with pytest.raises(PermissionError):
        await log.pump(refuse)
    log.close()
