"""The open questions about private mode, and what answers of the platform say about them.

A fact has numbers and fixed words only: nothing of a key, a nonce, an id or a text of the platform.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from autopilot.attestation.instances import Discovery
from autopilot.attestation.sealed_stream import StreamOpener
from autopilot.attestation.sealing import ReplyError, ResponseKey, open_reply, strict_base64
from tests.rigs.live.reply import Reply

QUESTIONS: Final[Mapping[str, str]] = {
    "PRIV-1": "is discovery limited for all callers, and how does it say so",
    "PRIV-2": "how long does evidence of one instance take, cold and warm",
    "PRIV-3": "are signature and attested_body there",
    "PRIV-4": "is the platform up to date under the current evaluation, with the usual attributes",
    "PRIV-5": "are the registers in the published list",
    "PRIV-6": "is the end of a stream sealed, and in which pieces does it come",
    "PRIV-7": "the largest request at the edge, HTTP/2, the idle cut of streams",
    "PRIV-8": "can the engine's sealed 400 be opened",
    "PRIV-9": "does the gateway check that header and body agree on stream",
    "PRIV-10": "does cache_salt reach the engine, does its prefix cache work",
    "PRIV-11": "how often does an instance show up again in a discovery",
    "PRIV-12": "text completions and embeddings on this path",
    "PRIV-13": "are instances of AMD handed out",
}
"""By row of the matrix."""

NOT_ASKED: Final[Mapping[str, str]] = {
    "PRIV-7": "not asked: it would take long uploads and long silences",
    "PRIV-10": "not asked: it would take several long prompts",
}
"""What a few small calls cannot settle."""

CALLS: Final = 16
"""The most of a run."""

_LIMITED: Final = "Rate limit exceeded. Try again later."
_TEE_TYPES: Final = frozenset({"tdx", "sev-snp", "sev_snp", "snp"})
_SEALED_LENGTH: Final = 100


def private_plan(pace: float) -> str:
    """Return the calls in words."""
    return "\n".join(
        (
            "private mode, with one TEE model:",
            "    2 calls for catalog and feed, 2 discoveries, 2 for evidence of one instance",
            "    1 call for the measurements, 4 for Intel's data, which get no key",
            "    2 sealed calls that make a model say at most 8 tokens each",
            "    3 sealed calls that are refused before a token",
            f"{CALLS} calls at most, one at a time and {pace:g} s apart",
        )
    )


def discovered(reply: Reply, found: Discovery | None) -> str:
    """Return what a discovery says of itself."""
    if found is None:
        usual = " with the known text" if _detail(reply) == _LIMITED else ""
        return f"discovery: status {reply.status}{usual if reply.status == 429 else ''}"
    nonces = sorted({len(each.nonces) for each in found.instances})
    each = " or ".join(map(str, nonces)) or "no"
    return (
        f"discovery: {len(found.instances)} instances with {each} nonces, used for"
        f" {found.seconds:.0f} s"
    )


def again(first: Collection[str], second: Collection[str]) -> str:
    """Return how many instances of a discovery were in an earlier one."""
    return f"{len(set(first) & set(second))} of {len(second)} instances were in the one before"


def took(seconds: float, what: str) -> str:
    """Return how long an answer took."""
    return f"{what}: {seconds:.1f} s"


def envelope(reply: Reply) -> list[str]:
    """Return which of the newer members an answer with evidence has."""
    members = _object(reply)
    return [
        f"{name}: {'there' if isinstance(members.get(name), str) else 'not there'}"
        for name in ("signature", "attested_body")
    ]


def tee_type(reply: Reply) -> str:
    """Return the kind of TEE that evidence names."""
    given = _object(reply).get("tee_type")
    if given is None:
        return "tee_type is not there"
    known = isinstance(given, str) and given.lower() in _TEE_TYPES
    return f"tee_type is {given.lower() if known else 'of an unknown kind'}"


def evaluation(collateral: str) -> str:
    """Return the number of the evaluation of Intel's data."""
    number = json.loads(json.loads(collateral)["tcb_info"]).get("tcbEvaluationDataNumber")
    return f"evaluation {number}" if isinstance(number, int) else "no number of an evaluation"


def streamed(reply: Reply, key: ResponseKey) -> list[str]:
    """Return how a stream was sealed."""
    if reply.status != 200:
        return [f"stream: status {reply.status}"]
    opener = StreamOpener(key)
    opened = opener.feed(reply.body)
    opener.end()
    pieces = reply.body.count(b'data: {"e2e":')
    lines = opened.count(b"\n")
    facts = [
        f"its end is {'sealed' if opener.ended else 'not sealed'}",
        f"{pieces} pieces for {lines} lines",
    ]
    if opener.fault is not None:
        facts.append(f"fault: {opener.fault}")
    return [*facts, *(f"{times} unsealed {kind}" for kind, times in sorted(opener.plain.items()))]


def answered(reply: Reply, key: ResponseKey, what: str) -> str:
    """Return whether a plain answer could be opened."""
    if reply.status != 200:
        return f"{what}: status {reply.status}"
    try:
        open_reply(reply.body, key)
    except ReplyError as error:
        return f"{what}: 200 that cannot be opened, {error.fault}"
    return f"{what}: answered"


def refused(reply: Reply, key: ResponseKey) -> str:
    """Return the form of an engine's refusal, and whether the response key opens it."""
    detail = _detail(reply)
    if reply.status != 400 or detail is None or len(detail) < _SEALED_LENGTH:
        return f"a bad request: status {reply.status} without a sealed text"
    try:
        open_reply(strict_base64(detail.encode()), key)
    except (ReplyError, ValueError):
        return "a bad request: 400 with a sealed text that the response key does not open"
    return "a bad request: 400 with a sealed text that the response key opens"


def disagreeing(reply: Reply) -> str:
    """Return the answer to a body that streams under a header that does not."""
    return f"a stream under a header for none: status {reply.status}"


def _detail(reply: Reply) -> str | None:
    detail = _object(reply).get("detail")
    return detail if isinstance(detail, str) else None


def _object(reply: Reply) -> dict[str, Any]:
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
