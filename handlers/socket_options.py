"""What a terminal's TCP connection needs of the kernel."""

import socket
import sys

UNSENT_BYTES = 64 * 1024
"""Output that waits in the kernel is output that Ctrl-C comes too late for."""


def prefer_fresh_output(connection: socket.socket, dead_after_s: float) -> None:
    """Keep little unsent output in the kernel, and give up on a peer that acknowledges nothing for ``dead_after_s``.

    tcp(7): TCP_NOTSENT_LOWAT, TCP_USER_TIMEOUT. Other systems and other kinds of socket are left as they are.
    """
    if sys.platform != "linux" or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(dead_after_s * 1000))
