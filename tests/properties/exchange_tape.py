"""What the router does upstream and hears from there, as entries of a tape.

The tape keeps the order of things, so that the model can be told of them one by one.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from tests.properties.exchange_attempt import Read
from tests.properties.exchange_replies import Event


class Tried(NamedTuple):
    """The router turned to a model."""

    request: str
    model: str


class Dialled(NamedTuple):
    """It began to open a connection for that, or was refused at once."""

    request: str
    refused: bool


class Sent(NamedTuple):
    """The request left, over a connection that was used before or not."""

    request: str
    model: str
    reused: bool


class Received(NamedTuple):
    """The router read something of the response."""

    request: str
    read: Read


class Lost(NamedTuple):
    """The upstream ended the connection in the middle of a call.

    ``tail`` is what that completes, if the response ends with its connection.
    """

    request: str
    politely: bool
    tail: tuple[Event, ...]


Entry: TypeAlias = "Tried | Dialled | Sent | Received | Lost"
