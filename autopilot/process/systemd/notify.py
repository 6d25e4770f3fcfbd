"""State notifications to a service manager, as datagrams (sd_notify(3), ``NOTIFY_SOCKET``)."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from time import monotonic_ns

from twisted.logger import Logger

_SEND_TIMEOUT = 1.0

_log = Logger()


class Notifier:
    """Sends notifications to the socket at `address`; does nothing without an address."""

    def __init__(self, address: str = "") -> None:
        self._address = address

    def ready(self) -> None:
        """Report that the router listens, or that it has finished reloading."""
        self._notify("READY=1", "STATUS=Listening; /readyz shows whether the feeds are fresh")

    def reloading(self) -> None:
        """Report that the router reloads its settings; ``ready`` must follow."""
        self._notify("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}")

    def stopping(self, seconds: float) -> None:
        """Report that the router stops, and extend the manager's own time limit to `seconds`."""
        self._notify(
            "STOPPING=1",
            "STATUS=Finishing the responses in progress",
            f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}",
        )

    def alive(self) -> None:
        """Send a keep-alive to the watchdog. It never blocks: the next one follows soon."""
        self._notify("WATCHDOG=1", timeout=0.0)

    def _notify(self, *assignments: str, timeout: float = _SEND_TIMEOUT) -> None:
        if not self._address:
            return
        # A leading @ denotes an abstract socket, whose name begins with a zero byte (unix(7)).
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(timeout)
                sender.sendto("\n".join(assignments).encode(), address)
        except BlockingIOError:
            pass  # a keep-alive, and the manager's queue is already full of them
        except OSError as error:
            _log.warn(
                "Could not notify the service manager of {state}: {error}",
                state=assignments[0],
                error=error.strerror or type(error).__name__,
            )


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the watchdog's period for the process `pid` in seconds, None without a watchdog."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    if not (microseconds.isascii() and microseconds.isdigit()) or int(microseconds) == 0:
        return None
    return int(microseconds) / 1e6
