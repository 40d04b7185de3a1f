"""What is wrong with an outside check, in a line each (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fleetcast.model.check import CHECK_URL, Check
from fleetcast.model.limits import (
    CHECK_EVERY_S_MAX,
    CHECK_EVERY_S_MIN,
    CHECK_FAILURES_MAX,
    CHECK_FIELDS_MAX,
    CHECK_TEXT_CHARS_MAX,
    CHECK_WORDS_MAX,
    STAGE_NAME_CHARS_MAX,
)


def check_problems(check: Check) -> Iterator[str]:
    """Why it cannot be taken; nothing: it can."""
    if not (len(check.name) <= STAGE_NAME_CHARS_MAX and check.name.isprintable()):
        yield f"its name has to be printable, and at most {STAGE_NAME_CHARS_MAX} characters long"
    if sum(map(bool, (check.command, check.url, check.query))) != 1:
        yield "say exactly one of command, url and query"
    texts = (*check.command, check.query)
    if len(check.command) > CHECK_WORDS_MAX or any(len(text) > CHECK_TEXT_CHARS_MAX or "\x00" in text for text in texts):
        yield f"a command has at most {CHECK_WORDS_MAX} words, each of at most {CHECK_TEXT_CHARS_MAX} characters, as a query"
    if check.command and not check.command[0]:
        yield "its command names no program"
    for what, url in (("url", check.url), ("prometheus", check.prometheus)):
        if not CHECK_URL.fits(url) or len(url) > CHECK_TEXT_CHARS_MAX:
            yield f"{what} has to be http(s)://HOST/PATH, in ASCII, without user, password or #"
    if bool(check.query) != bool(check.prometheus):
        yield "query and prometheus belong together: say what is asked, and the address of the server"
    if check.expects and not check.url:
        yield "expects is about the answer of a url: there is none"
    if len(check.expects) > CHECK_FIELDS_MAX:
        yield f"expects names {len(check.expects)} fields: it may name {CHECK_FIELDS_MAX}"
    if not all(name.isprintable() for name in check.expects):
        yield "expects names a field that cannot be printed"
    bounds = [bound for bound in (check.below, check.above) if bound is not None]
    if bool(check.query) != bool(bounds):
        yield "a query, and nothing else, needs below or above: what its value is compared with"
    if not all(map(math.isfinite, bounds)):
        yield "below and above are numbers"
    if not CHECK_EVERY_S_MIN <= check.every_s <= CHECK_EVERY_S_MAX:
        yield f"every_s is {check.every_s}: say {CHECK_EVERY_S_MIN} to {CHECK_EVERY_S_MAX}"
    if not 1 <= check.failures <= CHECK_FAILURES_MAX:
        yield f"failures is {check.failures}: say 1 to {CHECK_FAILURES_MAX}"
