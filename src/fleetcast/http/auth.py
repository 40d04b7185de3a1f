"""Which roles may call a route, as Litestar guards, and who calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from fleetcast.http.tokens import Role, TokenSet


@dataclass(frozen=True, slots=True)
class Allowed:
    """A guard that lets only these roles pass; it looks at the application's ``state.tokens``.

    It runs before the body is read, and raises :class:`Unauthorized` or :class:`Forbidden`.
    """

    roles: frozenset[Role]

    def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        tokens: TokenSet = connection.app.state.tokens
        tokens.authorize(connection.headers.get("authorization"), self.roles)


def caller(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Who calls, by the name of the token; of a connection that a guard has let pass."""
    tokens: TokenSet = connection.app.state.tokens
    return tokens.name_of(connection.headers.get("authorization"))


def allow(*roles: Role) -> Allowed:
    """The guard of a handler that these roles may call."""
    return Allowed(frozenset(roles))
