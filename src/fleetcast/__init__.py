"""Fleetcast: one command takes a commit to a running fleet."""

__version__ = "0.1.0"
