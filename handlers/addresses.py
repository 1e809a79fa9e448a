"""Who is at the other end: through proxies that are trusted, and through no others."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from devpocket.settings.values import Network

MAX_DEVICE_CHARS = 200

_Address = IPv4Address | IPv6Address


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Return the address of the client: the last one in ``X-Forwarded-For`` that no trusted proxy has.

    The header is believed only as far as trusted proxies wrote it: from its end, up to the first address that is not
    one of theirs. ``peer`` where it is no proxy, or where the header is absent or broken.
    """
    address = _parsed(peer)
    if address is None or not is_trusted(peer, trusted):
        return peer
    for text in reversed(forwarded_for.split(",")):
        hop = _parsed(text)
        if hop is None:
            break
        address = hop
        if not _is_in(hop, trusted):
            break
    return str(address)


def is_trusted(peer: str, trusted: Sequence[Network]) -> bool:
    """Tell whether the connection comes from a proxy whose headers are believed."""
    address = _parsed(peer)
    return address is not None and _is_in(address, trusted)


def device(user_agent: str) -> str:
    """Return what a client says that it is, fit to be shown and kept."""
    return "".join(char for char in user_agent if char.isprintable())[:MAX_DEVICE_CHARS]


def _parsed(text: str) -> _Address | None:
    """Return the address in ``text``, without a port, brackets or IPv4-mapping; None if there is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_in(address: _Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
