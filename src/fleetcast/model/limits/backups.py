"""Backups, and tables that are filled or changed."""

from __future__ import annotations

from typing import Final

from fleetcast.model.limits.units import MIB

# Backups, and tables that change
BACKUP_ROWS_AT_ONCE: Final = 250
"""Rows that are held in memory on their way between a database and a backup."""
BACKUP_LINE_BYTES_MAX: Final = 64 * MIB
"""One row, or one key with its value, in a backup."""
RESTORE_IDS_PER_S: Final = 20
"""Numbers of builds, events and the like that are passed over for each second since a backup: they may have been given."""
RESTORE_IDS_MIN: Final = 1000
"""Passed over in any case."""
RESTORE_WAIT_S_MAX: Final = 30
"""For others to let go of a table that is replaced."""
MIGRATION_LOCK_S_MAX: Final = 10
"""For a table that a migration changes, while everybody else waits behind it."""
RESTORE_NAMED_MAX: Final = 10
"""Services or artifacts that a command names one by one."""
MIGRATE_BLOBS_AT_ONCE: Final = 4
"""Blobs that are copied to another store at a time; each holds one buffer of ``BLOB_PART_BYTES``."""
MIGRATE_TOLD_EVERY_S: Final = 2
"""Seconds between two lines of progress."""
