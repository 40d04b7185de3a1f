"""Replication: what is missing where (pure), the copier, and the status that makes a release deployable."""
