"""``errors.md``: every error a program of ours may end with, from the places that raise it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sources import one_line, table

import fleetcast
from fleetcast.model import errors
from fleetcast.model.errors import FleetcastError

HEAD = """# Errors and exit codes

A command that cannot do what it was asked says so in one line on standard error, and ends with an exit code:

```text
fleetcast: MESSAGE [CODE]
```

The message says what happened and what to do next, and may be put better in a later version. The code stays as it is, and is
for programs. Over the [API](api.md) the same error is a problem document (RFC 9457) with the message as `detail`, and `code`
and `kind` beside it.

| exit code | what happened |
| --- | --- |
| 0 | all is well; of a command that waited for a deployment: it SUCCEEDED |
| 1 | it ended badly: the deployment or the build did not succeed, or something is broken |
| 2 | usage: the command, a setting or a file makes no sense as it stands |
| 3 | what was named does not exist |
| 4 | refused: not allowed, or not in the state that things are in |
| 5 | somebody could not be reached, or is not ready: the same may succeed later |
| 130 | interrupted |

A build fails with the same kind of messages: they are the `reason` of the build and of its deployment.

"""
KINDS: dict[str, type[FleetcastError]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, FleetcastError)
}


@dataclass(frozen=True, slots=True, order=True)
class Raised:
    code: str
    kind: str
    message: str


def page() -> str:
    raised = sorted(set(_everything()))
    texts = [HEAD]
    for name, kind in KINDS.items():
        messages: dict[str, list[str]] = {}
        for item in raised:
            if item.kind == name:
                messages.setdefault(item.code, []).append(one_line(item.message).replace("<", "\\<"))
        if messages:
            rows = [[f"`{code}`", "<br>".join(said)] for code, said in messages.items()]
            about = one_line((kind.__doc__ or "").splitlines()[0])
            texts.append(
                f"## {name}: exit code {kind.exit_code}, HTTP {kind.status}\n\n{about}\n\n{table(['code', 'message'], rows)}\n"
            )
    return "".join(texts).rstrip("\n") + "\n"


def _everything() -> Iterator[Raised]:
    for file in sorted(Path(fleetcast.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and len(node.args) == 2:
                code, message = map(_text, node.args)
                if code and message:
                    yield Raised(code, node.func.id, message)


def _text(node: ast.expr) -> str:
    """A literal as a reader sees it: what is filled in later stands as ``…``. Empty for anything but a literal."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in values)
    return ""
