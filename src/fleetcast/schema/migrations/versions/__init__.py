"""One file a revision. A released revision is never changed: what comes after it is a new one."""
