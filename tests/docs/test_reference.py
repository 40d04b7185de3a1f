"""The pages that are made from the code say what it says, and those written by hand leave none of it out."""

from __future__ import annotations

import subprocess
import sys

from fleetcast.model.build import BuildStatus
from fleetcast.model.deployment import DeploymentState
from fleetcast.worker import recipe

from .pages import ROOT


def test_the_reference_is_as_the_code_is() -> None:
    done = subprocess.run([sys.executable, "docs/generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_key_of_a_recipe_is_explained() -> None:
    page = (ROOT / "docs" / "recipe.md").read_text()
    for section, keys in recipe._KEYS.items():
        assert f"`[{section}]`" in page
        for key in keys:
            assert f"| `{key}`" in page, f"docs/recipe.md has no row for {section}.{key}"


def test_every_state_is_explained() -> None:
    page = (ROOT / "docs" / "concepts.md").read_text()
    for state in (*BuildStatus, *DeploymentState):
        assert f"| {state} |" in page, f"docs/concepts.md has no row for {state}"
