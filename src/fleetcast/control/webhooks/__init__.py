"""Webhooks of ours: others are told by HTTP of what happens."""
