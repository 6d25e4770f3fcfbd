"""The checks of a relayed request's head that need no body, in the order of contract §2.

Both channels use them: the router's own before it receives the body, Twisted's behind it.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from autopilot.http.error_bodies import too_large
from autopilot.http.headers import Named, text
from autopilot.http.key_gate import KeyGate
from autopilot.http.private_gate import HEADER, PrivateGate
from autopilot.http.resource_ledger import Admission
from autopilot.routing.commit import Commit
from autopilot.routing.router_error import RouterError

_LOOP_DETECTED = RouterError(
    508,
    "loop_detected",
    "The request came back to this router: one of its base URLs leads to the router itself.",
)
_CODED = RouterError(
    415,
    "unsupported_content_encoding",
    "Compressed request bodies are not supported; send the body as it is.",
)
_INVALID_COMMIT = RouterError(
    400,
    "invalid_commit",
    "The header X-Autopilot-Commit must be byte, content or complete.",
)
_INVALID_AFFINITY = RouterError(
    400,
    "invalid_header",
    "The header X-Autopilot-Affinity must be off, or absent.",
)
_INVALID_KEEP_ALIVE = RouterError(
    400,
    "invalid_header",
    "The header X-Autopilot-Keepalive must be 0 or a number of milliseconds from 1000 to 86400000.",
)
_IDENTITY = frozenset({b"", b"identity"})
_COMMIT = b"x-autopilot-commit"
_AFFINITY = b"x-autopilot-affinity"
KEEP_ALIVE = b"x-autopilot-keepalive"
_CODING = b"content-encoding"
JUDGED = frozenset({_COMMIT, _AFFINITY, KEEP_ALIVE, HEADER, _CODING})
"""The fields that say how a request is to be handled, which few requests have."""
# As of the setting. Nothing cuts a connection sooner, and each comment is a write.
_LEAST_MS, _MOST_MS = 1_000, 86_400_000


class HeadGate:
    """Refuses requests for the relay by their head.

    ``relayed`` are the paths of the relay, and ``pseudonym`` is the router's name in ``Via``
    fields.
    """

    __slots__ = ("awaits_bodies", "keys", "private", "pseudonym", "relayed")

    def __init__(
        self,
        relayed: Container[bytes] = (),
        pseudonym: bytes = b"",
        *,
        awaits_bodies: bool = False,
    ) -> None:
        """``awaits_bodies``: resources that may read the body of any request are on the site."""
        self.relayed = relayed
        self.pseudonym = pseudonym
        self.awaits_bodies = awaits_bodies
        self.keys = KeyGate()
        self.private = PrivateGate()

    def refusal(
        self,
        path: bytes,
        named: Named,
        length: int | None,
        max_body: int,
        admission: Admission,
    ) -> RouterError | None:
        """Return the error for a ``POST`` to a path of the relay, if it has one.

        ``length`` is that of the body, ``None`` if it is not known yet. ``admission`` charges the
        request; if there is an error, the caller drops the charge.
        """
        if b"via" in named and passed_through(named[b"via"], self.pseudonym):
            return _LOOP_DETECTED
        keys = self.keys
        if path in keys.paths and (error := keys.refusal(path, named)) is not None:
            return error
        known = keys.known
        if known is not None and (error := known.refusal(path, named)) is not None:
            return error
        too_long = length is not None and length > max_body
        error = admission.admit(named, 0 if too_long or length is None else length)
        if error is not None:
            return error
        if not JUDGED.isdisjoint(named) or path in self.private.watched:
            error = self._judge(path, named)
            if error is not None:
                return error
        return too_large(max_body) if too_long else None

    def _judge(self, path: bytes, named: Named) -> RouterError | None:
        """Return the error for one of the fields that say how a request is to be handled."""
        for judge in (commit_point, affinity_off, keep_alive):
            if isinstance(wish := judge(named), RouterError):
                return wish
        return self.private.refusal(path, named) or coding_error(named)


def passed_through(via: Sequence[bytes], pseudonym: bytes) -> bool:
    """Return whether ``Via`` fields name a proxy (RFC 9110 §7.6.3): its name is a word of its own.

    The name is random, so it is of no use to look whether the word stands in a comment.
    """
    return any(pseudonym in value.lower().replace(b",", b" ").split() for value in via)


def coding_error(named: Named) -> RouterError | None:
    """Return the error if the body is compressed."""
    for value in named.get(_CODING, ()):
        if value.strip().lower() not in _IDENTITY:
            return _CODED
    return None


def commit_point(named: Named) -> Commit | RouterError | None:
    """Return the commit point that the client asks for; ``None`` if it leaves it to the router."""
    value = text(named, _COMMIT).lower()
    if not value:
        return None
    try:
        return Commit(value)
    except ValueError:
        return _INVALID_COMMIT


def affinity_off(named: Named) -> bool | RouterError:
    """Return whether the client asks not to be kept to a model, nor remembered."""
    value = text(named, _AFFINITY).lower()
    if not value:
        return False
    return True if value == "off" else _INVALID_AFFINITY


def keep_alive(named: Named) -> float | RouterError | None:
    """Return the seconds of silence that the client asks to be bridged; ``None`` if it does not."""
    value = text(named, KEEP_ALIVE)
    if not value:
        return None
    if len(value) > len(str(_MOST_MS)) or not (value.isascii() and value.isdigit()):
        return _INVALID_KEEP_ALIVE
    milliseconds = int(value)
    if milliseconds and not _LEAST_MS <= milliseconds <= _MOST_MS:
        return _INVALID_KEEP_ALIVE
    return milliseconds / 1000
