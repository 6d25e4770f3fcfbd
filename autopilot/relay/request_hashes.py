"""Hashes of what identifies a request: its client, its key upstream, its conversation.

Tables keep these alone, neither keys nor addresses (contract §5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopilot.http.key_gate import HOTKEY, is_signed
from autopilot.request.conversation_id import conversation_id
from autopilot.routing.identity import Hasher, client_key, upstream_key

if TYPE_CHECKING:
    from autopilot.relay.downstream import ClientRequest
    from autopilot.request.json_fast import BodyFields
    from autopilot.routing.identity import Trust


class RequestHashes:
    """Makes the hashes of requests, all with one secret key.

    ``trust`` says whose forwarding fields are believed; a reload replaces it.
    """

    def __init__(self, key: bytes, trust: Trust) -> None:
        self.hasher = Hasher(key)
        self.trust = trust

    def client(self, request: ClientRequest) -> bytes:
        """Return the hash that stands for a request's client (contract §5)."""
        named = request.headers.named
        authorization = named.get(b"authorization")
        if authorization and (holder := self.hasher.holder(authorization[0])) is not None:
            return holder  # the usual client, of which nothing else counts
        api_key, forwarded = named.get(b"x-api-key"), named.get(b"x-forwarded-for")
        hotkey = None
        if HOTKEY in named and is_signed(named):
            hotkey = named[HOTKEY][0].decode("latin-1").strip()
        return client_key(
            None,
            api_key[0].decode("latin-1") if api_key else None,
            request.peer,
            [value.decode("latin-1") for value in forwarded] if forwarded else (),
            self.trust,
            self.hasher,
            hotkey,
        )

    def upstream_key(self, request: ClientRequest) -> bytes:
        """Return the hash of the key by which the platform counts a request."""
        if request.lease is not None:
            sent = request.lease.authorization.decode("latin-1")
            return upstream_key(sent, None, None, self.hasher)
        named = request.headers.named
        authorization, api_key = named.get(b"authorization"), named.get(b"x-api-key")
        hotkey = named.get(HOTKEY)
        return upstream_key(
            authorization[0].decode("latin-1") if authorization else None,
            api_key[0].decode("latin-1") if api_key else None,
            hotkey[0].decode("latin-1").strip() if hotkey else None,
            self.hasher,
        )

    def conversation(self, request: ClientRequest, fields: BodyFields) -> bytes:
        """Return the hash of a request's conversation."""
        talk = conversation_id(request.headers.named, fields)
        return self.hasher.conversation(self.client(request), talk)
