"""From settings to running processes: wiring, logs, and the supervisor of a whole installation."""
