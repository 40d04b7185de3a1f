"""Triggers that are safe to repeat: the first request with a key makes something, every other one with it is shown that.

The key is the client's (header ``Idempotency-Key``). It is written in the transaction of what it triggers, so either both are
there or neither, whatever dies in between.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.errors import KeyReused
from fleetcast.model.limits import IDEMPOTENCY_KEY_LIFETIME_S
from fleetcast.schema.tables import idempotency_keys
from fleetcast.schema.upsert import insert_into
from fleetcast.stores.database import now_ms

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclasses.dataclass(frozen=True, slots=True)
class RequestKey:
    """One request to one operation, as its client named it."""

    operation: str
    key: str
    fingerprint: str
    """Of what was asked for: equal for equal requests."""


def request_key(operation: str, key: str | None, request: DataclassInstance) -> RequestKey | None:
    """``None`` for a request without a key: it triggers each time it comes."""
    if key is None:
        return None
    # What is at its default is left out: a control process that knows one field more gives the same fingerprint.
    said = {
        field.name: value
        for field in dataclasses.fields(request)
        if (value := getattr(request, field.name)) != field.default and field.name != "protocol"
    }
    fingerprint = hashlib.blake2s(msgspec.json.encode(said, order="deterministic")).hexdigest()
    return RequestKey(operation, key, fingerprint)


async def once(tx: AsyncConnection, key: RequestKey | None, trigger: Callable[[], Awaitable[str]]) -> str:
    """What ``trigger`` makes as part of ``tx``, by its id; for a key that came before, what was made then.

    A trigger that raises leaves no key behind: the next request with it is the first one.

    Raises:
        KeyReused: the key came with another request.
    """
    if key is None:
        return await trigger()
    # Before the trigger: of two at once, the second waits here for the first one's commit.
    ours = insert_into(tx, idempotency_keys).values(
        operation=key.operation, key=key.key, fingerprint=key.fingerprint, subject="", created_at=now_ms()
    )
    if (await tx.execute(ours.on_conflict_do_nothing().returning(idempotency_keys.c.key))).first() is not None:
        subject = await trigger()
        await tx.execute(update(idempotency_keys).where(*_row(key)).values(subject=subject))
        return subject
    earlier = (await tx.execute(select(idempotency_keys).where(*_row(key)))).one()
    if earlier.fingerprint != key.fingerprint:
        raise KeyReused(
            "idempotency_key_reused", f"the key {key.key!r} came with another request before: send each with a key of its own"
        )
    return str(earlier.subject)


async def forget_keys(tx: AsyncConnection) -> int:
    """Forget the keys that were first used ``IDEMPOTENCY_KEY_LIFETIME_S`` ago or earlier. Returns how many."""
    old = idempotency_keys.c.created_at < now_ms() - IDEMPOTENCY_KEY_LIFETIME_S * 1000
    return (await tx.execute(delete(idempotency_keys).where(old))).rowcount


def _row(key: RequestKey) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return idempotency_keys.c.operation == key.operation, idempotency_keys.c.key == key.key
