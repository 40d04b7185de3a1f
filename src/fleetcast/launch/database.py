"""Where control's database is: in the settings, or in a file that only its owner reads, and how that is shown."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fleetcast.model.errors import Invalid, NotFound

if TYPE_CHECKING:
    from fleetcast.launch.settings import ControlSettings

_PASSWORD: Final = re.compile(r"(://[^:/@]*:).*(?=@)|([?&]password=)[^&]*")
"""Between user and host, or among what follows the name."""
_URLS: Final = ("database_url", "store_url", "kv_url")


def database_address(control: ControlSettings) -> str:
    """The URL of control's database.

    Raises:
        NotFound: the settings name a file that is not there.
        Invalid: it is empty, others may read it, or the settings say the URL as well.
    """
    if control.database_url_file == Path():
        return control.database_url or f"sqlite+aiosqlite:///{control.directory / 'fleetcast.db'}"
    if control.database_url:
        raise Invalid("bad_setting", "control.database_url and control.database_url_file are both there: leave one of them out")
    return _only_line(control.database_url_file)


def hidden(key: str, value: Any) -> Any:
    """The value of a setting as it may be shown: a URL of a database, of a store or of etcd without what may be a password."""
    return _hidden(value) if key.endswith(_URLS) and isinstance(value, str) else value


def hidden_flag(given_by: str) -> str:
    """Who gave a setting, if that was a flag with a URL in it."""
    return _hidden(given_by) if any(f"{url}=" in given_by for url in _URLS) else given_by


def notice_address(control: ControlSettings, address: str) -> str:
    """Where to listen for notices of the database at ``address``: with its user and password, where the setting names none."""
    if not control.notice_database_url:
        return address
    from fleetcast.stores.database import database_url

    there, known = database_url(control.notice_database_url), database_url(address)
    if there.username is None:
        there = there.set(username=known.username, password=known.password)
    return there.render_as_string(hide_password=False)


def _hidden(text: str) -> str:
    return _PASSWORD.sub(lambda found: f"{found[1] or found[2]}***", text)


def _only_line(path: Path) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read().strip()
    except FileNotFoundError:
        raise NotFound(
            "no_database_url",
            f"there is no file {path}: write the database's URL into it, or correct control.database_url_file",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid("bad_database_url", f"{path} cannot be read: {error}: it holds the database's URL, as text") from None
    if mode & 0o077:
        raise Invalid("database_url_open", f"others may read {path}, which has the database's password: run chmod 600 on it")
    if not text or "\n" in text:
        raise Invalid("bad_database_url", f"{path} must have one line: the database's URL")
    return text
