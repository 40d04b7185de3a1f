"""The region that agents are tried against, with a systemd around them."""

from __future__ import annotations

from tests.agent.conftest import agents, region, supervisor, until

__all__ = ["agents", "region", "supervisor", "until"]
