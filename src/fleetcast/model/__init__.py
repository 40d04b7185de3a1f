"""The nouns everybody shares, the messages between processes, the limits and the errors.

Everything here is a frozen value or a pure function; nothing here imports another room.
"""
