"""How artifacts travel between machines."""

from __future__ import annotations

from typing import Final

from fleetcast.model.limits.units import KIB, MIB

# The swarm
SWARM_NEIGHBOURS: Final = 6
"""Peers an agent fetches from at a time; those of its own rack, where racks are known."""
SWARM_NEIGHBOURS_FAR: Final = 3
"""Peers of other racks beside them; more where the rack has not so many."""
SWARM_NEIGHBOURS_FIRST: Final = 2
"""Of either sort in the first ``SWARM_GATHERING_S``, while an agent knows fewer than ``SWARM_INTRODUCED_MAX`` peers."""
SWARM_GATHERING_S: Final = 0.4
"""Since the first peer was dialled."""
SWARM_INTRODUCED_MAX: Final = 24
SWARM_IN_FLIGHT_MIN: Final = 8
"""Pieces an agent has asked for at a time, over all neighbours, of one artifact."""
SWARM_IN_FLIGHT_MAX: Final = 32
SWARM_IN_FLIGHT_S: Final = 0.1
"""Between these bounds it asks for what arrives in so long."""
SWARM_COMING_S_MAX: Final = 5
"""A piece that a neighbour of the same rack said was coming is asked for elsewhere after so long."""
SWARM_UPLOADS_MAX: Final = 64
"""Connections an agent serves at a time."""
SWARM_FRAME_BYTES_MAX: Final = 2 * MIB
SWARM_CONNECT_S_MAX: Final = 5
SWARM_STALL_S_MAX: Final = 20
"""A neighbour that owes bytes and sends none for so long is dropped."""
SWARM_PIECE_S_MAX: Final = 30
"""A neighbour that takes longer over one piece is dropped, even if bytes trickle."""
SWARM_UNPAID_S_MAX: Final = 2.5
"""A neighbour that owes a piece and brings none for so long does not count as having what it claims until it does."""
SWARM_IN_LINE_S_MAX: Final = 15
"""The same for one that keeps saying that its rate limit holds it up."""
SWARM_SLOW_BYTES_PER_S: Final = 128 * KIB
"""While a piece arrives faster than this its sender is not overdue: 8 neighbours on a link of 1 MB/s."""
SWARM_PROGRESS_BYTES: Final = 128 * KIB
"""How much of a piece is received between two looks at how far it is."""
SWARM_BUFFERS_KEPT: Final = 16
"""Of ``CHUNK_BYTES_MAX``, for pieces that arrive: what an agent keeps of those that are free."""
SWARM_UNSENT_BYTES_MAX: Final = 64 * KIB
"""What waits in one socket to be sent for the first time."""
SWARM_KNOWN_PEERS_MAX: Final = 128
"""Addresses of peers an agent remembers per artifact."""
SWARM_USELESS_S_MAX: Final = 10
"""A neighbour that gave nothing for so long makes room for another."""
SWARM_STARVING_S_MAX: Final = 1.0
"""The same when there is nothing to ask of any neighbour."""
SWARM_CHANGE_S_MIN: Final = 1.0
"""Between leaving one neighbour and another for somebody else."""
SWARM_NEWCOMER_S_MIN: Final = 5.0
"""The same, for a newcomer."""
SWARM_CROWDED: Final = 1.3
"""A neighbour that serves so many times as many as neighbours do on average makes room for another."""
SWARM_REDIAL_S_MAX: Final = 30
SWARM_DIALS_IN_VAIN_MAX: Final = 5
"""Failures in a row before an address is forgotten."""
SWARM_END_GAME_AGE_S_MIN: Final = 0.7
"""A piece asked for longer ago than this may be asked of a second neighbour once every piece was asked of somebody."""
SWARM_END_GAME_COPIES_MAX: Final = 2
SWARM_LACKS_MAX: Final = 16
"""Pieces that a neighbour announced and then has not, before it is left."""
SWARM_HELLO_BYTES_MAX: Final = 4 * KIB
SWARM_HAVE_PIECES_MAX: Final = 4096
"""News in one frame."""
SWARM_ALARMS_KEPT: Final = 20
SWARM_CLOSE_S_MAX: Final = 10
"""How long closing waits for threads that are inside a call to the region or the origin."""
SWARM_NEWS_S: Final = 0.02
"""How long news is gathered before those who wait for it are told."""
HAVE_WAIT_MS_MAX: Final = 1000
"""How long a neighbour holds a question for news before it answers 'none'."""
ANNOUNCE_INTERVAL_S: Final = 5
ANNOUNCE_LIFETIME_S: Final = 20
TICKET_LIFETIME_S: Final = 3600
ORIGIN_LEASE_S: Final = 30
ORIGIN_LEASE_CHUNKS_MAX: Final = 64
"""Pieces handed out in one answer."""
ORIGIN_LEASE_READ_S: Final = 0.1
"""A lease is worth at least what the origin brings in so long, up to ``ORIGIN_LEASE_CHUNKS_MAX``: fewer are not leased."""
ORIGIN_IN_FLIGHT_MIN: Final = 16
"""Pieces of an artifact on lease at a time in a region, machines that are slow with theirs left out."""
ORIGIN_IN_FLIGHT_MAX: Final = 512
ORIGIN_IN_FLIGHT_S: Final = 0.35
"""Between these bounds what the origin brings in so long is on lease."""
ORIGIN_SLOW_S: Final = 2.0
"""A lease that takes longer keeps nobody else from one."""
ORIGIN_GRANTS_PER_CHUNK: Final = 2
"""While a holder lives."""
ORIGIN_REGRANT_S_MIN: Final = 20
"""A held piece is granted a second time only so long after its holder had it: until then it travels between peers."""
ORIGIN_EXTRA_PIECES_PER_S: Final = 8
"""Grants beyond ``ORIGIN_GRANTS_PER_CHUNK``, per artifact and region."""
ORIGIN_WAIT_S_MAX: Final = 5
"""Longest that a request for leases is held."""
ORIGIN_WAITING_MAX: Final = 64
"""Requests held at a time, of one artifact."""
ORIGIN_RETRY_S: Final = 0.5
"""When a peer that was granted nothing, and not held, asks again."""
ORIGIN_STALL_S_MAX: Final = 8
"""An origin that sends nothing for so long is left alone for a while."""
ORIGIN_RANGES_MAX: Final = 256
"""Ranges of missing pieces named in one lease request."""
ORIGIN_SCAN_PIECES_MAX: Final = 4096
"""Pieces looked at for one lease request."""
