"""The upstream events of the router, in order.

The tape keeps their order, so that they can be reported to the model one by one.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from tests.properties.exchange_attempt import Read
from tests.properties.exchange_replies import Event


class Tried(NamedTuple):
    """The router selected a model."""

    request: str
    model: str


class Dialled(NamedTuple):
    """The router started a connection attempt, or was refused at once."""

    request: str
    refused: bool


class Sent(NamedTuple):
    """The request was sent, over a new or a reused connection."""

    request: str
    model: str
    reused: bool


class Received(NamedTuple):
    """The router read a part of the response."""

    request: str
    read: Read


class Lost(NamedTuple):
    """The upstream ended the connection during a call.

    ``tail`` is completed by the end, if the connection delimits the response.
    """

    request: str
    politely: bool
    tail: tuple[Event, ...]


Entry: TypeAlias = "Tried | Dialled | Sent | Received | Lost"
