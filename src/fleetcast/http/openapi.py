"""The OpenAPI document of an application's routes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from litestar import Litestar, get
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.types import ControllerRouterHandler

from fleetcast import __version__
from fleetcast.http import messages

DOCUMENT: Final = "application/vnd.oai.openapi+json"


def document_route(
    path: str, title: str, handlers: Sequence[ControllerRouterHandler], provided: Iterable[str]
) -> HTTPRouteHandler:
    """A route that answers with the OpenAPI 3.1 document of ``handlers``. It needs no token: it says what everybody may know.

    ``provided``: names of parameters that the application hands to its handlers.
    """
    made: list[bytes] = []

    @get(path, media_type=DOCUMENT, include_in_schema=False, sync_to_thread=False)
    def document() -> bytes:
        if not made:  # at the first question: most processes are never asked
            made.append(_document(title, handlers, provided))
        return made[0]

    return document


def _document(title: str, handlers: Sequence[ControllerRouterHandler], provided: Iterable[str]) -> bytes:
    # Half of what these import is for pages that we do not show.
    from litestar.openapi import OpenAPIConfig
    from litestar.openapi.plugins import JsonRenderPlugin

    # An application that is never served: in the one that is, Litestar would add pages of its own beside the document.
    described = Litestar(
        route_handlers=handlers,
        dependencies={name: Provide(lambda: None, sync_to_thread=False) for name in provided},
        openapi_config=OpenAPIConfig(
            title, __version__, path="/openapi", render_plugins=[JsonRenderPlugin()], use_handler_docstrings=True
        ),
        logging_config=None,
    )
    return messages.encode(described.openapi_schema.to_schema())
