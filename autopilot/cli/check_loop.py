"""The check that no base URL leads back to the router, whose requests would then never end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.settings import Settings
from autopilot.upstream.pool import Origin

_RELAYED: Final = ("BACKEND_BASE_URL", "MESSAGES_BASE_URL", "RESPONSES_BASE_URL")


def loops(settings: Settings) -> Iterator[CheckResult]:
    """Yield a failure for each base URL at which this router itself would listen."""
    host, _, port = settings.listen_addr.rpartition(":")
    listening = host.strip("[]").lower()
    for name in _RELAYED:
        origin = Origin.of(getattr(settings, name.lower()))
        if origin.port == int(port) and _reaches(origin.host.rstrip("."), listening):
            detail = (
                "leads to this router itself, which listens at LISTEN_ADDR"
                f" ({settings.listen_addr}); set it to the server behind the router, or change the"
                " port of LISTEN_ADDR"
            )
            yield CheckResult("config", name, CheckState.FAIL, detail)


def _reaches(host: str, listening: str) -> bool:
    """Return whether a connection to ``host`` arrives at a socket that listens on an address."""
    if host == listening or _is_any(host):
        return True
    if host == "localhost" or host.endswith(".localhost"):
        return _is_any(listening) or _is_loopback(listening)
    if _is_any(listening):
        return _is_own(host)
    return listening == "localhost" and _is_loopback(host)


def _is_any(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_unspecified
    return False


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def _is_own(host: str) -> bool:
    """Return whether ``host`` is an address or the name of this machine, without a look-up."""
    try:
        address = ip_address(host)
    except ValueError:
        return host in {socket.gethostname().lower(), socket.getfqdn().lower()}
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
