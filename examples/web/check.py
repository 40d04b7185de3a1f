"""The health check: exit 0 when the service on ``$PORT`` answers, and is this very release (not the one before)."""

import os
import socket
import sys

with socket.create_connection(("127.0.0.1", int(os.environ.get("PORT", "8080"))), timeout=5) as connection:
    connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
    answer = b"".join(iter(lambda: connection.recv(65536), b""))
sys.exit(not (answer.startswith(b"HTTP/1.0 200") and os.environ.get("FLEETCAST_COMMIT", "").encode() in answer))
