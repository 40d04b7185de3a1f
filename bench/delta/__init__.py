"""How much enters a machine for a release of which it has most already."""
