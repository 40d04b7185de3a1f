"""Measurements. Each is a program of its own, and prints one JSON object with ``--json``."""
