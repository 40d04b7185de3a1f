"""Real processes, killed with SIGKILL in the middle of what they do; and what a power failure leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from blake3 import blake3

from fleetcast.model.errors import Invalid, NotFound, Unavailable
from fleetcast.model.messages.grants import PartReceipt
from fleetcast.stores.blob_files import BlobFiles
from fleetcast.stores.data_grants import GrantedPart, grant_part
from fleetcast.stores.directory_blobs import DirectoryBlobs
from fleetcast.stores.sqlite_kv import SqliteKv
from fleetcast.stores.transfer import GrantConnection
from fleetcast.stores.upload_files import UploadFiles

PART_BYTES = 100_000
KEY = b"k" * 32


def part(number: int) -> bytes:
    """What part ``number`` holds, in this process and in its children."""
    return blake3(str(number).encode()).digest(length=PART_BYTES)


@contextmanager
def child(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        with process:
            yield process
            process.kill()
    finally:
        process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    text = process.stdout.readline().strip()
    assert text, "the child ended early"
    return text


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


UPLOADING = """
import asyncio, sys
from pathlib import Path
from blake3 import blake3
from fleetcast.stores.directory_blobs import DirectoryBlobs

async def main(root, part_bytes):
    store = DirectoryBlobs(root, data_url="http://127.0.0.1:1", data_key=b"k", part_bytes=part_bytes)
    upload = await store.begin("builds/1/1/content")
    print(upload, flush=True)
    number = 0
    while True:
        number += 1
        data = blake3(str(number).encode()).digest(length=part_bytes)
        await store.write_part("builds/1/1/content", upload, number, memoryview(data))
        print(number, flush=True)

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


@pytest.mark.parametrize("seen", [1, 7, 20])
async def test_an_upload_goes_on_after_its_process_is_killed(tmp_path: Path, seen: int) -> None:
    with child(UPLOADING, tmp_path, PART_BYTES) as process:
        upload = line(process)
        for number in range(1, seen + 1):
            assert int(line(process)) == number
        kill(process)
    store = DirectoryBlobs(tmp_path, data_url="http://127.0.0.1:1", data_key=KEY, part_bytes=PART_BYTES)
    assert await store.stat("builds/1/1/content") is None
    assert [blob async for blob in store.list("")] == []
    there = await store.parts("builds/1/1/content", upload)
    assert [receipt.number for receipt in there[:seen]] == list(range(1, seen + 1)), "what was acknowledged is there"
    assert all(receipt.etag == blake3(part(receipt.number)).hexdigest() for receipt in there)
    missing = len(there) + 1
    last = await store.write_part("builds/1/1/content", upload, missing, memoryview(part(missing)))
    await store.complete("builds/1/1/content", upload, [*there, last])
    assert await store.read("builds/1/1/content") == b"".join(part(number) for number in range(1, missing + 1))


SERVING = """
import sys
from pathlib import Path
from fleetcast.stores.data_port import DataPort

port = DataPort(Path(sys.argv[1]), b"k" * 32, "127.0.0.1", int(sys.argv[2]))
port.start()
print("port", port.port, flush=True)
sys.stdin.read()
"""


def serving_port(process: subprocess.Popen[str]) -> int:
    while not (text := line(process)).startswith("port "):
        pass
    return int(text.split()[1])


def test_a_sender_goes_on_when_the_data_port_was_killed_and_came_back(tmp_path: Path) -> None:
    files = BlobFiles(tmp_path)
    files.prepare()
    uploads = UploadFiles(files)
    upload = uploads.begin("content", PART_BYTES)
    with GrantConnection() as connection:

        def send(number: int) -> PartReceipt:
            grant = grant_part(url, KEY, GrantedPart(upload, number, PART_BYTES), 4_000_000_000_000)
            return PartReceipt(number, PART_BYTES, connection.write(grant, memoryview(part(number))))

        with child(SERVING, tmp_path, 0) as process:
            port = serving_port(process)
            url = f"http://127.0.0.1:{port}"
            receipts = [send(1), send(2)]
            kill(process)
            with pytest.raises(Unavailable):
                send(3)
        with child(SERVING, tmp_path, port) as process:
            assert serving_port(process) == port
            assert uploads.record(upload).parts == tuple(receipts)
            receipts.append(send(3))
    uploads.complete("content", upload, receipts)
    with files.open("content") as file:
        assert file.read() == part(1) + part(2) + part(3)


WRITING = """
import asyncio, sys
from pathlib import Path
from fleetcast.stores.sqlite_kv import SqliteKv

async def main(path):
    kv = await SqliteKv.open(path)
    while True:
        print(await kv.put("key", b"x" * 1000), flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_key_value_store_keeps_what_a_killed_process_wrote(tmp_path: Path) -> None:
    with child(WRITING, tmp_path / "kv") as process:
        while (acknowledged := int(line(process))) < 30:
            pass
        kill(process)
    kv = await SqliteKv.open(tmp_path / "kv")
    snapshot = await kv.range("")
    assert snapshot.revision >= acknowledged
    assert snapshot.entries[0].mod_revision == snapshot.entries[0].version == snapshot.revision
    assert await kv.put("key", b"", expected=snapshot.revision) == snapshot.revision + 1
    await kv.close()


COUNTING = """
import asyncio, sys
from pathlib import Path
from fleetcast.model.errors import Conflict
from fleetcast.stores.sqlite_kv import SqliteKv

async def main(path, times):
    kv = await SqliteKv.open(path)
    print("open", flush=True)
    sys.stdin.readline()
    lost = 0
    while times:
        entry = await kv.get("counter")
        value, revision = (int(entry.value), entry.mod_revision) if entry else (0, 0)
        try:
            await kv.put("counter", str(value + 1).encode(), expected=revision)
            times -= 1
        except Conflict:
            lost += 1
    print("lost", lost, flush=True)
    await kv.close()

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


async def test_two_processes_open_a_new_store_at_once_and_no_swap_is_lost(tmp_path: Path) -> None:
    with child(COUNTING, tmp_path / "kv", 100) as one, child(COUNTING, tmp_path / "kv", 100) as two:
        for process in (one, two):
            assert line(process) == "open"
        for process in (one, two):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert line(one).startswith("lost")
        assert line(two).startswith("lost")
    kv = await SqliteKv.open(tmp_path / "kv")
    entry = await kv.get("counter")
    assert entry is not None
    assert (entry.value, entry.version) == (b"200", 200)
    await kv.close()


@pytest.fixture
def uploads(tmp_path: Path) -> UploadFiles:
    files = BlobFiles(tmp_path)
    files.prepare()
    return UploadFiles(files)


def test_a_completion_killed_after_the_blob_appeared_can_be_repeated(uploads: UploadFiles, tmp_path: Path) -> None:
    upload = uploads.begin("a", PART_BYTES)
    receipt = uploads.write_part(upload, 1, memoryview(b"data"))
    os.link(tmp_path / "uploads" / upload, tmp_path / "blobs/a")  # and then it was killed
    with pytest.raises(NotFound):
        uploads.write_part(upload, 1, memoryview(b"evil"))
    assert uploads.complete("a", upload, [receipt]).size == 4
    assert (tmp_path / "blobs/a").read_bytes() == b"data"


@pytest.mark.parametrize("torn", ["\n2 10", "\n", "\n2 100000 " + "0" * 63, "\0\0\0\0", "\n1 ", "\nüü"])
def test_a_record_cut_short_by_a_power_failure_loses_that_part_only(uploads: UploadFiles, tmp_path: Path, torn: str) -> None:
    upload = uploads.begin("a", PART_BYTES)
    first = uploads.write_part(upload, 1, memoryview(part(1)))
    with open(tmp_path / "uploads" / f"{upload}.parts", "ab") as record:
        record.write(torn.encode())
    assert uploads.record(upload).parts == (first,)
    second = uploads.write_part(upload, 2, memoryview(b"end"))
    assert uploads.record(upload).parts == (first, second)


def test_a_blob_is_on_disk_before_it_has_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of what the disk is told, as the calls really made."""
    calls: list[tuple[str, str]] = []

    def watch(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: object) -> object:
            of = arguments[0] if isinstance(arguments[0], str | Path) else Path(f"/proc/self/fd/{arguments[0]}").readlink()
            calls.append((name, str(Path(str(of)).relative_to(tmp_path))))
            return real(*arguments)

        monkeypatch.setattr(os, name, call)

    files = BlobFiles(tmp_path)
    files.prepare()
    uploads = UploadFiles(files)
    upload = uploads.begin("a/b", PART_BYTES)
    for name in ("fsync", "fdatasync", "link"):
        watch(name)
    receipt = uploads.write_part(upload, 1, memoryview(b"data"))
    assert calls == [("fdatasync", f"uploads/{upload}")]
    uploads.complete("a/b", upload, [receipt])
    assert calls[1:] == [
        ("fsync", f"uploads/{upload}"),
        ("link", f"uploads/{upload}"),
        ("fsync", "blobs/a"),
        ("fsync", "blobs"),
    ]


async def test_a_writer_that_comes_late_never_touches_a_blob(tmp_path: Path) -> None:
    """One thread keeps replacing a part while the upload is completed: the blob is one of the two versions, whole."""
    store = DirectoryBlobs(tmp_path, data_url="http://127.0.0.1:1", data_key=KEY, part_bytes=PART_BYTES)
    uploads = UploadFiles(BlobFiles(tmp_path))
    for turn in range(10):
        key = f"blob-{turn}"
        upload = await store.begin(key)
        receipt = await store.write_part(key, upload, 1, memoryview(part(1)))
        started = threading.Event()

        def replace_until_refused(upload: str = upload, started: threading.Event = started) -> None:
            number = 1
            while True:
                number = 3 - number
                try:
                    uploads.write_part(upload, 1, memoryview(part(number)))
                except NotFound:
                    return
                started.set()

        replacing = asyncio.create_task(asyncio.to_thread(replace_until_refused))
        await asyncio.to_thread(started.wait, 10)
        completed = None
        while completed is None:
            receipt = (await store.parts(key, upload))[0]
            with suppress(Invalid):  # replaced since we asked
                completed = await store.complete(key, upload, [receipt])
        await replacing
        assert blake3(await store.read(key)).hexdigest() == receipt.etag
    assert list((tmp_path / "uploads").iterdir()) == []
