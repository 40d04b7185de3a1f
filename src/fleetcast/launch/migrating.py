"""Moving what an installation keeps from the engines that its settings name to those that other settings name.

Blobs go first, then keys, then the tables in one transaction: until that has ended, nothing is lost by doing all of it again.
Nothing of the engines of now is changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from fleetcast.backups.blob_copies import Amount, Compared, compare, copy_blobs
from fleetcast.backups.moving import check_keys, check_target, move_keys, move_tables
from fleetcast.backups.restoring import running_refused, verified
from fleetcast.backups.taking import take_backup
from fleetcast.launch.database import database_address
from fleetcast.launch.engines import existing_database, has_kv, opened_blobs, opened_kv
from fleetcast.launch.key_values import etcd_of
from fleetcast.launch.restoring import refuse_listening
from fleetcast.launch.settings import ControlSettings, RegionSettings, Settings
from fleetcast.launch.store import s3_place
from fleetcast.model.errors import Invalid, Refused
from fleetcast.schema.upgrade import schema_transaction

if TYPE_CHECKING:
    from fleetcast.stores.blobs import BlobStat

CONTROL: Final = "control"
"""What control's stores are called; a region's are ``regions/NAME``, as their directories are by default."""
_DRAFT: Final = "migrating.backup"

Holder = ControlSettings | RegionSettings
Tell = Callable[[str, Amount, Amount], None]
"""Hears of each store's name, how much of it is verified, and of how much."""


@dataclass(slots=True)
class Moved:
    """Counted where it is now. What both settings name is in none of these."""

    rows: int | None = None
    """``None``: both settings name the same database."""
    builds_requeued: int = 0
    keys: dict[str, int] = field(default_factory=dict)
    """By store."""
    blobs: dict[str, Amount] = field(default_factory=dict)
    """By store."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    name: str
    now: Holder
    then: Holder

    @property
    def moves_keys(self) -> bool:
        return _keys_at(self.now) != _keys_at(self.then) and has_kv(self.now)

    @property
    def moves_blobs(self) -> bool:
        there = s3_place(self.now) is not None or (self.now.directory / "bucket").exists()
        return there and _blobs_at(self.now) != _blobs_at(self.then)


def migrate(now: Settings, then: Settings, tell: Tell) -> Moved:
    """Blocking.

    Raises:
        Invalid: settings that do not belong together.
        Refused: something runs, there is nothing to move, or a new engine has something in it.
        Corrupt: a new engine does not give back what was written into it.
    """
    assert now.control is not None
    assert then.control is not None
    pairs = [_Pair(CONTROL, now.control, then.control), *_regions(now, then)]
    moves_tables = database_address(now.control) != database_address(then.control)
    moving = [pair for pair in pairs if pair.moves_keys or pair.moves_blobs or (pair is pairs[0] and moves_tables)]
    if not moving:
        raise Refused("nothing_to_move", "both settings name the same engines: name others in the new ones")
    for pair in dict.fromkeys((pairs[0], *moving)):
        refuse_listening(pair.now)
        refuse_listening(pair.then)
    then.control.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    asyncio.run(_refuse_running(now.control))
    if moves_tables:
        check_target(database_address(then.control))
    asyncio.run(_check_keys(pairs))
    wanted = {pair: asyncio.run(_compared(pair)).wanted for pair in pairs if pair.moves_blobs}
    for pair, amount in wanted.items():
        asyncio.run(_copy(pair, amount, tell))
    moved = Moved()
    with _nobody_starts(now.control) as still_there:
        asyncio.run(_move_keys(pairs, moved))
        for pair in wanted:
            moved.blobs[pair.name] = _all_there(pair, asyncio.run(_compared(pair)))
        still_there()
        if moves_tables:
            _move_tables(now.control, then.control, moved, still_there)
    return moved


def _regions(now: Settings, then: Settings) -> Sequence[_Pair]:
    """Raises :class:`Invalid` where one of the settings has a region that the other one has not."""
    regions: Mapping[str, RegionSettings] = {region.name: region for region in then.regions}
    if differing := set(regions) ^ {region.name for region in now.regions}:
        raise Invalid(
            "other_regions", f"only one of the two settings has a [[region]] {min(differing)!r}: name the same ones in both"
        )
    return [_Pair(f"regions/{region.name}", region, regions[region.name]) for region in now.regions]


def _keys_at(holder: Holder) -> object:
    """Equal for equal places, however one gets in."""
    etcd = etcd_of(holder)
    return holder.directory if etcd is None else (etcd.servers, etcd.prefix)


def _blobs_at(holder: Holder) -> object:
    place = s3_place(holder)
    return holder.directory if place is None else place.address


async def _refuse_running(control: ControlSettings) -> None:
    async with existing_database(control) as database, database.reading() as reading:
        await reading.run_sync(running_refused)


@contextmanager
def _nobody_starts(control: ControlSettings) -> Iterator[Callable[[], None]]:
    """No control process begins to work on this database meanwhile. What is yielded raises where that was not so."""
    with schema_transaction(database_address(control)) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))

        def still_there() -> None:
            running_refused(connection)

        still_there()
        yield still_there


async def _check_keys(pairs: Sequence[_Pair]) -> None:
    for pair in pairs:
        if pair.moves_keys:
            async with opened_kv(pair.now) as source, opened_kv(pair.then) as target:
                await check_keys(source, target)


async def _move_keys(pairs: Sequence[_Pair], moved: Moved) -> None:
    for pair in pairs:
        if pair.moves_keys:
            async with opened_kv(pair.now) as source, opened_kv(pair.then) as target:
                moved.keys[pair.name] = await move_keys(source, target)
                await check_keys(source, target)


async def _compared(pair: _Pair) -> Compared:
    with opened_blobs(pair.now) as source, opened_blobs(pair.then) as target:
        return await compare(source, target)


async def _copy(pair: _Pair, wanted: Amount, tell: Tell) -> None:
    done = Amount()

    def one(blob: BlobStat) -> None:
        nonlocal done
        done = done.plus(blob)
        tell(pair.name, done, wanted)

    with opened_blobs(pair.now) as source, opened_blobs(pair.then) as target:
        await copy_blobs(source, target, one)


def _all_there(pair: _Pair, found: Compared) -> Amount:
    """How much is in the new store. Raises :class:`Refused` where that is not all."""
    if found.missing.blobs:
        raise Refused(
            "changed_meanwhile",
            f"{found.missing.blobs} blobs came into the store {pair.name} meanwhile: see that nothing runs, and do this again",
        )
    return found.wanted


def _move_tables(now: ControlSettings, then: ControlSettings, moved: Moved, still_there: Callable[[], None]) -> None:
    draft = then.directory / _DRAFT
    draft.unlink(missing_ok=True)  # of somebody who was killed

    async def take() -> None:
        async with existing_database(now) as database, opened_kv(then) as kv:
            await take_backup(database, kv, draft)

    try:
        asyncio.run(take())
        backup = verified(draft)
        requeued = move_tables(database_address(then), backup, still_there)
    finally:
        draft.unlink(missing_ok=True)
    moved.rows, moved.builds_requeued = backup.rows, requeued or 0
