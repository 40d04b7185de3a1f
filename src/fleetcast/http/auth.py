"""Which roles may call a route, as Litestar guards."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from fleetcast.http.tokens import Role, TokenSet


def allow(*roles: Role) -> Guard:
    """A guard that lets only these roles pass; it looks at the application's ``state.tokens``.

    The guard runs before the body is read. It raises :class:`Unauthorized` or :class:`Forbidden`.
    """
    allowed = frozenset(roles)

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        tokens: TokenSet = connection.app.state.tokens
        tokens.authorize(connection.headers.get("authorization"), allowed)

    return guard
