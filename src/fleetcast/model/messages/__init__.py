"""What processes say to each other over HTTP, one file a conversation.

Every request carries ``protocol``; a process answers neighbours that are one version older or newer
(:func:`fleetcast.model.protocol.check`). Unknown fields are ignored on arrival, new fields have defaults.
"""
