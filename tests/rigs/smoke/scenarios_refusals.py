"""Requests without failover: account limits, and requests that are invalid or too large."""

from __future__ import annotations

import json
from functools import partial

from tests.rigs.smoke.client import Exchange, post_head
from tests.rigs.smoke.scenario import Scenario
from tests.rigs.smoke.served import expect_refusal, expect_relayed
from tests.rigs.smoke.stage import ALIAS, CHAT, Stage, completion

GOOD = "stub/ok"
# The body limit of the shared router.
LIMIT = 65_536


def _limited(stage: Stage, model: str, *, stream: bool, no_retry: bool) -> None:
    """Check that a limit on the account or address is relayed without failover."""
    reply = stage.ask(f"{model},{GOOD}", stream=stream)
    expect_relayed(stage, reply, model, stream=stream, status=429)
    should_retry = "false" if no_retry else None
    stage.expect("x-should-retry", reply.header("x-should-retry"), should_retry)


def _limited_alias(stage: Stage) -> None:
    best = stage.bench.router.ranking()[0]
    stage.bench.stub.script(best, ["429-edge-html"])
    reply = stage.ask(ALIAS, stream=True)
    expect_relayed(stage, reply, best, stream=True, status=429)


def _unknown(stage: Stage, *, selector: str, named: tuple[str, ...]) -> None:
    reply = stage.ask(selector, stream=True)
    expect_refusal(stage, reply, 400, "unknown_model")
    message = reply.json()["error"]["message"]
    stage.expect(
        "every unknown name is in the message",
        [each in message for each in named],
        [True] * len(named),
    )
    stage.expect_calls()


def _bad_bodies(stage: Stage) -> None:
    """Check the error code of each kind of invalid body, and that none is forwarded."""
    rows: tuple[tuple[bytes, str], ...] = (
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"model":"stub/ok"} {}', "invalid_json"),
        (b'{"model":"stub/ok","n":NaN}', "invalid_json"),
        (b'{"model":"stub/ok","x":"\xff"}', "invalid_json"),
        (b'{"model":"stub/ok","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "invalid_json"),
        (b'["stub/ok"]', "invalid_body"),
        (b"{}", "missing_model"),
        (b'{"model":""}', "missing_model"),
        (b'{"model":7}', "invalid_model"),
        (b'{"model":" , ,"}', "invalid_model_list"),
    )
    for body, code in rows:
        expect_refusal(stage, stage.end(stage.begin(body)), 400, code)
    stage.expect_calls()


def _compressed(stage: Stage) -> None:
    body = completion(GOOD, stream=False)
    reply = stage.end(stage.begin(body, fields=[("Content-Encoding", "gzip")]))
    expect_refusal(stage, reply, 415, "unsupported_content_encoding")
    stage.expect_calls()


def _sized(size: int) -> bytes:
    """Return a valid request of the given size."""
    body = json.dumps({"model": GOOD, "messages": [], "pad": ""}).encode()
    return body[:-2] + b"x" * (size - len(body)) + body[-2:]


def _at_limit(stage: Stage, *, in_chunks: bool) -> None:
    body = _sized(LIMIT)
    reply = stage.end(stage.begin(body, in_chunks=in_chunks))
    stage.expect("status", reply.status, 200)
    stage.expect("a clean end", reply.clean, True)
    (call,) = stage.expect_calls(GOOD)
    stage.expect("bytes upstream", call["body_bytes"], len(body))


def _over_limit(stage: Stage, *, in_chunks: bool) -> None:
    reply = stage.end(stage.begin(_sized(LIMIT + 1), in_chunks=in_chunks))
    expect_refusal(stage, reply, 413, "request_too_large")
    stage.expect_calls()


def _announced(stage: Stage) -> None:
    """Check that a declared length over the limit is refused without waiting for the body."""
    fields = (("Authorization", f"Bearer {stage.token}"), ("Content-Length", str(LIMIT + 1)))
    reply = stage.end(Exchange(stage.bench.router.port, post_head(CHAT, fields)))
    expect_refusal(stage, reply, 413, "request_too_large")
    stage.expect_calls()


def _no_such_path(stage: Stage) -> None:
    reply = stage.end(stage.begin(completion(GOOD, stream=False), path="/v1/embeddings"))
    expect_refusal(stage, reply, 404, "not_found")
    wrong = stage.page(CHAT)
    expect_refusal(stage, wrong, 405, "method_not_allowed")
    stage.expect("allow", wrong.header("allow"), "POST")
    stage.expect_calls()


def _limits(kind: str, model: str, *, no_retry: bool) -> tuple[Scenario, ...]:
    return tuple(
        Scenario(
            f"list, {kind} 429 passes, {how}",
            partial(_limited, model=model, stream=how == "streamed", no_retry=no_retry),
        )
        for how in ("plain", "streamed")
    )


SCENARIOS: tuple[Scenario, ...] = (
    *_limits("edge", "stub/429-edge-html", no_retry=True),
    *_limits("account", "stub/429-account", no_retry=False),
    Scenario("alias, edge 429 passes", _limited_alias),
    Scenario("unknown model", partial(_unknown, selector="stub/okk", named=("stub/okk",))),
    Scenario(
        "list with unknown models",
        partial(_unknown, selector=f"{GOOD},no/such-a,no/such-b", named=("no/such-a", "no/such-b")),
    ),
    Scenario("bad bodies", _bad_bodies),
    Scenario("compressed body", _compressed),
    Scenario("body at the limit", partial(_at_limit, in_chunks=False)),
    Scenario("body at the limit, chunked", partial(_at_limit, in_chunks=True)),
    Scenario("body over the limit", partial(_over_limit, in_chunks=False)),
    Scenario("body over the limit, chunked", partial(_over_limit, in_chunks=True)),
    Scenario("body over the limit, only announced", _announced),
    Scenario("no such path or method", _no_such_path),
)
