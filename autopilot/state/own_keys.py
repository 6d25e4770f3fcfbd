"""The operator's own keys: which of them a request has, and what it may do at present.

Only digests of the keys are known. The table is keyed by a hash under a secret of this process and
the digests are compared in constant time, so that no answer's time says how near a guess was.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import blake2b, sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from autopilot.http.key_gate import MISSING_KEY, credentials, is_signed
from autopilot.routing.key_policy import KeyRules, expired
from autopilot.routing.router_error import RouterError

if TYPE_CHECKING:
    from autopilot.http.headers import Field, Named
    from autopilot.state.budgets import KeyBudgets

UNKNOWN_KEY: Final = RouterError(
    401,
    "unknown_key",
    "The router does not know this API key. Use one that its operator has given out.",
)
_SEVERAL_KEYS: Final = RouterError(
    401,
    "unknown_key",
    "The request has more than one API key. Send one, in 'Authorization: Bearer' or, on"
    " /v1/messages, in 'x-api-key'.",
)
_SIGNED: Final = RouterError(
    401,
    "unknown_key",
    "This router accepts API keys of its operator only, not requests that are signed with a"
    " hotkey.",
)
_SECRET_BYTES: Final = 32


class OwnKey(Struct, frozen=True):
    """A key by its SHA-256, with its rules."""

    digest: bytes
    rules: KeyRules

    def __repr__(self) -> str:
        return f"OwnKey({self.rules.name!r})"


class OwnKeys:
    """Finds the key of a request. ``wall`` returns the seconds since 1970."""

    def __init__(
        self,
        keys: Iterable[OwnKey],
        budgets: KeyBudgets,
        wall: Callable[[], float],
        refused: Callable[[str, str], None] = lambda name, code: None,
    ) -> None:
        """``refused`` is called with the name of a key and the code, for each limit reached."""
        self.budgets = budgets
        self._refused = refused
        self._wall = wall
        self._secret = secrets.token_bytes(_SECRET_BYTES)
        self._keys: dict[bytes, OwnKey] = {}
        self.configure(keys)

    @property
    def rules(self) -> tuple[KeyRules, ...]:
        """The rules of the keys, in the file's order."""
        return tuple(each.rules for each in self._keys.values())

    def configure(self, keys: Iterable[OwnKey]) -> None:
        """Know these keys from now on; requests in progress go on."""
        self._keys = {self._place(each.digest): each for each in keys}

    def find(self, path: bytes, named: Named) -> KeyRules | RouterError:
        """Return the rules of the key that a request has, or the error."""
        if is_signed(named):
            return _SIGNED
        given = credentials(path, named)
        if not given:
            return MISSING_KEY
        digest = sha256(given[0]).digest()
        if any(not compare_digest(digest, sha256(other).digest()) for other in given[1:]):
            return _SEVERAL_KEYS
        key = self._keys.get(self._place(digest))
        if key is None or not compare_digest(key.digest, digest):
            return UNKNOWN_KEY
        return expired(key.rules, self._wall()) or key.rules

    def refusal(self, path: bytes, named: Named) -> RouterError | None:
        """Return the error by which a request is refused for its head; it is not counted yet."""
        rules = self.find(path, named)
        if isinstance(rules, RouterError):
            return rules
        return self.limited(rules)

    def limited(self, rules: KeyRules) -> RouterError | None:
        """Return the error if this key has no request left at present."""
        error = self.budgets.refusal(rules)
        if error is None:
            return None
        self._refused(rules.name, error.code)
        return replace(error, fields=tuple(self.budgets.fields(rules)), key=rules.name)

    def explained(self, rules: KeyRules, error: RouterError) -> RouterError:
        """Return an error whose response has what the key has left."""
        return with_fields(error, self.budgets.fields(rules))

    def _place(self, digest: bytes) -> bytes:
        return blake2b(digest, key=self._secret, digest_size=16).digest()


def with_fields(error: RouterError, fields: Iterable[Field]) -> RouterError:
    """Return an error whose response also has these header fields."""
    return replace(error, fields=tuple(fields))
