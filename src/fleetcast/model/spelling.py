"""What is a legal text or number, said once: to the check, and to the schema by which others generate theirs."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, TypeAlias

from msgspec import Meta

INTEGER_MAX: Final = 2**63 - 1
"""What every engine takes as a whole number."""

Natural: TypeAlias = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
"""A count, a size in bytes, an age or a time in milliseconds."""


class Spelling:
    """A pattern that a whole text must match.

    Decoding a message does not look at ``meta``: whoever takes a text from outside checks it, and says in words of its own
    what is wrong with it. ``schema`` tells callers what that check will ask for.
    """

    def __init__(self, pattern: str, **more: object) -> None:
        self._pattern = re.compile(pattern)
        self.schema: Final[dict[str, Any]] = {"pattern": f"^{pattern}$", **more}
        self.meta: Final = Meta(extra_json_schema=self.schema)

    @property
    def meta_or_empty(self) -> Meta:
        """Of a text that may be left empty, too."""
        return Meta(extra_json_schema={**self.schema, "pattern": f"^({self._pattern.pattern})?$"})

    def fits(self, text: str) -> bool:
        return self._pattern.fullmatch(text) is not None


TEXT: Final = Spelling(r"[^\x00]*")
"""What can be handed to a program."""


def stated(**schema: object) -> Meta:
    """A rule of JSON Schema that a check of ours enforces, as :class:`Spelling` does."""
    return Meta(extra_json_schema=schema)
