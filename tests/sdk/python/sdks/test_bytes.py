"""``httpx`` and ``aiohttp``, which show the bytes as they come."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import httpx
import pytest

from tests.sdk.python.sdks.served import ALIAS, BASE_URL, HELLO, LIST, STUB, Caller

_URL = f"{BASE_URL}/chat/completions"


def body(model: str, *, stream: bool = True) -> dict[str, object]:
    """A request."""
    return {"model": model, "messages": HELLO, "stream": stream, "seed": 5}


def fields(caller: Caller) -> dict[str, str]:
    """Its header."""
    return {"Authorization": f"Bearer {caller.key}"}


async def _aiohttp(caller: Caller, model: str, *, stream: bool) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(_URL, json=body(model, stream=stream), headers=fields(caller)) as response,
    ):
        return response.status, await response.read()


def _httpx(caller: Caller, model: str, *, stream: bool) -> tuple[int, bytes]:
    asked = httpx.post(_URL, json=body(model, stream=stream), headers=fields(caller))
    return asked.status_code, asked.content


@pytest.mark.parametrize("model", [ALIAS, LIST, "stub/ok"])
@pytest.mark.parametrize("stream", [True, False])
def test_same_bytes(model: str, stream: bool) -> None:
    """Both get every byte that the platform gives whoever asks it directly for the same."""
    one, other = Caller(), Caller()
    status, received = _httpx(one, model, stream=stream)
    assert status == 200
    asked = body(one.models()[-1], stream=stream)
    direct = httpx.post(f"{STUB}/v1/chat/completions", json=asked, headers=fields(one))
    assert _unnamed(received) == _unnamed(direct.content)
    status, received = asyncio.run(_aiohttp(other, one.models()[-1], stream=stream))
    assert (status, _unnamed(received)) == (200, _unnamed(direct.content))


def _unnamed(received: bytes) -> bytes:
    """Without the ids that each answer has of its own."""
    return re.sub(rb"[0-9a-f]{16,}", b"", received)


@pytest.mark.parametrize(
    ("scenario", "status"), [("400-context", 400), ("404-model", 404), ("503-cold", 503)]
)
def test_errors(scenario: str, status: int) -> None:
    """Errors come as they are."""
    for got, text in (
        _httpx(Caller(), f"stub/{scenario}", stream=True),
        asyncio.run(_aiohttp(Caller(), f"stub/{scenario}", stream=True)),
    ):
        assert got == status
        assert b"{" in text


def test_events_come_when_they_are_sent() -> None:
    """An event is here while the platform still holds back the rest."""
    caller = Caller()
    asked = body("stub/stall-mid-stream")
    with httpx.stream("POST", _URL, json=asked, headers=fields(caller)) as response:
        first = next(response.iter_raw())
        assert first.startswith(b"data: ")
        assert [each["ended"] for each in caller.calls()] == [False]
    caller.left()


def test_leaving_aiohttp() -> None:
    """A client that leaves in mid-stream ends the platform's work."""
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
    """A body that broke is no whole body."""
    with pytest.raises(httpx.RemoteProtocolError):
        _httpx(Caller(), "stub/drop-mid-stream", stream=True)
    with pytest.raises(aiohttp.ClientPayloadError):
        asyncio.run(_aiohttp(Caller(), "stub/drop-mid-stream", stream=True))


def test_connections_are_kept() -> None:
    """Several requests on one connection."""
    with httpx.Client(limits=httpx.Limits(max_connections=1)) as client:
        for _ in range(5):
            assert client.post(_URL, json=body("stub/ok", stream=False)).status_code == 200


def test_compressed() -> None:
    """What a client can unpack is still only what the platform sends."""
    direct = httpx.post(f"{STUB}/v1/chat/completions", json=body("stub/ok", stream=False))
    routed = httpx.post(_URL, json=body("stub/ok", stream=False))
    assert routed.headers.get("content-encoding") == direct.headers.get("content-encoding")
