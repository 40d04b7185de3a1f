"""Bearer tokens: one secret a role, each in a file that only its owner reads."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path

from fleetcast.model.errors import Forbidden, Invalid, NotFound, Unauthorized
from fleetcast.model.ids import NAME
from fleetcast.model.limits import TOKEN_BYTES


class Role(StrEnum):
    """Whom a token stands for. No role includes another."""

    ADMIN = "admin"
    WORKER = "worker"
    REGION = "region"
    AGENT = "agent"


def token_path(directory: Path, role: Role) -> Path:
    """Where an installation keeps a role's token."""
    return directory / f"{role}.token"


def load_or_create(directory: Path, role: Role) -> str:
    """The role's token, made on the first call. Of several processes that call at once, all get the same one.

    Raises:
        Invalid: the file is empty, or others than its owner may read it.
    """
    return load_or_create_secret(token_path(directory, role))


def _random() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def load_or_create_secret(path: Path, make: Callable[[], str] = _random) -> str:
    """The one line in ``path``, made on the first call: by default at random (``TOKEN_BYTES``, URL-safe). As
    :func:`load_or_create`."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(make() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # unlike rename, this lets the first of two win
        draft.unlink()
    return load(path)


def load(path: Path) -> str:
    """The token in a file.

    Raises:
        NotFound: there is no such file.
        Invalid: it is empty, or others than its owner may read it.
    """
    try:
        with open(path, encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            token = file.read().strip()
    except FileNotFoundError:
        raise NotFound("no_token_file", f"there is no token file {path}: copy it from the installation") from None
    if mode & 0o077:
        raise Invalid("token_file_open", f"others may read {path}: run chmod 600 on it")
    if not token:
        raise Invalid("token_file_empty", f"{path} is empty: delete it to have a new one made")
    return token


class TokenSet:
    """The tokens a server accepts. Holds digests only, so that neither a log nor a dump shows a token."""

    def __init__(self, tokens: Mapping[Role, str], people: Mapping[str, str] | None = None) -> None:
        """``people``: admin tokens of their own, by name."""
        self._digests = {role: _digest(token) for role, token in tokens.items()}
        self._people = {name: _digest(token) for name, token in (people or {}).items()}

    @classmethod
    def load(cls, directory: Path, roles: Iterable[Role] = tuple(Role)) -> TokenSet:
        """The tokens of an installation's directory; of people there those in ``admin.NAME.token``. Raises as :func:`load`, and
        :class:`Invalid` for a name that is none."""
        people = {}
        for path in sorted(directory.glob(f"{Role.ADMIN}.*.token")):
            name = path.name.removeprefix(f"{Role.ADMIN}.").removesuffix(".token")
            if not NAME.fits(name):
                raise Invalid("illegal_name", f"{path} names nobody: use 1 to 63 of a-z, 0-9 and '-' between the dots")
            people[name] = load(path)
        return cls({role: load(token_path(directory, role)) for role in roles}, people)

    def role_of(self, token: str) -> Role | None:
        """Whose token this is; ``None``: nobody's. Takes the same time for every answer."""
        presented = _digest(token)
        found: Role | None = None
        for role, digest in self._digests.items():
            if hmac.compare_digest(presented, digest):
                found = role
        return Role.ADMIN if self._person_of(presented) else found

    def name_of(self, authorization: str | None) -> str:
        """Who is behind an ``Authorization`` header that was authorized: a person with a token of their own by their name, any
        other by the role."""
        token = (authorization or "").partition(" ")[2].strip()
        return self._person_of(_digest(token)) or str(self.role_of(token) or "")

    def authorize(self, authorization: str | None, allowed: frozenset[Role]) -> Role:
        """The role behind an ``Authorization`` header, if it may do this.

        Raises:
            Unauthorized: no bearer token, or an unknown one.
            Forbidden: a known one of another role.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("no_token", "this call carries no bearer token: send the one for your role")
        role = self.role_of(token.strip())
        if role is None:
            raise Unauthorized(
                "unknown_token", "this token is not known here: use the one of this installation, and restart what has another"
            )
        if role not in allowed:
            needed = " or ".join(sorted(allowed))
            raise Forbidden("wrong_role", f"a token for {role} may not do this: use the one for {needed}")
        return role

    def _person_of(self, presented: bytes) -> str:
        """Empty: it is the token of no one person. Takes the same time for every answer."""
        found = ""
        for name, digest in self._people.items():
            if hmac.compare_digest(presented, digest):
                found = name
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
