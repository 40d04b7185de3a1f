"""What the doctor says: one verdict a line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    says: str
    """What was found."""
    advice: str = ""
    """What to do about it; empty when all is well."""


def ok(name: str, says: str) -> Check:
    return Check(name, Verdict.OK, says)


def warn(name: str, says: str, advice: str) -> Check:
    return Check(name, Verdict.WARN, says, advice)


def fail(name: str, says: str, advice: str) -> Check:
    return Check(name, Verdict.FAIL, says, advice)
