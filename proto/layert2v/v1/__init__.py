"""Version 1 of the wire."""

LOOPBACK_ADDRESS = "127.0.0.1:50461"
"""Where a backend listens and clients look for it on systems without unix sockets."""
