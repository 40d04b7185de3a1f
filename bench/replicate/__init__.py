"""How long regions take to copy an artifact, and how much of the next one travels."""
