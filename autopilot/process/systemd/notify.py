"""Telling a service manager how the process is, in datagrams (systemd's ``NOTIFY_SOCKET``)."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from time import monotonic_ns

from twisted.logger import Logger

_SECONDS_TO_SEND = 1.0

_log = Logger()


class Notifier:
    """Tells the socket at `address` what becomes of the process; without an address, nobody."""

    def __init__(self, address: str = "") -> None:
        self._address = address

    def ready(self) -> None:
        """It listens, or has done with reloading."""
        self._tell("READY=1", "STATUS=Listening; /readyz tells whether the feeds are fresh")

    def reloading(self) -> None:
        """It reads its settings again; ``ready`` is to follow."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}")

    def stopping(self, seconds: float) -> None:
        """It ends, which may take so long whatever the manager's own limit is."""
        self._tell(
            "STOPPING=1",
            "STATUS=Finishing the answers under way",
            f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}",
        )

    def alive(self) -> None:
        """It still turns."""
        self._tell("WATCHDOG=1", patience=0.0)

    def _tell(self, *assignments: str, patience: float = _SECONDS_TO_SEND) -> None:
        if not self._address:
            return
        # A leading @ stands for the zero byte of a name outside the file system.
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
                teller.settimeout(patience)
                teller.sendto("\n".join(assignments).encode(), address)
        except BlockingIOError:
            pass  # a sign of life, and more of them wait to be read than fit
        except OSError as wrong:
            _log.warn(
                "The service manager could not be told {what}: {why}",
                what=assignments[0],
                why=wrong.strerror or type(wrong).__name__,
            )


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Within how many seconds a sign of life is expected of the process `pid`, if at all."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    if not (microseconds.isascii() and microseconds.isdigit()) or int(microseconds) == 0:
        return None
    return int(microseconds) / 1e6
