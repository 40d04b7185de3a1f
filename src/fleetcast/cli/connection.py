"""How a command finds control: its address and the admin token."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import Parameter

from fleetcast.model.errors import Invalid, NotFound

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient

T = TypeVar("T")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where control is. By default the installation in ``./fleetcast-data``."""

    control_url: Annotated[str | None, Parameter(env_var="FLEETCAST_CONTROL_URL")] = None
    """Address of control, for instance http://127.0.0.1:7401."""
    token_file: Annotated[Path | None, Parameter(env_var="FLEETCAST_TOKEN_FILE")] = None
    """File with the admin token."""
    settings: Annotated[Path | None, Parameter(env_var="FLEETCAST_SETTINGS")] = None
    """Settings file that says both."""

    def ask(self, conversation: Callable[[ControlClient], Coroutine[Any, Any, T]]) -> T:
        """Talk to control, from first call to last."""
        import asyncio

        from fleetcast.client.control import ControlClient

        url, token = self._address()

        async def talk() -> T:
            async with ControlClient(url, token) as client:
                return await conversation(client)

        return asyncio.run(talk())

    def _address(self) -> tuple[str, str]:
        from fleetcast.http.tokens import load

        if self.control_url and self.token_file:
            return self.control_url, load(self.token_file)
        settings_url, settings_token = self._from_settings()
        return self.control_url or settings_url, load(self.token_file or settings_token)

    def _from_settings(self) -> tuple[str, Path]:
        from fleetcast.http.tokens import Role, token_path
        from fleetcast.launch import sources

        file = sources.settings_file(self.settings, os.environ)
        try:
            settings = sources.load(file, environ=os.environ)
        except NotFound:
            if self.settings:
                raise
            raise Invalid(
                "no_control",
                f"which control? There is no {file}: go to the directory in which fleetcast up was started, "
                "or pass --settings FILE, or --control-url and --token-file",
            ) from None
        if settings.control is None:
            raise Invalid("no_control", f"{file} has no [control] table: pass --control-url and --token-file")
        return settings.control.public_url, token_path(settings.control.secrets, Role.ADMIN)


NO_CONNECTION = Connection()
