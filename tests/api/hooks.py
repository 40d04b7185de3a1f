"""What schemathesis may not choose freely: what would be waited for or carried out, and what must agree with something else."""

from __future__ import annotations

from typing import Any, Final

import schemathesis

from fleetcast.model.ids import NAME

WAIT_S_MAX: Final = 0.1
_COMMANDS: Final = ("build", "activate", "health")


@schemathesis.hook
def map_query(_context: Any, query: dict[str, Any]) -> dict[str, Any]:
    """Held requests come back soon: how long a wait may be is not what is looked for here."""
    return query and {name: _soon(value) if name == "wait_s" else value for name, value in query.items()}


@schemathesis.hook
def map_body(_context: Any, body: Any) -> Any:
    """Commands and addresses made up at random are stored, and run and called by nobody."""
    if not isinstance(body, dict):
        return body
    body = {name: _soon(value) if name == "wait_s" else value for name, value in body.items()}
    if isinstance(body.get("repository"), str) and body["repository"][:1] not in ("", "-") and "\0" not in body["repository"]:
        body["repository"] = "/nowhere/" + body["repository"]
    if isinstance(recipe := body.get("recipe"), dict):
        body["recipe"] = {name: _harmless(value) if name in _COMMANDS else value for name, value in recipe.items()}
    if isinstance(url := body.get("data_url"), str) and url.startswith(("http://", "https://")):
        body["data_url"] = "http://127.0.0.1:9/"
    return body


@schemathesis.hook
def map_case(_context: Any, case: Any) -> Any:
    """What is said in the path and again in the body is said alike, or next to nothing would be accepted."""
    for name in ("name", "region"):
        if (
            isinstance(case.body, dict)
            and _legal(said := (case.path_parameters or {}).get(name))
            and _legal(case.body.get(name))
        ):
            case.body[name] = said
    return case


def _legal(name: Any) -> bool:
    return isinstance(name, str) and NAME.fits(name)


def _soon(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return WAIT_S_MAX if number and value > WAIT_S_MAX else value


def _harmless(value: Any) -> Any:
    return "true" if isinstance(value, str) and "\0" not in value else value
