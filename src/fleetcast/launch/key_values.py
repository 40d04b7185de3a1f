"""Where a key-value store is, by the settings of control or of a region."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetcast.launch.settings import ControlSettings, RegionSettings
    from fleetcast.stores.etcd_access import EtcdAccess


def etcd_of(settings: ControlSettings | RegionSettings) -> EtcdAccess | None:
    """``None``: the embedded one. Raises :class:`Invalid` for a URL that is none."""
    if not settings.kv_url:
        return None
    from fleetcast.stores.etcd_access import etcd_access

    return etcd_access(
        settings.kv_url,
        user_file=settings.kv_user_file,
        ca_file=settings.kv_ca_file,
        certificate_file=settings.kv_certificate_file,
        key_file=settings.kv_key_file,
    )
