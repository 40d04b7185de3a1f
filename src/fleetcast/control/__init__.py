"""The global process: the API for people, workers and regions, and the loops that carry deployments forward."""
