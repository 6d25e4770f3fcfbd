"""The seeds of the targets: the corpus of the wire tests, and small inputs of every kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from autopilot.routing.commit import Commit
from tests.corpus.corpora import REQUESTS, RESPONSES, Ending
from tests.rigs.fuzz.pieces import joined, single
from tests.rigs.fuzz.shapes import LARGE, TWO_MODELS, shape
from tests.rigs.fuzz.upstream import CLOSES, RESETS, STREAM, TWO
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN, chunk, head
from tests.unit.web.browsers import ask, request

HTTP: Final = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b":", b"\x00", b"\x0b", b"\xff", b",", b";"),
    *(b"0\r\n\r\n", b"1\r\nx\r\n", b"HTTP/1.1", b"HTTP/1.0", b"POST ", b"GET ", b"HEAD "),
    *(b"Content-Length: 1\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n"),
    *(b"Host: h\r\n", b"Upgrade: h2c\r\n", b"\r\n folded", b"HTTP/1.1 100 Continue\r\n\r\n"),
    *(b"HTTP/1.1 200 OK\r\n", b"/v1/chat/completions", b"/v1/messages", b"text/event-stream"),
)
SSE: Final = (
    *(TOKEN, ROLE, STOP, DONE, b"\n\n", b"\r\n", b"\r", b"data: ", b"data", b"event: error\n"),
    *(b'\n{"error":"no"}\n', b'{"error":"no"}', b"\n{", b"\xef\xbb\xbf", b": ping\n\n"),
    *(b'{"type":"message_stop"}', b'"id":"2"', b'"role":"assistant"', b'"error":{"message":"x"}'),
)
JSON: Final = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u006d", b"\\ud800", b"null", b"true"),
    *(b"1e999", b"-0", b"NaN", b" ", b"\n", b"\xff", b"\xc3\xa9", b'"model":"a"', b'"model"'),
    *(b'"stream":null', b'"stream":true', b'"stream_options":null,', b"[" * 64, b"9" * 40, b"-1"),
)
FEEDS: Final = (
    *(b'"id":"x"', b'"chute_id":"3"', b'"active_instance_count":1', b'"utilization_current":1'),
    *(b'"max_model_len":0', b'"context_length":1', b'"scalable":true', b'{"data":[', b"1000000000"),
)
EVIDENCE: Final = (
    *(
        b'"quote":"',
        b'"evidence":[',
        b'"gpu_evidence":[',
        b'"certificate":"',
        b'"instance_id":"i1"',
    ),
    *(b'"failed_instance_ids":["x"]', b'"detail":"', b"nonce", b"AAAA", b"=", b"BAACAIEAAAAAAAAA"),
)


def of_clients() -> Iterator[bytes]:
    """Return the corpus, cut as its files say, and a few valid requests."""
    for case in REQUESTS.cases():
        sent = case.sections["client sends"]
        yield joined(sent.reads, 0 if sent.ending is Ending.NOTHING else 2)
    good = request(body=ask("a"))
    chunked = request(
        b"/v1/chat/completions", b"Transfer-Encoding: chunked", body=chunk(ask("b")) + chunk(b"")
    )
    for choice in range(4):
        yield joined([good, chunked + good], choice)
        yield single(chunked + good, choice)


def of_upstreams() -> Iterator[bytes]:
    """Return the corpus for one model and for two, and valid responses that break anywhere."""
    endings = {Ending.NOTHING: 0, Ending.CLOSE: CLOSES, Ending.RESET: RESETS}
    for case in RESPONSES.cases():
        sent = case.sections["upstream sends"]
        choice = endings[sent.ending] | (STREAM if case.fact("request") == "stream" else 0)
        yield joined(sent.reads, choice)
        yield joined(sent.reads, choice | TWO)
    stream = head() + b"".join(map(chunk, (ROLE, TOKEN, STOP, DONE, b"")))
    unframed = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    for choice in range(16):
        yield single(stream, choice)
        yield joined([stream[:-40]], choice)
        yield joined([unframed, ROLE, TOKEN, STOP, DONE, b"x"], choice)
        yield joined([unframed, ROLE, TOKEN, STOP], choice)


def of_bodies() -> Iterator[bytes]:
    """Return valid, invalid and borderline request bodies."""
    yield ask("a", messages=[{"role": "user", "content": "hi"}], tools=[{"type": "function"}])
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    yield ask("a", messages=[{"role": "user", "content": [picture]}], max_tokens=7)
    yield ask("a", response_format={"type": "json_object"}, stream_options=None)
    yield ask("a", input=[{"role": "user", "content": [{"type": "input_image"}]}], prompt=["x y"])
    yield b'{"stream":true,"model":"a","stream":null,"n":1.0}'
    yield b'{"stream_options": {"include_usage":false , "x":[1]},"model":"a","stream":true}'
    yield b'{"model":"a","x":{"model":"b"},"model" : "c","y":1e999}'
    yield b'{"mod\\u0065l":"a","\\u006dodel":null,"t":NaN}'
    yield b'{"model":"\\ud800"}'
    yield b'\xef\xbb\xbf{"model":"a"}'
    yield b'{ "model" : "a" , "messages" : "\\"model\\":\\"b\\"" }'
    yield b'{"stream":null,"model":"a"}'
    yield b'{"models":["a","b:latency"],"n":1.0}'
    yield b'{"n":1, "models":["b"] , "model":"a","models":[]}'
    yield from (b"", b"[]", b"{}", b"null", b'{"model":1}', b'{"model":" "}', b'{"a":1,}', b"\xff")


def of_catalogs() -> Iterator[bytes]:
    """Return entries of every format that the platform has used."""
    yield catalog_body(entry(), entry("b", chute_id=None), entry("b"))
    yield catalog_body(entry(max_model_len=0, context_length="x", input_modalities=[1]))
    yield b'{"data":[{"id":"a","x":{"y":[1e999]}},{"id":"b\\u00e9"},{"id":""}]}'
    yield from (b'{"data":[]}', b"[]", b'{"data":{}}', b'{"data":[1,2]}', b"", b"\xff", b"[" * 50)


def of_utilization() -> Iterator[bytes]:
    """Return records of every format that the platform has used."""
    yield utilization_body(record(), record("b", chute_id="2"), record("c-TEE", chute_id=None))
    yield utilization_body(record("b", utilization_5m=None, rate_limit_ratio_5m=1e9))
    yield utilization_body(record("b", active_instance_count=10**9, scale_allowance=7))
    yield utilization_body(record("[private chute]"), record("b"), record("b", chute_id="9"))
    yield from (b"[]", b"{}", b'[{"name":"a"}]', b"", b"[1]", b"null")


def of_evidence() -> Iterator[bytes]:
    """Return responses of every status; their evidence is too short to be valid."""
    one = {
        "quote": "BAACAIEAAAAAAAAA" + "A" * 800,
        "instance_id": "i1",
        "gpu_evidence": [{"certificate": "AAAA", "evidence": "AAAA"}],
        "certificate": "AAAA",
    }
    whole = json.dumps({"evidence": [one, one], "failed_instance_ids": ["x"]}).encode()
    yield b"\x00" + whole
    yield b'\x00{"evidence":[]}'
    yield b'\x00{"evidence":[{"quote":1},{"quote":"\\n="}],"failed_instance_ids":null}'
    for status in range(10):
        yield bytes([status]) + b'{"detail":[{"msg":"requires chutes_version, nonce"}]}'
        yield bytes([status]) + b"attestation"


def of_events() -> Iterator[bytes]:
    """Return complete and truncated streams in every dialect."""
    spliced = ROLE + TOKEN + ROLE.replace(b'"1"', b'"2"') + TOKEN + DONE
    anthropic = (
        b'event: ping\rdata: {"type":"ping"}\r\rdata: {"type":"content_block_delta"}\r\n\r\n'
    )
    readings = 3 * len(Commit) * 2
    for reading in range(readings):
        choice = reading + readings * (reading % 6)  # with each guard and limit, in turn
        yield joined([ROLE[:9], ROLE[9:] + TOKEN, STOP + DONE], choice)
        yield joined([spliced], choice)
        yield joined([anthropic, b'event: error\ndata: {"type":"error"}\n\n'], choice)
        yield joined([ROLE, b'\n{"error":"no"}\n' + TOKEN], choice)
        yield joined([b'\xef\xbb\xbf{"fine":true}\n\n{', b'"error"', b':"no"}'], choice)
        yield joined([b"data: a\ndata:b\nid: 1\n\r\n: c\n\ndata\n\n"], choice)


def of_long_bodies() -> Iterator[bytes]:
    """Return bodies of the units that the hold suite repeats."""
    model = b'{"model":"a",'
    for before, unit, after in (
        (model + b'"messages":[{"role":"user","content":"', b"word ", b'"}]}'),
        (model + b'"messages":[{"type":"image"}', b",[]", b"]}"),
        (model + b'"user":"', b"\\ud800", b'"}'),
        (model + b'"prompt":[1', b",1", b"]}"),
        (model + b'"x":', b"[", b""),
        (model, b'"a":1,', b'"b":{}}'),
        (b'{"models":["a"', b',"a"', b"]}"),
        (b" ", b"\n", b"{}"),
    ):
        yield shape(before, unit, after)
        yield shape(before, unit, after, LARGE)


def of_long_streams() -> Iterator[bytes]:
    """Return streams of the units that the hold suite repeats."""
    for unit in (TOKEN, ROLE, b"{\n", b"\n", b"\r", b":\n", b"data: x\n", b"data: {\n\n", b"x"):
        for choice in (0, LARGE, TWO_MODELS, LARGE | TWO_MODELS):
            yield shape(b"", unit, b"\n\n", choice)
            yield shape(TOKEN, unit, DONE, choice)
