"""What a log shows of a defect: where it was, and nothing of what the functions held."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import structlog
from fleetcast.launch.logging import set_up

set_up("control", json={json})
def fail(): {secret} = "".join(["hush", "-", "hush"]); raise ZeroDivisionError("a defect")
try: fail()
except ZeroDivisionError: structlog.get_logger("fleetcast.x").error("request_failed", exc_info=True)
"""


@pytest.mark.parametrize("json", [True, False])
def test_a_defect_is_logged_without_the_secrets_that_were_at_hand(json: bool) -> None:
    program = PROGRAM.format(json=json, secret="token")
    logged = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
    assert "a defect" in logged
    assert "request_failed" in logged
    assert "hush-hush" not in logged
