"""Where a process's blob store is by its settings, if it is not a directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fleetcast.model.errors import Invalid
from fleetcast.stores.s3_address import s3_address
from fleetcast.stores.s3_credentials import S3Place, s3_credentials

if TYPE_CHECKING:
    from fleetcast.launch.settings import ControlSettings, RegionSettings


def s3_place(settings: ControlSettings | RegionSettings) -> S3Place | None:
    """``None``: it is a directory.

    Raises:
        Invalid: a URL that is none, a file that is none or that others may read.
        NotFound: there is no such file.
    """
    if settings.store_url:
        return S3Place(s3_address(settings.store_url), s3_credentials(settings.store_credentials_file))
    if settings.store_credentials_file != Path():
        raise Invalid("bad_setting", "store_credentials_file is there, store_url is not: name the store, or leave both out")
    return None
