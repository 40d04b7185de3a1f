"""How much the build queue carries, beside procrastinate and pgqueuer on one PostgreSQL server: ``python -m bench.queue``.

One cycle is what a worker's life with a build costs the queue: a claim, a heartbeat, a finish, each committed to the disk. All
contestants run under the same loop, with as many callers and connections, one job a claim, and are called as those who use
them call them: Fleetcast's queue as control does, procrastinate's ``JobManager`` and pgqueuer's ``Queries`` as their own
workers do.
"""
