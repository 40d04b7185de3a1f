"""Outside checks: what else is asked, while a wave bakes, whether a release is well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from fleetcast.model.limits import (
    CHECK_EVERY_S_MAX,
    CHECK_EVERY_S_MIN,
    CHECK_FAILURES_MAX,
    CHECK_FIELDS_MAX,
    CHECK_TEXT_CHARS_MAX,
    CHECK_WORDS_MAX,
    STAGE_NAME_CHARS_MAX,
)
from fleetcast.model.spelling import Spelling, stated

CHECK_URL: Final = Spelling(r"(https?://[A-Za-z0-9.:\[\]_-]+([/?][!-\"$-~]*)?)?", maxLength=CHECK_TEXT_CHARS_MAX)
"""Without user and password: whoever may read the plan would have them. No fragment."""

_Text: TypeAlias = Annotated[str, stated(maxLength=CHECK_TEXT_CHARS_MAX)]


class CheckOutcome(StrEnum):
    PASSED = "PASSED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    """It could not be asked, or there was nothing to go by."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question, asked by control: exactly one of ``command``, ``url`` and ``query`` is not empty.

    In them ``{service}``, ``{commit}``, ``{deployment}`` and ``{environment}`` stand for what is being rolled out.
    """

    name: Annotated[str, stated(maxLength=STAGE_NAME_CHARS_MAX)] = ""
    """For people; empty: what kind it is."""
    command: Annotated[tuple[_Text, ...], stated(maxItems=CHECK_WORDS_MAX)] = ()
    """A program and its arguments, run where control runs, if its settings allow that: 0 passes."""
    url: Annotated[str, CHECK_URL.meta] = ""
    """Asked with GET: 2xx passes. Redirects are not followed."""
    expects: Annotated[Mapping[str, str | int | bool], stated(maxProperties=CHECK_FIELDS_MAX)] = field(default_factory=dict)
    """Of ``url``: what the answer, a JSON object, must say in these of its fields."""
    prometheus: Annotated[str, CHECK_URL.meta] = ""
    """Address of the server that ``query`` is for: ``http://prometheus:9090``."""
    query: _Text = ""
    """In PromQL, as an instant query: every value has to be ``below`` and ``above``; none is no answer."""
    below: float | None = None
    above: float | None = None
    every_s: Annotated[int, stated(minimum=CHECK_EVERY_S_MIN, maximum=CHECK_EVERY_S_MAX)] = 30
    failures: Annotated[int, stated(minimum=1, maximum=CHECK_FAILURES_MAX)] = 3
    """So many in a row, and the release is sick."""

    @property
    def title(self) -> str:
        return self.name or ("command" if self.command else "url" if self.url else "query")


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """What came of asking once."""

    outcome: CheckOutcome
    figures: str
    """In one line."""
    output: str = ""
    """Of a command, the beginning of what it said."""


@dataclass(frozen=True, slots=True)
class CheckPicture:
    """An outside check of the wave under way, for people to look at."""

    name: str
    outcome: CheckOutcome | None
    """Of the last answer; ``None``: it was not asked yet."""
    figures: str
    failures: int
    """In a row."""
    output: str
    """Of a command, the beginning of what it said last."""
