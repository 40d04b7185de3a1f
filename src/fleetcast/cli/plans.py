"""Plans on the command line: which one a word means, and what one would do."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetcast.cli.output import counted
from fleetcast.cli.terminal import stdout_table
from fleetcast.model.check import Check, CheckOutcome, CheckPicture
from fleetcast.model.errors import Invalid, NotFound
from fleetcast.model.freeze import Freeze
from fleetcast.model.lines import showable
from fleetcast.model.plan import Policy, Preset, Stage
from fleetcast.model.spans import at_most, span

if TYPE_CHECKING:
    from fleetcast.model.messages.deployments import DeploymentDetail, Preview


def policy_of(text: str) -> Policy:
    """A preset's name, or the path of a TOML file with a plan: its fields stand at the top, each stage in a ``[[stages]]``.

    Raises:
        Invalid: it is neither, or the file is none that can be read.
        NotFound: there is no such file.
        Unprocessable: the plan cannot be taken.
    """
    from fleetcast.rollouts.plan_lint import must_be_legal

    presets = ", ".join(Preset)
    if text in list(Preset):
        policy = Policy(Preset(text))
    elif "/" in text or text.endswith(".toml"):
        policy = _read(Path(text))
    else:
        raise Invalid("unknown_plan", f"there is no plan {text!r}: say {presets}, or the path of a TOML file")
    must_be_legal(policy)
    return policy


def _read(path: Path) -> Policy:
    import msgspec

    try:
        found = tomllib.loads(path.read_text())
        policy = msgspec.convert(found, Policy, strict=True)
    except FileNotFoundError as error:
        raise NotFound("no_plan_file", f"there is no file {path}: say the name of a plan, or where the file is") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise Invalid("illegal_plan", f"{path} has no plan: {' '.join(str(error).split())}") from error
    stages = [*_each(found, "stages", "stage", Stage)]
    checks = [
        (f"{which}{where}", each, kind)
        for which, stage, _ in stages
        for where, each, kind in _each(stage, "checks", "check", Check)
    ]
    tables = (("", found, Policy), *stages, *checks, *_each(found, "freezes", "freeze", Freeze))
    for where, table, kind in tables:
        known = [field.name for field in fields(kind)]
        for key in table:
            if key not in known:
                raise Invalid("illegal_plan", f"{path}: {where}there is no key {key!r}: there are {', '.join(known)}")
    return policy


def _each(found: Mapping[str, Any], key: str, what: str, kind: type) -> Iterator[tuple[str, Mapping[str, Any], type]]:
    for number, table in enumerate(found.get(key, ()), 1):
        yield f"{what} {number}: ", table, kind


def preview_text(preview: Preview) -> str:
    """Wave by wave: who, how many, when, and why."""
    rows = [
        [
            str(number),
            planned.wave.name,
            ", ".join(f"{region} {count}" for region, count in planned.wave.machines.items()) or "-",
            span(planned.wave.bake_s) if planned.wave.bake_s else "-",
            _after(planned.starts_s),
            _after(planned.passes_s),
            planned.wave.reason,
        ]
        for number, planned in enumerate(preview.waves, 1)
    ]
    over = "over" if preview.ends_s > preview.budget_s else "within"
    return "\n".join(
        [
            f"{preview.service} by {preview.plan}: {counted(preview.machines, 'machine')} in {counted(len(rows), 'wave')}; "
            "every machine fetches from the first wave on",
            stdout_table(["WAVE", "NAME", "MACHINES", "BAKES", "STARTS", "PASSES", "WHO"], rows),
            f"expected to end {span(preview.ends_s)} after its release is deployable, {over} the budget of "
            f"{span(preview.budget_s)}; has ended after {at_most(preview.bound_s)} whatever happens, pauses apart",
            *([f"held now: {preview.held}"] if preview.held else []),
            *([f"busy now: {preview.busy}"] if preview.busy else []),
            *(f"note: {remark}" for remark in preview.remarks),
        ]
    )


def waves_text(detail: DeploymentDetail) -> str:
    """The waves of a deployment, as far as it is with them."""
    rows = [
        [str(number), wave.name, wave.state, str(wave.machines), span(wave.bake_s) if wave.bake_s else "-", wave.reason]
        for number, wave in enumerate(detail.waves, 1)
    ]
    return stdout_table(["WAVE", "NAME", "STATE", "MACHINES", "BAKES", "WHO"], rows)


def checks_text(checks: Sequence[CheckPicture]) -> str:
    """What was asked outside about the present wave, and what a command said that did not pass."""
    rows = [[each.name, each.outcome or "not asked yet", str(each.failures), each.figures] for each in checks]
    said = [
        f"{each.name}: {showable(line)}"
        for each in checks
        if each.outcome is not CheckOutcome.PASSED
        for line in each.output.splitlines()
    ]
    return "\n".join([stdout_table(["CHECK", "OUTCOME", "FAILED IN A ROW", "FIGURES"], rows), *said])


def _after(seconds: float) -> str:
    return "at once" if seconds < 1 else f"+{span(seconds)}"
