"""What all webhooks have in common, once it is known that they are genuine."""

from __future__ import annotations

from typing import Final

from fleetcast.model.errors import Invalid
from fleetcast.model.ids import commit_sha
from fleetcast.model.push import Push

_BRANCH: Final = "refs/heads/"


def push_of(repositories: tuple[str, ...], ref: str, before: str, after: str, pushed_at_ms: int | None = None) -> Push | str:
    """A push, or why there is nothing to do about it.

    Raises:
        Invalid: ``after`` is no commit, or no repository is named.
    """
    named = tuple(url for url in repositories if url)
    if not named:
        raise Invalid("invalid_message", "this push names no repository: send what a push event consists of")
    if not ref.startswith(_BRANCH):
        return f"{ref} is not a branch: nothing is to be done"
    branch = ref.removeprefix(_BRANCH)
    if after and not after.strip("0"):
        return f"{branch} was deleted: nothing is to be done"
    return Push(named, branch, commit_sha(after), before, pushed_at_ms)
