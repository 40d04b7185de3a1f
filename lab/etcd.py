"""The etcd server of :mod:`fleetcast.cli.demo.engines.etcd`, under the name by which the lab"s users know it."""

from __future__ import annotations

from fleetcast.cli.demo.engines.etcd import Certificates, EtcdServer, Membership, etcd_server

__all__ = ["Certificates", "EtcdServer", "Membership", "etcd_server"]
