"""Where a request comes from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """The client's address, proxies seen through, and what its user agent says of the device."""

    address: str = ""
    device: str = ""
