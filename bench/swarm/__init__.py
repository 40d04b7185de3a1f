"""How fast, and at what cost, a fleet is filled: Fleetcast's own programs, libtorrent and aria2 in the same network."""
