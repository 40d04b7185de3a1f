"""What the lab says when it cannot do what was asked."""

from __future__ import annotations


class LabError(Exception):
    """One line that says what is wrong and what to do."""
