"""As whom the commands of a service run on this machine."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from fleetcast.agent.spawning import Account


class NoSuchAccount(Exception):
    """Nothing can be run as that user here; the message is one line, for people."""


def account_of(user: str) -> Account | None:
    """``None``: as this process, because ``user`` is empty or is the one that it runs as.

    Raises:
        NoSuchAccount: there is none of that name, or this process may not be somebody else.
    """
    if not user:
        return None
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise NoSuchAccount(f"it runs as user {user}, whom this machine does not have: create that user") from None
    if found.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        own = pwd.getpwuid(os.geteuid()).pw_name if _named(os.geteuid()) else str(os.geteuid())
        raise NoSuchAccount(f"it runs as user {user}, and the agent runs as {own}: run the agent as root, or as {user}")
    if shutil.which("setpriv") is None:
        raise NoSuchAccount(f"it runs as user {user}, which takes setpriv: install util-linux on this machine")
    return Account(user, found.pw_uid, found.pw_gid, found.pw_dir)


def give(directory: Path, account: Account) -> None:
    """Make that user the owner of a directory. What is in it already stays whose it is."""
    found = directory.stat()
    if (found.st_uid, found.st_gid) != (account.uid, account.gid):
        os.chown(directory, account.uid, account.gid)


def _named(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
