"""Who this machine is: what its settings say, under the labels that people gave it, which hold with the region away too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import structlog

from fleetcast.agent import records
from fleetcast.model.machine import Machine

log = structlog.get_logger(__name__)


class LabelBook:
    """One task at a time may call :meth:`take`."""

    def __init__(self, path: Path, settings: Machine) -> None:
        self._path = path
        self._settings = settings
        self._given: dict[str, str] = records.read(path, dict[str, str]) or {}
        self.machine = settings
        """As it selects goals and reports."""
        self.alarm = ""
        """Why the given labels do not count; empty: they do."""
        self._overlay()

    async def take(self, given: Mapping[str, str]) -> bool:
        """These are the given labels from now on; on disk when this returns. Whether they are news.

        Raises:
            OSError: they cannot be written; nothing has changed.
        """
        if given == self._given:
            return False
        await asyncio.to_thread(records.write, self._path, dict(given))
        self._given = dict(given)
        self._overlay()
        log.info("labels_taken", given=self._given)
        return True

    def _overlay(self) -> None:
        """A region takes no machine whose labels are too long: with its own ones alone it stays in."""
        labelled = self._settings.labelled(self._given)
        self.machine = self._settings if labelled.too_long else labelled
        self.alarm = "its given labels are too long together with its own, and do not count" if labelled.too_long else ""
