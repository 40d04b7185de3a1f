"""``python -m fleetcast``."""

from fleetcast.cli.main import main

main()
