"""Whether a push is news. Webhooks come late, twice and in any order; the commit that was pushed last is what counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from fleetcast.model.limits import PASSED_HEADS_MAX
from fleetcast.model.push import Push


class Verdict(StrEnum):
    NEWS = "news"
    KNOWN = "known"
    """The branch was seen there already: it was heard of twice, or by a look and by a webhook."""
    OVERTAKEN = "overtaken"
    """A later push was seen first."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a branch."""

    sha: str
    passed: tuple[str, ...] = ()
    """Where it was before that, newest first, as far as pushes have told; at most ``PASSED_HEADS_MAX``."""
    pushed_at_ms: int | None = None


def judge(known: Head | None, push: Push) -> Verdict:
    """A push that begins where the branch was seen follows, whatever clocks say: a branch may go back to where it was.

    Admitted: of three pushes that come as the third, the first, the second, and whose server states no time, the first is taken
    for news. Services that are polled too do not rest on this: a webhook only makes control look.
    """
    if known is None:
        return Verdict.NEWS
    if push.head == known.sha:
        return Verdict.KNOWN
    if push.before == known.sha:
        return Verdict.NEWS
    ours_ms, its_ms = known.pushed_at_ms, push.pushed_at_ms
    if ours_ms is not None and its_ms is not None and ours_ms != its_ms:
        return Verdict.OVERTAKEN if its_ms < ours_ms else Verdict.NEWS
    return Verdict.OVERTAKEN if push.head in known.passed else Verdict.NEWS


def remembered(known: Head | None, push: Push, verdict: Verdict) -> Head:
    """What is known of the branch from then on."""
    if verdict is Verdict.KNOWN and known is not None:
        return known
    if known is None:
        return Head(push.head, (push.before,), push.pushed_at_ms)
    if verdict is Verdict.NEWS:
        return Head(push.head, _bounded((known.sha, push.before, *known.passed)), push.pushed_at_ms)
    return replace(known, passed=_bounded((push.head, push.before, *known.passed)))


def _bounded(heads: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(heads))[:PASSED_HEADS_MAX]
