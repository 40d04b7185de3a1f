"""Builds: the queue in SQL, what the reaper decides, logs, and how an upload becomes an artifact."""
