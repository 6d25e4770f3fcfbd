"""The request for usage is added to any body, and changes nothing else in it."""

from __future__ import annotations

import json
from itertools import takewhile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.request.body import ParsedBody, parse_body
from autopilot.request.usage_option import ask_for_usage

_BLANK = st.sampled_from(["", " ", "\n\t"])
_OPTIONS, _ASKED, _EACH = "stream_options", "include_usage", "continuous_usage_stats"
_SPELLED = {_OPTIONS: "stream\\u005foptions", _ASKED: "include\\u005fusage"}
_SCALARS = st.sampled_from(
    ["true", "false", "null", "0", "1e400", '"}"', '"\\ud800"', "[{}]", "{}"]
)


class Pairs(list[tuple[str, Any]]):
    """The members of an object, in order."""


@st.composite
def _objects(draw: st.DrawFn, names: list[str], values: st.SearchStrategy[str]) -> str:
    """Return an object of a few members with these names, some of them escaped."""
    members = []
    for name in draw(st.lists(st.sampled_from(names), max_size=4)):
        spelled = draw(st.sampled_from([name, _SPELLED.get(name, name)]))
        around = [draw(_BLANK) for _ in range(4)]
        value = draw(values)
        members.append(f'{around[0]}"{spelled}"{around[1]}:{around[2]}{value}{around[3]}')
    return "{" + (",".join(members) or draw(_BLANK)) + "}"


_GIVEN = st.one_of(_objects([_ASKED, _EACH, "x"], _SCALARS), _SCALARS)


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    """Return a body with a model among members that may be options, at any place."""
    before = draw(_objects([_OPTIONS, "x", "messages"], _GIVEN))[1:-1].strip()
    behind = draw(_objects([_OPTIONS, "y"], _GIVEN))[1:-1].strip()
    named = draw(st.sampled_from(['"model":"m"', '"model" : "\\u007d"', '"models":["m"]']))
    blanks = draw(_BLANK), draw(_BLANK)
    inner = ",".join(part for part in (before, named, behind) if part)
    return f"{blanks[0]}{{{inner}}}{blanks[1]}".encode()


def read(body: bytes) -> Pairs:
    """Return the members of a body, those of its objects likewise."""
    members: Pairs = json.loads(body, object_pairs_hook=Pairs)
    return members


def expected(members: Pairs) -> Pairs:
    """Return the members with the request for usage, by the plainest rule."""
    options = [value for name, value in members if name == _OPTIONS]
    if not options:
        return Pairs([*members, (_OPTIONS, Pairs([(_ASKED, True)]))])
    (value, *others) = options
    if others or not isinstance(value, Pairs):
        return members
    if any(name == _EACH and each not in (None, False) for name, each in value):
        return members
    asked = [each for name, each in value if name == _ASKED]
    if len(asked) > 1 or (asked and asked[0] is not None and asked[0] is not False):
        return members
    asking = Pairs((name, True if name == _ASKED else each) for name, each in value)
    if not asked:
        asking.append((_ASKED, True))
    return Pairs((name, asking if name == _OPTIONS else each) for name, each in members)


def common(one: bytes, other: bytes) -> int:
    """Return the number of bytes with which both begin."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class UsageOptionProperties(SynchronousTestCase):
    """The edit against the rule."""

    @settings(max_examples=200)
    @given(_bodies(), st.sampled_from(["m", "org/Model", 'q"}']))
    def test_any_body(self, body: bytes, model: str) -> None:
        """The members are as expected, and the bytes around the edit are the client's."""
        parsed = parse_body(body)
        assert isinstance(parsed, ParsedBody), parsed
        before = parsed.template.naming(model)
        template = ask_for_usage(parsed).template
        sent = template.naming(model)
        self.assertEqual(read(sent), expected(read(before)))
        self.assertEqual(template.asks_usage, sent != before)
        self.assertEqual(template.size, len(sent) - len(json.dumps(model)))
        start = common(sent, before)
        end = common(sent[start:][::-1], before[start:][::-1])
        self.assertLessEqual(len(before) - start - end, len("false"))
