"""How long a goal takes from the global key-value store to an agent that polls its region."""
