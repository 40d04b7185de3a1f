"""What is in the way of an etcd cluster, in words that say what to do.

The codes are gRPC's, the words etcd's (``rpctypes``).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from fleetcast.model.errors import Compacted, FleetcastError, Invalid, Unavailable
from fleetcast.stores.etcd_messages import Problem

_WORDS_MAX: Final = 200


class _Code(IntEnum):
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    OUT_OF_RANGE = 11
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


def is_away(problem: Problem) -> bool:
    """Whether another server may do better: this one has no leader, stops, or took too long."""
    return _code(problem) in (_Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED)


def surely_not_done(problem: Problem) -> bool:
    """Of what :func:`is_away`: whether it was refused before it was tried."""
    return "no leader" in problem.message


def wants_new_token(problem: Problem) -> bool:
    """Tokens expire, and end with every change of users."""
    return _code(problem) == _Code.UNAUTHENTICATED or "auth store is old" in problem.message


def refusal(problem: Problem, place: str) -> FleetcastError:
    """What a server answered instead of doing what it was asked for."""
    words = said(problem.message)
    match _code(problem):
        case _Code.OUT_OF_RANGE if "future" in words:
            return Invalid("future_revision", "that revision is yet to come: compact less")
        case _Code.OUT_OF_RANGE:
            return Compacted("compacted", "history since that revision is gone: take a snapshot, go on from there")
        case _Code.PERMISSION_DENIED:
            advice = "grant its role readwrite on the prefix of kv_url"
            return Unavailable("kv_refused", f"etcd at {place} does not let this user read or write there ({words}): {advice}")
        case _Code.UNAUTHENTICATED | _Code.INVALID_ARGUMENT | _Code.FAILED_PRECONDITION if (
            "auth" in words or "user" in words or "password" in words
        ):
            advice = "correct user and password in kv_user_file"
            return Unavailable("kv_refused", f"etcd at {place} does not let us in ({words}): {advice}")
        case _Code.RESOURCE_EXHAUSTED if "space" in words:
            advice = "compact and defragment it, raise its --quota-backend-bytes, then etcdctl alarm disarm"
            return Unavailable("no_room", f"etcd at {place} has no room left: {advice}")
        case _Code.RESOURCE_EXHAUSTED:
            return Unavailable("kv_busy", f"etcd at {place} has too much to do ({words}): try again")
        case _Code.INVALID_ARGUMENT if "too large" in words:
            return Unavailable(
                "kv_refused", f"etcd at {place} takes no value as large ({words}): raise its --max-request-bytes"
            )
        case _:
            return Unavailable("kv_refused", f"etcd at {place} does not do what it is asked ({words}): look into its log")


def away(reason: str, place: str) -> Unavailable:
    """No server answers, or none that can."""
    if "SSL" in reason or "certificate" in reason.lower():
        advice = "correct kv_ca_file, kv_certificate_file and kv_key_file"
        return Unavailable("kv_untrusted", f"no trust between us and etcd at {place} ({said(reason)}): {advice}")
    advice = "are its servers running, with a leader, and with TLS if kv_url says etcds://?"
    return Unavailable("kv_away", f"no answer from the key-value store, etcd at {place} ({said(reason)}): {advice}")


def crowded(place: str) -> Unavailable:
    """All connections of this process are in use, and stayed so."""
    return Unavailable("kv_busy", f"too much of this process waits for etcd at {place}: try again")


def unanswered(reason: str, place: str) -> Unavailable:
    """A write went out and no answer came back."""
    return Unavailable(
        "kv_unanswered", f"etcd at {place} did not say whether it took a write ({said(reason)}): read it again, then decide"
    )


def not_etcd(status: int, place: str) -> Unavailable:
    """Something answers there that does not speak as etcd does."""
    advice = "correct kv_url (etcds:// where it has TLS), and leave its gRPC gateway on"
    return Unavailable("kv_not_etcd", f"{place} does not answer as etcd 3.4 or newer does (status {status}): {advice}")


def said(words: str) -> str:
    """What a server or a library says, on one line."""
    return " ".join(words.split()).removeprefix("etcdserver: ")[:_WORDS_MAX].rstrip(".:; ") or "it broke off"


def _code(problem: Problem) -> int:
    return problem.code or problem.grpc_code
