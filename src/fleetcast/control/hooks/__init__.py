"""Webhooks: what the servers that have the repositories say by themselves."""
