"""The frame of a Litestar application of ours: roles, problem details for every error, bounded bodies, nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

import structlog
from litestar import Litestar, Request, Response, route
from litestar.di import Provide
from litestar.enums import HttpMethod
from litestar.exceptions import (
    HTTPException,
    InternalServerException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.handlers import HTTPRouteHandler
from litestar.types import ControllerRouterHandler

from fleetcast.http import messages
from fleetcast.http.problems import PROBLEM_JSON, Problem, headers_of, problem_of, problem_of_status
from fleetcast.http.tokens import TokenSet
from fleetcast.model.errors import FleetcastError, Unavailable
from fleetcast.model.limits import MESSAGE_BYTES_MAX

log = structlog.get_logger(__name__)

AnyRequest = Request[Any, Any, Any]

_LEFT: Final = "client disconnected prematurely"
"""What Litestar says of that. The same error with other words is a defect of ours, such as a body that is read twice."""


class MessageRequest(AnyRequest):
    """Decodes every body as the message that its handler takes. Litestar would take ``1`` for true, and ``"1"`` for 1."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises :class:`Unavailable` when the caller leaves in the middle of it."""
        try:
            async for piece in super().stream():
                yield piece
        except InternalServerException as error:
            if error.detail != _LEFT:
                raise
            raise caller_left() from error

    async def json(self) -> Any:
        handler = self.route_handler
        assert isinstance(handler, HTTPRouteHandler)
        kind = handler.parsed_fn_signature.parameters["data"].annotation
        return messages.decode(await self.body(), kind, messages.CALLER, messages.SERVER)


def application(
    handlers: Sequence[ControllerRouterHandler], tokens: TokenSet, provided: Mapping[str, object] | None = None
) -> Litestar:
    """An application of these handlers.

    ``tokens`` is what guards of :func:`fleetcast.http.auth.allow` look at; ``provided`` objects are handed to the handlers
    whose parameters have these names.
    """
    app = Litestar(
        route_handlers=[*_options(handlers), *handlers],  # in this order: a path that has none yet gets Litestar's
        dependencies={name: _constant(value) for name, value in (provided or {}).items()},
        exception_handlers={
            FleetcastError: _on_error,
            ValidationException: _on_invalid,
            HTTPException: _on_http,
            Exception: _on_defect,
        },
        request_class=MessageRequest,
        request_max_body_size=MESSAGE_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
    )
    app.state.tokens = tokens
    return app


def caller_left() -> Unavailable:
    """What a request ends with whose body broke off. Nobody hears it any more, and nothing is wrong here."""
    log.debug("caller_gone")
    return Unavailable("caller_gone", "the caller left while it sent its request")


def problem_of_exception(error: Exception) -> Problem:
    """What the caller is told about anything that a handler may raise. A defect of ours is logged, not told."""
    if isinstance(error, FleetcastError):
        return problem_of(error)
    log.error("request_failed", exc_info=error)
    return problem_of_status(500, "the server failed at this request: its log says why", code="internal_error")


def _options(handlers: Sequence[ControllerRouterHandler]) -> list[HTTPRouteHandler]:
    """What each path answers to OPTIONS. Litestar's own names one method where several handlers share a path."""
    methods: dict[str, set[str]] = {}
    for handler in handlers:
        if isinstance(handler, HTTPRouteHandler):
            for path in handler.paths:
                methods.setdefault(path, {HttpMethod.OPTIONS.value}).update(handler.http_methods)
    return [_options_of(path, ", ".join(sorted(allowed))) for path, allowed in methods.items()]


def _options_of(path: str, allowed: str) -> HTTPRouteHandler:
    @route(path, http_method=HttpMethod.OPTIONS, status_code=204, include_in_schema=False, sync_to_thread=False)
    def options() -> Response[None]:
        return Response(None, status_code=204, headers={"Allow": allowed})

    return options


def _constant(value: object) -> Provide:
    return Provide(lambda: value, sync_to_thread=False)


def _answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    told = {**headers_of(problem), **(headers or {})}
    return Response(messages.encode(problem), status_code=problem.status, media_type=PROBLEM_JSON, headers=told)


def _on_error(_request: AnyRequest, error: FleetcastError) -> Response[bytes]:
    return _answer(problem_of(error))


def _on_invalid(_request: AnyRequest, error: ValidationException) -> Response[bytes]:
    extra = error.extra if isinstance(error.extra, list) else []
    faults = [f"{fault.get('key', 'body')}: {fault.get('message', '')}" for fault in extra if isinstance(fault, dict)]
    return _answer(problem_of_status(400, "; ".join(faults) or error.detail, code="invalid_message"))


def _on_http(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    path = request.scope["path"]
    if isinstance(error, NotFoundException):
        problem = problem_of_status(404, f"there is no {path} here: check address and version", code="no_such_route")
    elif isinstance(error, MethodNotAllowedException):
        problem = problem_of_status(405, f"{path} takes no {request.method}", code="no_such_method")
    elif error.status_code == 400:
        problem = problem_of_status(400, error.detail, code="invalid_message")
    elif error.status_code == 500:
        problem = problem_of_exception(error)
    elif error.status_code == 413:
        problem = problem_of_status(413, f"{path} takes no message of that size: send less", code="message_too_large")
    else:
        problem = problem_of_status(error.status_code, error.detail)
    return _answer(problem, error.headers)


def _on_defect(_request: AnyRequest, error: Exception) -> Response[bytes]:
    return _answer(problem_of_exception(error))
