"""The regional process: it mirrors goals, copies artifacts into its bucket, introduces peers, and speaks for its machines.

Agents know nobody else. Everything here goes on with control away (law 6), and what it knows of its machines is rebuilt
by their next reports (law 12).
"""
