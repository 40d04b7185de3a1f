"""Credentials for an S3-compatible store, from a file that only its owner reads."""

from __future__ import annotations

import configparser
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from fleetcast.model.errors import Invalid, NotFound
from fleetcast.stores.s3_address import S3Address

_SECTION = "default"


@dataclass(frozen=True, slots=True)
class S3Credentials:
    key_id: str
    secret: str = field(repr=False)
    session: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket, and how one gets into it."""

    address: S3Address
    credentials: S3Credentials | None = None
    """``None``: the client looks into the environment, then asks the host it runs on."""


def s3_credentials(path: Path) -> S3Credentials | None:
    """What the file says, which is written as Amazon's own tools do: ``[default]``, ``aws_access_key_id = ...``,
    ``aws_secret_access_key = ...``. ``Path()``: none.

    Raises:
        NotFound: there is no such file.
        Invalid: others may read it, or something is missing in it.
    """
    if path == Path():
        return None
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with open(path, encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            parser.read_file(file)
    except FileNotFoundError:
        raise NotFound(
            "no_store_credentials", f"there is no file {path}: write the store's credentials into it, or correct the settings"
        ) from None
    except (OSError, UnicodeDecodeError, configparser.Error):
        # Without what was found: a line of it may be the secret.
        raise Invalid("bad_store_credentials", f"{path} cannot be read as credentials: {_form()}") from None
    if mode & 0o077:
        raise Invalid("store_credentials_open", f"others may read {path}, which has the store's secret: run chmod 600 on it")
    found = parser[_SECTION] if parser.has_section(_SECTION) else {}
    key_id, secret = found.get("aws_access_key_id", ""), found.get("aws_secret_access_key", "")
    if not key_id or not secret:
        raise Invalid("bad_store_credentials", f"{path} has no credentials: {_form()}")
    return S3Credentials(key_id, secret, found.get("aws_session_token", ""))


def _form() -> str:
    return f"it must have a section [{_SECTION}] with aws_access_key_id and aws_secret_access_key"
