"""The endpoints that are relayed, and the dialect each speaks."""

from __future__ import annotations

from collections.abc import Mapping

from autopilot.relay.dialect import Dialect

RELAYED: Mapping[bytes, Dialect] = {
    b"/v1/chat/completions": Dialect.COMPLETIONS,
    b"/v1/completions": Dialect.COMPLETIONS,
    b"/v1/messages": Dialect.MESSAGES,
    b"/v1/responses": Dialect.RESPONSES,
}
