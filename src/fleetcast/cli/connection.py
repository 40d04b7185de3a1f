"""How a command finds control: its address and the admin token."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from cyclopts import Parameter

from fleetcast.model.errors import Invalid, NotFound, Unavailable
from fleetcast.model.limits import CONTROL_AWAY_S_MAX

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient

RETRY_S: Final = 0.5

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
    """Settings file that says both, or its directory."""

    def ask(self, conversation: Callable[[ControlClient], Coroutine[Any, Any, T]]) -> T:
        """Talk to control, from first call to last."""
        import asyncio

        from fleetcast.client.control import ControlClient

        url, token = self.address()

        async def talk() -> T:
            async with ControlClient(url, token) as client:
                return await conversation(client)

        return asyncio.run(talk())

    def worker_keys(self) -> tuple[Path, ...]:
        """Files of the public keys with which this installation's artifacts are signed, as far as settings here say so."""
        from fleetcast.launch import sources

        if self.control_url and not self.settings:
            return ()  # another installation's, perhaps
        try:
            known = sources.load(sources.settings_file(self.settings, os.environ), environ=os.environ)
        except NotFound:
            return ()
        controls: list[tuple[Path, ...]] = [known.control.worker_public_keys] if known.control else []
        others = [region.worker_public_keys for region in known.regions]
        others += [agent.worker_public_keys for agent in known.agents]
        return tuple(dict.fromkeys(key for keys in (*controls, *others) for key in keys))

    def address(self) -> tuple[str, str]:
        """URL and token. Raises :class:`Invalid` and :class:`NotFound` where settings or files say too little."""
        from fleetcast.http.tokens import load

        if self.control_url and not self.control_url.lower().startswith(("http://", "https://")):
            meant = f"http://{self.control_url.rpartition('://')[2]}"
            raise Invalid("bad_url", f"control's address is {self.control_url}: write {meant}")
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


async def patiently(question: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer: somebody who waits does not care that control is restarted meanwhile.

    Raises:
        Unavailable: it was away for longer than ``CONTROL_AWAY_S_MAX``.
    """
    import asyncio

    clock = asyncio.get_running_loop().time
    asked_at = clock()
    while True:
        try:
            return await question()
        except Unavailable:
            if clock() - asked_at > CONTROL_AWAY_S_MAX:
                raise
            await asyncio.sleep(RETRY_S)


NO_CONNECTION = Connection()


async def everything(items: AsyncIterator[T]) -> tuple[T, ...]:
    """All of a list that comes in pages."""
    return tuple([item async for item in items])
