"""Commit statuses: what the servers that have the repositories show beside a commit."""
