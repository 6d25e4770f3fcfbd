"""Request bodies: every member except ``model`` is forwarded unchanged."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.request import body as request_body
from autopilot.request.body import BodyTemplate, ParsedBody, parse_body
from autopilot.request.json_scan import InvalidJSONError, members
from autopilot.routing.router_error import RouterError

_BLANKS = st.text(" \t\r\n", max_size=3)
_NUMBERS = st.one_of(
    st.integers().map(str),
    st.sampled_from(["1.0", "1e400", "-0", "0.10", "1E+5", str(2**70), "9" * 5000, "-1.5e-400"]),
)
_TRICKY = ["model", "stream", "stream_options", "a", "", "\u2028", "\U0001f600", 'q"', "\\", "}{"]


@st.composite
def _strings(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    """Return a JSON string with some characters escaped."""
    spelled = []
    for character in draw(values):
        plain = character not in '"\\' and character >= " "
        if plain and not "\ud800" <= character <= "\udfff" and draw(st.booleans()):
            spelled.append(character)
        else:
            units = character.encode("utf-16-be", "surrogatepass")
            spelled += [f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2)]
    return '"' + "".join(spelled) + '"'


_TEXTS = st.text(st.characters(), max_size=6)
_HALVES = st.text(st.characters(categories=["Cs", "Ll"]), max_size=4)


def _list(items: list[str], blank: str) -> str:
    return "[" + f",{blank}".join(items) + blank + "]"


_VALUES = st.recursive(
    st.one_of(
        _NUMBERS,
        st.sampled_from(["true", "false", "null", "{}", "[ ]"]),
        _strings(_TEXTS),
        _strings(_HALVES),
    ),
    lambda inner: st.one_of(
        st.builds(_list, st.lists(inner, max_size=3), _BLANKS),
        st.builds(
            lambda key, value, blank: "{" + blank + key + ":" + blank + value + "}",
            _strings(_TEXTS),
            inner,
            _BLANKS,
        ),
    ),
    max_leaves=5,
)
_KEYS = _strings(st.one_of(st.sampled_from(_TRICKY), _TEXTS, _HALVES))


@st.composite
def _bodies(draw: st.DrawFn, keys: st.SearchStrategy[str] = _KEYS) -> bytes:
    """Return a JSON object with a ``model`` somewhere, with blanks and repeated keys."""
    pairs = draw(st.lists(st.tuples(keys, _VALUES), max_size=6))
    named = draw(st.sampled_from(["org/Model", "a,b", "é", "x"]))
    pairs.insert(
        draw(st.integers(0, len(pairs))), (draw(_strings(st.just("model"))), json.dumps(named))
    )

    def blank() -> str:
        return draw(_BLANKS)

    body = ",".join(f"{blank()}{key}{blank()}:{blank()}{value}{blank()}" for key, value in pairs)
    return f"{blank()}{{{body}}}{blank()}".encode()


def _pairs(body: bytes) -> list[tuple[str, bytes]]:
    """Return each member's key and exact bytes."""
    return [(member.key, body[member.start : member.end]) for member in members(body)]


def _decoded(body: bytes) -> Any:
    """Decode a body like a server that accepts numbers of any length."""
    return json.loads(body, parse_int=str)


def _going_up(body: bytes) -> list[bytes]:
    """Return the members that must be forwarded unchanged: not models, and not certain nulls."""
    pairs = _pairs(body)
    last = dict(pairs)
    traps = ("stream", "stream_options")
    return [
        text
        for key, text in pairs
        if key != "model"
        and not (key in traps and (text.endswith(b"null") or last[key].endswith(b"null")))
    ]


class BodyProperties(SynchronousTestCase):
    """Arbitrary objects."""

    @given(_bodies())
    def test_members(self, body: bytes) -> None:
        """The scanner finds the same members as the standard library."""
        pairs = json.loads(body, parse_int=str, object_pairs_hook=lambda found: found)
        self.assertEqual([key for key, _ in _pairs(body)], [key for key, _ in pairs])
        for member, (_, value) in zip(members(body), pairs, strict=True):
            text = body[member.value : member.end]
            self.assertEqual(
                json.loads(text, parse_int=str, object_pairs_hook=lambda found: found), value
            )

    @settings(max_examples=200)
    @given(_bodies(), st.sampled_from(["org/Other-TEE", 'q"\\', "é\u2028", "\U0001f600"]))
    def test_only_model_changes(self, body: bytes, model: str) -> None:
        """Every other member keeps its bytes and position; the only model is the new one."""
        ask = parse_body(body)
        if isinstance(ask, RouterError):
            self.assertIn(ask.code, ("missing_model", "invalid_model"))
            assume(False)
        assert isinstance(ask, ParsedBody)
        sent = ask.template.naming(model)
        self.assertEqual([text for key, text in _pairs(sent) if key != "model"], _going_up(body))
        self.assertEqual([key for key, _ in _pairs(sent)].count("model"), 1)
        self.assertEqual(_decoded(sent)["model"], model)
        self.assertEqual(_decoded(body)["model"], ask.model)
        self.assertEqual(_decoded(sent).get("stream") is True, ask.stream)
        self.assertEqual(
            ask.template.size, len(sent) - len(json.dumps(model, ensure_ascii=False).encode())
        )
        ask.needs()

    @given(_bodies(_strings(st.text("abc", min_size=1, max_size=1))))
    def test_all_else_equal(self, body: bytes) -> None:
        """With one model and no special nulls, no other byte changes."""
        ask = parse_body(body)
        assert isinstance(ask, ParsedBody)
        place = next(member for member in members(body) if member.key == "model")
        expected = body[: place.value] + b'"new"' + body[place.end :]
        self.assertEqual(ask.template.naming("new"), expected)
        again = parse_body(body)
        assert isinstance(again, ParsedBody)
        self.assertEqual(again.template.naming("new"), expected)

    @given(_bodies(), st.data())
    def test_damaged(self, body: bytes, data: st.DataObject) -> None:
        """A body with one wrong byte is refused exactly if the standard library refuses it."""
        place = data.draw(st.integers(0, len(body) - 1))
        byte = data.draw(st.sampled_from(list(b'"\\,:{}[]0x \x00\n\xff')))
        damaged = body[:place] + bytes([byte]) + body[place + 1 :]
        try:
            text = damaged.decode()
            valid = isinstance(json.loads(text, parse_int=str, parse_constant=_fail), dict)
        except ValueError:
            valid = False
        try:
            members(damaged)
            accepted = True
        except InvalidJSONError:
            accepted = False
        self.assertEqual(accepted, valid, damaged)

    @settings(max_examples=300)
    @given(_bodies(), st.data())
    def test_a_fast_scan_finds_what_a_close_one_does(
        self, body: bytes, data: st.DataObject
    ) -> None:
        """The fast scanner, where it applies, agrees with the close one."""
        if data.draw(st.booleans()):
            place = data.draw(st.integers(0, len(body) - 1))
            body = body[:place] + data.draw(st.binary(max_size=2)) + body[place + 1 :]
        with patch.object(request_body, "scan_fast", return_value=None):
            closely = parse_body(body)
        ask = parse_body(body)
        if isinstance(ask, RouterError) or isinstance(closely, RouterError):
            self.assertEqual(ask, closely)
            return
        self.assertEqual(ask.template.naming("new"), closely.template.naming("new"))
        self.assertEqual((ask.model, ask.stream), (closely.model, closely.stream))
        self.assertEqual(ask.needs(), closely.needs())

    @given(st.binary(max_size=60))
    def test_any_bytes(self, body: bytes) -> None:
        """Arbitrary bytes give a parsed body or a refusal with status 400."""
        ask = parse_body(body)
        self.assertTrue(isinstance(ask, ParsedBody) or ask.status == 400)

    @given(st.binary(max_size=9), st.binary(max_size=9), st.text(max_size=9))
    def test_hole(self, before: bytes, after: bytes, model: str) -> None:
        """The template accepts the model's JSON and nothing else."""
        named = BodyTemplate.of(before + after, len(before), len(before)).naming(model)
        self.assertEqual(json.loads(named[len(before) : len(named) - len(after)]), model)


def _fail(name: str) -> None:
    raise ValueError(name)
