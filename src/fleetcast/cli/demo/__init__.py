"""``fleetcast demo``: a company on one machine, with a real repository, real processes and real bytes; gone afterwards."""
