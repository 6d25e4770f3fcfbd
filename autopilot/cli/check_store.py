"""The check of the store of shared state: connection, TLS, password, messages and a write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.task import deferLater

from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.settings import Settings
from autopilot.upstream.endpoints import trust_root
from autopilot.wiring.store import store_of

_CHECK: Final = "store"
_POLL: Final = 0.02
_REMEDIES: Final = {
    "unreached": "Check host and port in STATE_URL, and that the server runs and listens there.",
    "tls": (
        "Check that the server speaks TLS on this port, that its certificate has the name in"
        " STATE_URL, and that UPSTREAM_CA_FILE names its authority."
    ),
    "credentials": "Correct user and password in STATE_URL: redis://user:password@host.",
    "database": "Correct the number of the database at the end of STATE_URL.",
    "closed": "Use rediss:// in STATE_URL if the server speaks TLS; check who may connect to it.",
    "protocol": "Correct the port in STATE_URL: another program answers there.",
    "forbidden": (
        "Grant the user the rights that the page about shared state lists: `ACL SETUSER`."
    ),
    "loading": "Wait until the server has loaded its data.",
    "full": "Give the server more memory or disk, or a policy of eviction.",
    "read_only": "Let STATE_URL name the primary, not a replica.",
}
_OTHER: Final = "Check the server: it does not answer in time, or refuses commands."


async def check_store(reactor: Any, settings: Settings, timeout: float) -> Sequence[CheckResult]:
    """Connect as the router does, and write; without STATE_URL there is no result."""
    named = settings.state_url
    if named is None or isinstance(named, str):
        return ()
    ca_file = settings.upstream_ca_file
    store = store_of(settings, reactor, reactor, trust_root(Path(ca_file) if ca_file else None))
    began = reactor.seconds()
    store.start()
    try:
        # The store writes when it connects, so that a refusal shows here.
        while (status := store.status()).fault == "stopped" or not store.tried_writing:
            if status.state == "down" and status.fault != "stopped":
                break
            if reactor.seconds() - began >= timeout:
                return (_result(named.server, CheckState.FAIL, "no answer in time", "slow"),)
            await deferLater(reactor, _POLL)
    finally:
        store.stop()
    if status.state == "ok":
        took = (reactor.seconds() - began) * 1000
        detail = f"connected and written to within {took:.0f} ms"
        return (CheckResult(_CHECK, named.server, CheckState.OK, detail),)
    # A store that refuses writes is still used.
    state = CheckState.FAIL if status.state == "down" else CheckState.WARN
    return (_result(named.server, state, status.text, status.fault),)


def _result(subject: str, state: CheckState, detail: str, fault: str) -> CheckResult:
    remedy = _REMEDIES.get(fault, _OTHER)
    return CheckResult(_CHECK, subject, state, detail, remedy)
