"""The global KV as regions read it: page by page, as changes where history allows, as a snapshot where not."""

from __future__ import annotations

import structlog

from fleetcast.model.errors import Compacted
from fleetcast.model.messages.regions import KvEntry, KvPage
from fleetcast.stores.kv import Change, Changes, KeyValueStore

log = structlog.get_logger(__name__)


async def page(kv: KeyValueStore, prefix: str, after: int, wait_s: float) -> KvPage:
    """What happened under ``prefix`` after revision ``after``, waiting up to ``wait_s`` for something.

    A snapshot when ``after`` is 0, compacted away, or of a future that this store has not seen (it was made anew).
    """
    if after > 0:
        try:
            return _of_changes(await kv.changes(prefix, after, wait_s=wait_s))
        except Compacted as gone:
            log.info("kv_page_from_snapshot", prefix=prefix, after=after, reason=gone.message)
    snapshot = await kv.range(prefix)
    return KvPage(
        revision=snapshot.revision,
        snapshot=True,
        entries=tuple(KvEntry(entry.key, _text(entry.value), entry.mod_revision) for entry in snapshot.entries),
    )


def _of_changes(changes: Changes) -> KvPage:
    newest: dict[str, Change] = {change.key: change for change in changes.changes}
    return KvPage(
        revision=changes.revision,
        snapshot=False,
        entries=tuple(
            KvEntry(change.key, _text(change.value), change.mod_revision)
            for change in newest.values()
            if change.value is not None
        ),
        deleted=tuple(change.key for change in newest.values() if change.value is None),
    )


def _text(value: bytes) -> str:
    """What is no text was written by nobody of ours. It goes out as no value at all, for a region to refuse: all others are to
    reach it."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return ""


async def compact(kv: KeyValueStore, history_revisions: int) -> None:
    """Keep ``history_revisions`` behind the newest revision. Who reads less often takes a snapshot."""
    newest = (await kv.range("\0")).revision  # no such key: only the revision is wanted
    if newest > history_revisions:
        await kv.compact(newest - history_revisions)
