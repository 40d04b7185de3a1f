"""The Python client of the control API, by audience: people, workers, regions."""
