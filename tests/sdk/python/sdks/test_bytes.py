"""``httpx`` and ``aiohttp``, which return the raw bytes."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import httpx
import pytest

from tests.sdk.python.sdks.served import (
    ALIAS,
    BASE_URL,
    BRIDGED,
    HELLO,
    LIST,
    SLOW_LIST,
    STUB,
    Caller,
)

_URL = f"{BASE_URL}/chat/completions"
_COMMENT = b": keep-alive\n\n"


def body(model: str, *, stream: bool = True) -> dict[str, object]:
    """Return the body of a request."""
    return {"model": model, "messages": HELLO, "stream": stream, "seed": 5}


def fields(caller: Caller) -> dict[str, str]:
    """Return its header fields."""
    return {"Authorization": f"Bearer {caller.key}"}


async def _aiohttp(caller: Caller, model: str, *, stream: bool, **more: str) -> tuple[int, bytes]:
    own = fields(caller) | more
    async with (
        aiohttp.ClientSession() as session,
        session.post(_URL, json=body(model, stream=stream), headers=own) as response,
    ):
        return response.status, await response.read()


def _httpx(caller: Caller, model: str, *, stream: bool) -> tuple[int, bytes]:
    asked = httpx.post(_URL, json=body(model, stream=stream), headers=fields(caller))
    return asked.status_code, asked.content


@pytest.mark.parametrize("model", [ALIAS, LIST, "stub/ok"])
@pytest.mark.parametrize("stream", [True, False])
def test_same_bytes(model: str, stream: bool) -> None:
    """Both receive the bytes that the platform sends to a direct client."""
    one, other = Caller(), Caller()
    status, received = _httpx(one, model, stream=stream)
    assert status == 200
    asked = body(one.models()[-1], stream=stream)
    direct = httpx.post(f"{STUB}/v1/chat/completions", json=asked, headers=fields(one))
    assert _unnamed(received) == _unnamed(direct.content)
    status, received = asyncio.run(_aiohttp(other, one.models()[-1], stream=stream))
    assert (status, _unnamed(received)) == (200, _unnamed(direct.content))


def _unnamed(received: bytes) -> bytes:
    """Remove the ids, which differ between answers."""
    return re.sub(rb"[0-9a-f]{16,}", b"", received)


@pytest.mark.parametrize(
    ("scenario", "status"), [("400-context", 400), ("404-model", 404), ("503-cold", 503)]
)
def test_errors(scenario: str, status: int) -> None:
    """Errors are relayed unchanged."""
    for got, text in (
        _httpx(Caller(), f"stub/{scenario}", stream=True),
        asyncio.run(_aiohttp(Caller(), f"stub/{scenario}", stream=True)),
    ):
        assert got == status
        assert b"{" in text


def test_events_come_when_they_are_sent() -> None:
    """An event arrives before the platform sends the next."""
    caller = Caller()
    asked = body("stub/stall-mid-stream")
    with httpx.stream("POST", _URL, json=asked, headers=fields(caller)) as response:
        first = next(response.iter_raw())
        assert first.startswith(b"data: ")
        assert [each["ended"] for each in caller.calls()] == [False]
    caller.left()


def test_comments() -> None:
    """A slow answer behind comments is, for both, the one that comes without them."""
    one, other = Caller(), Caller()
    asked = fields(one) | BRIDGED
    bridged = httpx.post(_URL, json=body(SLOW_LIST), headers=asked)
    usual = httpx.post(_URL, json=body("stub/slow-head"), headers=fields(one))
    got = asyncio.run(_aiohttp(other, SLOW_LIST, stream=True, **BRIDGED))
    for status, received in ((bridged.status_code, bridged.content), got):
        assert (status, received.startswith(_COMMENT)) == (200, True)
        assert _unnamed(received.replace(_COMMENT, b"")) == _unnamed(usual.content)
    assert other.models() == SLOW_LIST.split(",")


def test_leaving_aiohttp() -> None:
    """A client that disconnects during a stream ends the upstream call."""
    caller = Caller()

    async def leave() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                _URL, json=body("stub/stall-mid-stream"), headers=fields(caller)
            ) as response,
        ):
            assert (await response.content.readany()).startswith(b"data: ")

    asyncio.run(leave())
    caller.left()


def test_cut_stream() -> None:
    """A truncated body is not complete."""
    with pytest.raises(httpx.RemoteProtocolError):
        _httpx(Caller(), "stub/drop-mid-stream", stream=True)
    with pytest.raises(aiohttp.ClientPayloadError):
        asyncio.run(_aiohttp(Caller(), "stub/drop-mid-stream", stream=True))


def test_connections_are_kept() -> None:
    """Several requests share one connection."""
    with httpx.Client(limits=httpx.Limits(max_connections=1)) as client:
        for _ in range(5):
            assert client.post(_URL, json=body("stub/ok", stream=False)).status_code == 200


def test_compressed() -> None:
    """A compressed answer is relayed only if the platform sends one."""
    direct = httpx.post(f"{STUB}/v1/chat/completions", json=body("stub/ok", stream=False))
    routed = httpx.post(_URL, json=body("stub/ok", stream=False))
    assert routed.headers.get("content-encoding") == direct.headers.get("content-encoding")
