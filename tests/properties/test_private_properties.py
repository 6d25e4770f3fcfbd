"""Private mode: whatever a client sends, what asks for it is private or refused, never plain."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.headers import by_name
from autopilot.request.body import ParsedBody, parse_body
from autopilot.request.parse import ParseConfig, ParsedRequest, parse_request
from autopilot.request.private_body import sealable
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.commit import Commit
from autopilot.routing.patterns import patterns_of
from autopilot.routing.plan import Plan, Rules
from autopilot.routing.private_mode import ALWAYS, ASK, OFF, PRIVATE_ALIAS, PrivateMode
from autopilot.routing.private_standing import PrivateStanding
from autopilot.routing.ranking import Ranked
from autopilot.routing.router_error import RouterError
from autopilot.routing.routes import Route
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.snapshot import Snapshot

TEE = frozenset({"acme/A-TEE", "acme/C"})
CATALOG = Catalog.of(
    [
        Model("acme/A-TEE", "11111111-2222-3333-4444-555555555555", True),
        Model("acme/B", "b", False),
        Model("acme/C", "c", True),
        Model("acme/D", None, True),
    ]
)
ROUTES = {
    "sealed": Route("sealed", ("acme/*",), alias_last=True, tee=True, private=True),
    "plain": Route("plain", ("acme/B", "acme/C")),
}
RANKING = tuple(Ranked(n, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1, 0.0, 0.0) for n in CATALOG.models)

quick = settings(deadline=None, max_examples=120)
blanks = st.text(" \t\n\v", max_size=2)
names = st.sampled_from(
    [*CATALOG.models, "acme/a", "b", "nobody", "gpt-4", "chutesai/AutoPilot", "plain", "sealed"]
)
spelled = st.sampled_from([PRIVATE_ALIAS, "AutoPilot-Private"]).flatmap(
    lambda name: st.sampled_from([name, name.lower(), name.upper(), name.swapcase()])
)
suffixes = st.sampled_from(["", ":latency", ":THROUGHPUT", ":THINKING", ":THINKING:latency", ":"])
items = st.tuples(blanks, names | spelled, suffixes, blanks).map("".join)
selectors = st.lists(items, min_size=1, max_size=4).map(",".join)
headers = st.lists(st.sampled_from([b"require", b"REQUIRE ", b"", b"off", b"no"]), max_size=3)
modes = st.sampled_from(list(PrivateMode))
unknown = st.sampled_from(["reject", "forward", "alias"])


def asks(model: str, values: list[bytes]) -> bool:
    """Return, in other words than the code's, whether a request asks for private mode."""
    parts = [part.strip(" \t\r\n\v\f").partition(":")[0].strip() for part in model.split(",")]
    named = any(part == "sealed" or part.lower().endswith("autopilot-private") for part in parts)
    return named or any(value.strip().lower() == b"require" for value in values)


texts = st.text(max_size=6) | st.sampled_from(["thinking", "enable_thinking", "e2e_response_pk"])
scalars = st.none() | st.booleans() | st.integers(-9, 9) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
keys = texts | st.sampled_from(["model", "chat_template_kwargs", "stream", "x\u00e9"])
members = st.lists(st.tuples(keys, values), max_size=5)


def spelled_out(name: str, escaped: bool) -> str:
    """Return a member's name as JSON, perhaps with each character as an escape."""
    if not escaped:
        return json.dumps(name)
    units = name.encode("utf-16-be")
    return '"' + "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)) + '"'


class BodyProperties(SynchronousTestCase):
    """Whatever members a body has, in any order and spelling, also several times."""

    @quick
    @given(members, members, st.booleans(), st.booleans())
    def test_what_is_sealed(
        self,
        before: list[tuple[str, object]],
        after: list[tuple[str, object]],
        escaped: bool,
        thinks: bool,
    ) -> None:
        """What the instance reads is what was sent, with the model's name and the switches."""
        pairs = [*before, ("model", "acme/C"), *after]
        body = ",".join(f"{spelled_out(k, escaped)}:{json.dumps(v)}" for k, v in pairs)
        wanted = dict(pairs)
        parsed = parse_body(f"{{{body}}}".encode())
        if isinstance(parsed, RouterError):
            self.assertNotEqual(wanted["model"], "acme/C")
            return
        found = sealable(parsed, f"{{{body}}}".encode(), thinking=False)
        stream = wanted.get("stream")
        if "e2e_response_pk" in wanted or not (stream is None or isinstance(stream, bool)):
            self.assertIsInstance(found, RouterError)
            return
        assert isinstance(found, ParsedBody), found
        sealed = json.loads(found.template.naming("m:THINKING" if thinks else "m"))
        wanted["model"] = "m"
        if stream is None:
            wanted.pop("stream", None)
        given = wanted.get("chat_template_kwargs")
        if thinks and (given is None or isinstance(given, dict)):
            both = {"thinking": True, "enable_thinking": True}
            wanted["chat_template_kwargs"] = {**(given or {}), **both}
        self.assertEqual(sealed, wanted)
        self.assertIs(found.stream, stream is True)


class PrivateProperties(SynchronousTestCase):
    """All spellings, header fields, modes and treatments of unknown names."""

    @quick
    @given(selectors, headers, modes, unknown, st.booleans(), st.sets(st.sampled_from(sorted(TEE))))
    def test_never_plain(
        self,
        model: str,
        values: list[bytes],
        mode: PrivateMode,
        unknown: str,
        as_list: bool,
        unattestable: set[str],
    ) -> None:
        """What asks is planned in private mode over confidential models, or is refused."""
        rules = Rules(
            frozenset({"chutesai/AutoPilot"}),
            8,
            unknown_models=unknown,  # type: ignore[arg-type]
            patterns=patterns_of(["gpt-*", "chutesai/*"]),
            routes=ROUTES,
            private=mode is not OFF,
        )
        config = ParseConfig.of(rules, Commit.CONTENT, 100_000, mode)
        member = {"models": model.split(",")} if as_list else {"model": model}
        named = by_name([(b"X-Autopilot-Private", value) for value in values])
        parsed = parse_request(named, json.dumps(member).encode(), config)
        if isinstance(parsed, RouterError):
            return
        self.assertNotEqual((mode, asks(model, values)), (OFF, True))
        snapshot = Snapshot(CATALOG, RANKING)
        parsed = parsed.settled(snapshot, rules)
        standing = PrivateStanding(unattestable=frozenset(unattestable))
        planned = parsed.plan(snapshot, rules, RoutingState(), standing)
        if asks(model, values) or mode is ALWAYS:
            self.assertTrue(parsed.private)
        if parsed.private and isinstance(planned, Plan):
            self.assertLessEqual(set(planned.models), TEE - unattestable)
            self.assertEqual(len(set(planned.models)), len(planned.models))

    @quick
    @given(selectors, headers, modes)
    def test_header_never_turns_it_off(
        self, model: str, values: list[bytes], mode: PrivateMode
    ) -> None:
        """A request that is private without header fields is so with any, or is refused."""
        rules = Rules(frozenset({"chutesai/AutoPilot"}), 8, routes=ROUTES, private=mode is not OFF)
        config = ParseConfig.of(rules, Commit.CONTENT, 100_000, mode)
        body = json.dumps({"model": model}).encode()
        without = parse_request({}, body, config)
        named = by_name([(b"X-Autopilot-Private", value) for value in values])
        found = parse_request(named, body, config)
        if isinstance(without, ParsedRequest) and isinstance(found, ParsedRequest):
            self.assertGreaterEqual(found.private, without.private)
        if isinstance(without, RouterError):
            self.assertIsInstance(found, RouterError)

    @quick
    @given(spelled, suffixes)
    def test_alias_alone(self, name: str, suffix: str) -> None:
        """The alias asks in each spelling, also where its suffix makes it unknown."""
        config = ParseConfig.of(Rules(frozenset(), 8, private=True), Commit.CONTENT, 100_000, ASK)
        parsed = parse_request({}, json.dumps({"model": name + suffix}).encode(), config)
        assert isinstance(parsed, ParsedRequest)
        self.assertTrue(parsed.private)
