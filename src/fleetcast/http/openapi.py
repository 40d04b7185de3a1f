"""The OpenAPI document of an application's routes.

Paths and parameters are what Litestar says of the handlers. Schemas of messages are msgspec's, which also decodes them: what is
refused and what is promised cannot differ. What a handler may answer beside that it says itself, in its options:

``errors``
    classes of errors that it raises, beyond those that every route does.
``stream``
    what its server-sent events are, for a handler that may answer with an ``EventStream``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

import msgspec
from litestar import Litestar, Response, get
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler

from fleetcast import __version__
from fleetcast.http import messages
from fleetcast.http.auth import Allowed
from fleetcast.http.docstrings import dataclasses_in, fields_of, markdown
from fleetcast.http.messages import EVENT_STREAM
from fleetcast.http.problems import PROBLEM_JSON, Problem
from fleetcast.http.sse import EventStream
from fleetcast.http.tokens import Role
from fleetcast.model.errors import (
    FleetcastError,
    Forbidden,
    Incompatible,
    Invalid,
    NotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
)

DOCUMENT: Final = "application/vnd.oai.openapi+json"

_REFERENCE: Final = "#/components/schemas/{name}"
_PROBLEM: Final = {"$ref": _REFERENCE.format(name=Problem.__name__)}
_HEADERS: Final[Mapping[int, Mapping[str, Any]]] = {
    401: {
        "WWW-Authenticate": {"description": "How to authenticate (RFC 6750).", "required": True, "schema": {"type": "string"}}
    },
    503: {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 0}}},
}
_ALWAYS: Final = (Unauthorized, Forbidden, FleetcastError, Unavailable)


@dataclass(frozen=True, slots=True)
class Audience:
    """Who calls some of the routes: those whose handlers let in ``role``, by its token."""

    role: Role
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Described:
    """What a document says beside its routes. ``provided``: parameters that the application hands to its handlers."""

    title: str
    description: str
    audiences: Sequence[Audience]
    provided: Iterable[str]


def document_route(path: str, handlers: Sequence[HTTPRouteHandler], described: Described) -> HTTPRouteHandler:
    """A route that answers with the OpenAPI 3.1 document of ``handlers``, to everybody: it is no secret."""
    made: list[bytes] = []

    @get(path, media_type=DOCUMENT, include_in_schema=False, sync_to_thread=True)
    def document() -> bytes:
        if not made:  # at the first question: most processes are never asked
            made.append(messages.encode(_document(handlers, described)))
        return made[0]

    return document


def _document(handlers: Sequence[HTTPRouteHandler], described: Described) -> dict[str, Any]:
    paths = _paths(handlers, described.provided)
    kinds: dict[Any, None] = {Problem: None}
    raised: dict[int, list[type[FleetcastError]]] = {}
    for handler in handlers:
        (method,), (path,) = handler.http_methods, handler.paths
        operation = paths[re.sub(r":\w+}", "}", path)][str(method).lower()]
        _describe(operation, handler, described.audiences)
        for error in _errors(operation, handler):
            raised.setdefault(error.status, []).append(error)
            operation["responses"].setdefault(str(error.status), {"$ref": f"#/components/responses/{_phrase(error.status)}"})
        kinds |= dict.fromkeys(_messages(handler))
    return {
        "openapi": "3.1.0",
        "info": {"title": described.title, "version": __version__, "description": described.description},
        "servers": [{"url": "/", "description": "Where this document was read."}],
        "tags": [{"name": each.name, "description": each.description} for each in described.audiences],
        "paths": paths,
        "components": {
            "schemas": _schemas(list(kinds)),
            "responses": {_phrase(status): _problem(status, kinds) for status, kinds in sorted(raised.items())},
            "securitySchemes": {
                each.role: {"type": "http", "scheme": "bearer", "description": f"The token of role {each.role}."}
                for each in described.audiences
            },
        },
    }


def _schemas(kinds: Sequence[Any]) -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = markdown(schema["description"])
    for name, kind in dataclasses_in(kinds).items():
        for field, text in fields_of(kind).items():
            schemas[name]["properties"][field]["description"] = text
    return schemas


def _paths(handlers: Sequence[HTTPRouteHandler], provided: Iterable[str]) -> dict[str, Any]:
    """Path items as Litestar has them."""
    # Half of what these import is for pages that we do not show.
    from litestar.openapi import OpenAPIConfig
    from litestar.openapi.plugins import JsonRenderPlugin

    # An application that is never served: in the one that is, Litestar would add pages of its own beside the document.
    application = Litestar(
        route_handlers=handlers,
        dependencies={name: Provide(lambda: None, sync_to_thread=False) for name in provided},
        openapi_config=OpenAPIConfig("", "", path="/openapi", render_plugins=[JsonRenderPlugin()]),
        logging_config=None,
    )
    paths: dict[str, Any] = application.openapi_schema.to_schema()["paths"]
    return paths


def _describe(operation: dict[str, Any], handler: HTTPRouteHandler, audiences: Sequence[Audience]) -> None:
    """Make what Litestar says of an operation ours: its name and text, who may call it, bodies as msgspec has them."""
    roles = {role for guard in handler.guards or () if isinstance(guard, Allowed) for role in guard.roles}
    callers = [each for each in audiences if each.role in roles]
    summary, _, rest = (inspect.getdoc(handler.fn) or "").partition("\n")
    operation.update(
        operationId=handler.fn.__name__,
        summary=markdown(summary).rstrip("."),
        tags=[each.name for each in callers],
        security=[{each.role: []} for each in callers],
        responses=_successes(handler),
    )
    operation.pop("description", None)
    if rest:
        operation["description"] = markdown(rest)
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _plain(parameter["schema"])
        parameter.pop("allowEmptyValue", None)  # Litestar's is false everywhere, also where empty is what we say by default
    if (body := _body(handler)) is not None:
        operation["requestBody"] = {"required": True, "content": {messages.JSON: {"schema": _schema(body)}}}


def _successes(handler: HTTPRouteHandler) -> dict[str, Any]:
    content, answers = {}, {}
    for answer in _answers(handler):
        if answer is EventStream:
            content[EVENT_STREAM] = {
                "schema": {"type": "string", "description": f"Server-sent events. {handler.opt['stream']}"}
            }
        elif answer is bytes:
            content[str(handler.media_type)] = {"schema": {"type": "string"}}
        elif answer is type(None):
            answers["204"] = {"description": "There is nothing to say."}
        else:
            content[messages.JSON] = {"schema": _schema(answer)}
    status = handler.status_code
    return {str(status): {"description": HTTPStatus(status).phrase, "content": content}, **answers}


def _errors(operation: Mapping[str, Any], handler: HTTPRouteHandler) -> list[type[FleetcastError]]:
    """What an operation may raise: what its handler says, and what every one does that takes such input."""
    found: list[type[FleetcastError]] = [*_ALWAYS, *handler.opt.get("errors", ())]
    if "{" in next(iter(handler.paths)):
        found.append(NotFound)  # also where a name in the path is none: there is no such route
    if operation.get("parameters") or "requestBody" in operation:
        found.append(Invalid)
    if "requestBody" in operation:
        found += [TooLarge, Incompatible]
    return sorted(found, key=lambda error: error.status)


def _problem(status: int, kinds: Iterable[type[FleetcastError]]) -> dict[str, Any]:
    means = "\n\n".join(f"`{kind.__name__}`: {markdown(kind.__doc__ or '')}" for kind in dict.fromkeys(kinds))
    if status == FleetcastError.status:
        means = "The server failed at this request: its log says why."
    answer: dict[str, Any] = {"description": means, "content": {PROBLEM_JSON: {"schema": _PROBLEM}}}
    return {**answer, "headers": _HEADERS[status]} if status in _HEADERS else answer


def _messages(handler: HTTPRouteHandler) -> Iterable[Any]:
    body = _body(handler)
    kinds = [*_answers(handler), *([] if body is None else [body])]
    return [kind for kind in kinds if kind not in (EventStream, bytes, type(None))]


def _body(handler: HTTPRouteHandler) -> Any:
    data = handler.parsed_fn_signature.parameters.get("data")
    return None if data is None else data.annotation


def _answers(handler: HTTPRouteHandler) -> Iterable[Any]:
    """The types that a handler answers with; ``NoneType``: with no body."""
    annotation = handler.parsed_fn_signature.return_type.annotation
    for each in get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,):
        yield get_args(each)[0] if get_origin(each) is Response else each


def _schema(kind: Any) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter: that may be left out, it is never null; and it is described already."""
    choices = [choice for choice in schema.get("oneOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        schema = {**choices[0], **{key: value for key, value in schema.items() if key != "oneOf"}}
    return {key: _whole(value) for key, value in schema.items() if key != "description" and (key, value) != ("default", None)}


def _whole(value: Any) -> Any:
    """Litestar writes every bound as a fraction."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _phrase(status: int) -> str:
    """The name of the answer with this status: ``NotFound``."""
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")
