"""The peer-to-peer network that carries artifacts from a region's bucket to its machines.

Decisions are pure, one file each: ``pieces`` (what is numbered how), ``picker`` (which piece next), ``debts`` (who keeps us
waiting), ``neighbours`` (whom to dial), ``peering`` and ``tracker`` (whom the region introduces), ``slots`` (whom to serve),
``leases`` (who may read from the origin), ``download`` (the state of one artifact on one machine), ``codec`` (bytes of the
wire). Around them, on threads and raw sockets: ``server``, ``client``, ``origin``, ``announcer``, ``fetch``, and ``peer``,
which is all that other rooms call.
"""
