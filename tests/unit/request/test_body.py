"""The request body, read once."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.request.body import ParsedBody, parse_body
from autopilot.routing.requirements import Needs
from autopilot.routing.router_error import RouterError


class _IntakeTests(SynchronousTestCase):
    def ask(self, body: bytes) -> ParsedBody:
        """An ask that must not be refused."""
        ask = parse_body(body)
        assert isinstance(ask, ParsedBody), ask
        return ask

    def refusal(self, body: bytes) -> RouterError:
        """A refusal that must be one."""
        refusal = parse_body(body)
        assert isinstance(refusal, RouterError), refusal
        return refusal


class BadInputTests(_IntakeTests):
    """Each kind of bad input has its code."""

    def test_codes(self) -> None:
        """Status 400, and a code that says what is wrong."""
        for body, code in (
            (b"", "invalid_json"),
            (b'{"model":"a"', "invalid_json"),
            (b'{"model":"\xff"}', "invalid_json"),
            (b'{"model":"a","x":NaN}', "invalid_json"),
            (b"[]", "invalid_body"),
            (b'"a"', "invalid_body"),
            (b"null", "invalid_body"),
            (b"[1,", "invalid_json"),
            (b"NaN", "invalid_json"),
            (b"\xef\xbb\xbf{}", "invalid_json"),
            (b'{"model":"a"} x', "invalid_json"),
            (b'{"model":"a","x":' + b"[" * 100_000, "invalid_json"),
            (b"[" * 100_000 + b"]" * 100_000, "invalid_json"),
            (b'{"model":"a"' + b',"a":1' * 5000 + b"}", "invalid_body"),
            (b"{}", "missing_model"),
            (b'{"model":null}', "missing_model"),
            (b'{"model":""}', "missing_model"),
            (b'{"model":" \\t\\n"}', "missing_model"),
            (b'{"Model":"a"}', "missing_model"),
            (b'{"model":1}', "invalid_model"),
            (b'{"model":true}', "invalid_model"),
            (b'{"model":["a"]}', "invalid_model"),
            (b'{"model":{}}', "invalid_model"),
            (b'{"model":"\\ud800"}', "invalid_model"),
            (b'{"model":"a","model":1}', "invalid_model"),
            (b'{"models":null}', "missing_model"),
            (b'{"models":[],"model":""}', "missing_model"),
            (b'{"models":["a"],"model":1}', "invalid_model"),
            (b'{"models":["a"],"model":["b"]}', "invalid_model"),
            (b'{"model":"a","models":"b"}', "invalid_model_list"),
            (b'{"model":"a","models":[1]}', "invalid_model_list"),
            (b'{"models":["a"],"models":{}}', "invalid_model_list"),
        ):
            refusal = self.refusal(body)
            self.assertEqual((refusal.status, refusal.code), (400, code), body)

    def test_a_long_model(self) -> None:
        """A selector of more than 64 KiB is refused before it is decoded, even one of escapes."""
        for body in (
            b'{"model":"%b"}' % (b"a" * 65_537),
            b'{"model":"%b"}' % (b" " * 2_000_000),
            b'{"model":"%b"}' % (b"\\u0020" * 20_000),
            b'{"model":"%b","models":null}' % (b"a" * 65_537),
            b'{"models":["%b"]}' % (b"a" * 200_000),
        ):
            self.assertEqual(self.refusal(body).code, "invalid_model", body[:40])
        self.assertEqual(self.ask(b'{"model":"%b"}' % (b"a" * 65_536)).model, "a" * 65_536)

    def test_any_depth(self) -> None:
        """However deep a body is, to the very limit, it is read or refused."""
        codes = []
        for depth in range(1, 1200):
            ask = parse_body(b'{"model":"m","x":' + b"[" * depth + b"]" * depth + b"}")
            codes.append(ask.code if isinstance(ask, RouterError) else "")
        self.assertLessEqual(set(codes), {"", "invalid_json"})
        self.assertEqual(codes, sorted(codes))

    def test_param(self) -> None:
        """Trouble with the model names the member."""
        self.assertEqual(self.refusal(b"{}").param, "model")
        self.assertEqual(self.refusal(b'{"model":1}').param, "model")
        self.assertEqual(self.refusal(b'{"model":"a","models":1}').param, "models")


class BodyTests(_IntakeTests):
    """Only the model changes on the way up."""

    def test_every_other_byte(self) -> None:
        """Blanks, order, spellings and numbers survive."""
        body = b' { "z":1.0,"model" : "m\\u002f" , "n":1e400, "k":1180591620717411303424 } \n'
        ask = self.ask(body)
        self.assertEqual(ask.model, "m/")
        self.assertEqual(ask.template.naming("x"), body.replace(b'"m\\u002f"', b'"x"'))

    def test_length(self) -> None:
        """A body knows its size without the model."""
        ask = self.ask(b'{"model":"abc","x":1}')
        self.assertEqual(ask.template.size, len(b'{"model":,"x":1}'))

    def test_equal_requests(self) -> None:
        """Equal requests stay equal bytes."""
        body = b'{"model":"a,b","x":[1, 2]}'
        self.assertEqual(self.ask(body).template.naming("b"), self.ask(body).template.naming("b"))

    def test_model_is_escaped(self) -> None:
        """A name cannot break out of its string."""
        name = 'a","stream":true,"x":"\n\u2028'
        sent = self.ask(b'{"model":"m"}').template.naming(name)
        self.assertEqual(json.loads(sent), {"model": name})

    def test_duplicated_model(self) -> None:
        """One model remains, the last, which is what every common parser reads."""
        for body in (
            b'{"model":"a","model":"b"}',
            b'{"model":"a","x":1,"mod\\u0065l":"b"}',
            b'{"model":1, "x":1, "model":"b" }',
            b'{"x":1,"model":"a","model":null,"model":"b","y":2}',
        ):
            ask = self.ask(body)
            self.assertEqual(ask.model, "b", body)
            pairs: list[tuple[str, Any]] = json.loads(
                ask.template.naming("c"), object_pairs_hook=lambda pairs: pairs
            )
            self.assertEqual([value for key, value in pairs if key == "model"], ["c"])
            self.assertEqual(
                [pair for pair in pairs if pair[0] != "model"],
                [pair for pair in [("x", 1), ("y", 2)] if b'"%b"' % pair[0].encode() in body],
            )

    def test_other_duplicates_stay(self) -> None:
        """Other members are not the router's business, twice or not."""
        body = b'{"a":1,"model":"m","a":2}'
        self.assertEqual(self.ask(body).template.naming("m"), body)

    def test_null_traps(self) -> None:
        """``stream`` and ``stream_options`` of null mean absent; the platform would refuse them."""
        for body, left in (
            (b'{"model":"m","stream":null}', b'{"model":"m"}'),
            (b'{"stream":null,"model":"m"}', b'{"model":"m"}'),
            (b'{"stream_options":null, "model":"m", "x":null}', b'{"model":"m", "x":null}'),
            (b'{ "stream" : null , "model":"m" }', b'{ "model":"m" }'),
        ):
            sent = self.ask(body).template.naming("m")
            self.assertEqual(json.loads(sent), json.loads(left), body)
            self.assertNotIn(b"stream", sent)

    def test_null_means_what_it_says(self) -> None:
        """A null that counts takes the earlier ones with it: they must not come to life again."""
        for body, left in (
            (b'{"stream":true,"model":"m","stream":null}', b'{"model":"m"}'),
            (
                b'{"stream":null,"model":"m","stre\\u0061m":true}',
                b'{"model":"m","stre\\u0061m":true}',
            ),
            (b'{"stream_options":{},"stream_options":null,"model":"m"}', b'{"model":"m"}'),
            (b'{"a":1,"stream":null, "b":2, "model":"m"}', b'{"a":1, "b":2, "model":"m"}'),
        ):
            self.assertEqual(self.ask(body).template.naming("m"), left)

    def test_same_idea_of_stream(self) -> None:
        """The router and the platform agree on whether to stream."""
        for stream in (
            b'"stream":true',
            b'"stream":false',
            b'"stream":null',
            b'"stream":true,"stream":null',
            b'"stream":null,"stream":true',
            b'"stream":true,"stream":false',
            b'"stream":"true"',
            b'"stream":1',
            b'"x":true',
        ):
            ask = self.ask(b'{"model":"m",' + stream + b"}")
            upstream = json.loads(ask.template.naming("m"))
            self.assertEqual(ask.stream, upstream.get("stream") is True, stream)

    def test_large(self) -> None:
        """Of a large body the pieces are views, which join to the same bytes."""
        body = json.dumps({"messages": "x" * 100_000, "model": "m", "n": 1}).encode()
        pieces = self.ask(body).template.pieces("n")
        self.assertEqual([type(piece) for piece in pieces], [memoryview, bytes, memoryview])
        self.assertEqual(b"".join(pieces), body.replace(b'"m"', b'"n"'))

    def test_shown_nowhere(self) -> None:
        """What holds a body does not show it."""
        ask = self.ask(b'{"model":"m","messages":["secret"],"x":"secret"}')
        self.assertNotIn("secret", repr(ask))
        self.assertNotIn("secret", repr(ask.template))


class ModelsTests(_IntakeTests):
    """``models`` beside ``model``, and without it."""

    def check(self, body: bytes, model: str, sent: bytes) -> None:
        """The selector, and the bytes that go up for the model x."""
        ask = self.ask(body)
        self.assertEqual((ask.model, ask.template.naming("x")), (model, sent), body)

    def test_beside_model(self) -> None:
        """It is taken out with the comma before it, or with the one behind it if it is first."""
        for body, sent in (
            (b'{"model":"a", "models":["b"]}', b'{"model":"x"}'),
            (b'{"model":"a" ,\n "models" : ["b"] , "n":1 }', b'{"model":"x"  , "n":1 }'),
            (b'{ "models":["b"], "model":"a"}', b'{ "model":"x"}'),
            (b'{"n":1.0,"models":["b"],"model":"a"}', b'{"n":1.0,"model":"x"}'),
            (b'{"n":1, "mod\\u0065ls":["b"], "model":"a"}', b'{"n":1, "model":"x"}'),
        ):
            self.check(body, "a,b", sent)

    def test_alone(self) -> None:
        """It becomes the model, in its place."""
        for body, sent in (
            (b'{"models":["a","b"]}', b'{"model":"x"}'),
            (b' { "n":1, "models" : [ "a" , "b" ] , "m":2 } ', b' { "n":1, "model":"x" , "m":2 } '),
            (b'{"models":["a","b"],"n":1e400}', b'{"model":"x","n":1e400}'),
        ):
            self.check(body, "a,b", sent)
        self.check(b'{"models":["a"]}', ",a", b'{"model":"x"}')

    def test_beside_an_empty_model(self) -> None:
        """A ``model`` that names nothing gives the place and no name."""
        for model in (b"null", b'""', b'" "'):
            body = b'{"model": %b,"models":["a","b"],"n":1}' % model
            self.check(body, "a,b", b'{"model": "x","n":1}')

    def test_absent(self) -> None:
        """null and an empty list count as absent, and are taken out."""
        for models in (b"null", b"[]", b"[ ]"):
            self.check(b'{"model":"a","models":%b,"n":1}' % models, "a", b'{"model":"x","n":1}')
            self.check(b'{"models":%b,"model":"a"}' % models, "a", b'{"model":"x"}')

    def test_repeated(self) -> None:
        """The last one counts; all are taken out, or make room for the one ``model``."""
        body = b'{"models":["z"],"n":1,"models":["a","b"],"m":2}'
        self.check(body, "a,b", b'{"n":1,"model":"x","m":2}')
        body = b'{"models":["z"],"model":"a","models":["b"]}'
        self.check(body, "a,b", b'{"model":"x"}')
        self.check(b'{"models":["z"],"model":"a","models":null}', "a", b'{"model":"x"}')

    def test_beside_null_traps(self) -> None:
        """What else must not go up is taken out as well."""
        body = b'{"stream":null, "models":["b"], "stream_options":null, "model":"a", "stream":null}'
        self.check(body, "a,b", b'{"model":"x"}')
        body = b'{"stream":null, "models":["a","b"], "n":1, "stream":null}'
        self.check(body, "a,b", b'{"model":"x", "n":1}')
        self.assertTrue(self.ask(b'{"models":["a"],"stream":true}').stream)

    def test_inside_another_member(self) -> None:
        """Only the body's own member counts."""
        body = b'{"model":"a","metadata":{"models":["b"]}}'
        self.check(body, "a", body.replace(b'"a"', b'"x"'))


class NeedsTests(_IntakeTests):
    """What a request needs of a model."""

    def needs(self, **members: Any) -> Needs:
        """The needs of a body with these members."""
        return self.ask(json.dumps({"model": "m", **members}).encode()).needs()

    def parts(self, *kinds: str) -> Needs:
        """The needs of a conversation with these content parts."""
        content = [{"type": kind, kind: {}} for kind in kinds]
        return self.needs(
            messages=[{"role": "system", "content": "x"}, {"role": "user", "content": content}]
        )

    def test_nothing(self) -> None:
        """Plain text needs nothing."""
        self.assertEqual(self.needs(messages=[{"role": "user", "content": "image"}]), Needs())

    def test_parts(self) -> None:
        """Content parts by kind."""
        self.assertEqual(self.parts("text", "image_url"), Needs(images=True))
        self.assertEqual(self.parts("input_image"), Needs(images=True))
        self.assertEqual(self.parts("input_audio"), Needs(audio=True))
        self.assertEqual(self.parts("video_url", "image_url"), Needs(video=True, images=True))

    def test_responses_input(self) -> None:
        """The responses endpoint calls its conversation ``input``."""
        content = [{"type": "input_image", "image_url": "x"}]
        self.assertEqual(
            self.needs(input=[{"role": "user", "content": content}]), Needs(images=True)
        )

    def test_both_conversations(self) -> None:
        """An empty one of them hides nothing in the other."""
        content = [{"type": "input_image", "image_url": "x"}]
        self.assertEqual(self.needs(messages=None, input=[{"content": content}]).images, True)

    def test_pictures_from_tools(self) -> None:
        """A tool's result may hold parts of its own."""
        result = {"type": "tool_result", "content": [{"type": "image", "source": {}}]}
        self.assertEqual(self.needs(messages=[{"content": [result]}]), Needs(images=True))

    def test_spelled_with_escapes(self) -> None:
        """A kind is the same in every spelling."""
        body = b'{"model":"m","messages":[{"content":[{"type":"\\u0069mage_url"}]}]}'
        self.assertEqual(self.ask(body).needs(), Needs(images=True))

    def test_tools(self) -> None:
        """Tools, unless there are none."""
        self.assertEqual(self.needs(tools=[{"type": "function"}]), Needs(tools=True))
        self.assertEqual(self.needs(tools=[]), Needs())
        self.assertEqual(self.needs(tools=None), Needs())

    def test_formats(self) -> None:
        """Structured output, in both kinds."""
        self.assertEqual(
            self.needs(response_format={"type": "json_schema"}), Needs(json_schema=True)
        )
        self.assertEqual(self.needs(response_format={"type": "json_object"}), Needs(json_mode=True))
        self.assertEqual(self.needs(response_format={"type": "text"}), Needs())
        self.assertEqual(self.needs(response_format="json_object"), Needs())

    def test_beside_what_cannot_be_decoded(self) -> None:
        """Half of a surrogate pair in a schema or a tool hides neither."""
        half = b'"\\ud800"'
        body = b'{"model":"m","response_format":{"type":"json_schema","x":%b},"tools":[%b]}'
        self.assertEqual(self.ask(body % (half, half)).needs(), Needs(json_schema=True, tools=True))
        shapeless = b'{"model":"m","response_format":[%b]}' % half
        self.assertEqual(self.ask(shapeless).needs(), Needs())

    def test_lists_without_tools(self) -> None:
        """An empty list in any spelling, and one of numbers, holds no tools."""
        for tools in (b"[ ]", b"[\n]", b"[1]", b"[ -1]"):
            self.assertEqual(self.ask(b'{"model":"m","tools":%b}' % tools).needs(), Needs(), tools)
        self.assertEqual(self.ask(b'{"model":"m","tools":[ {}]}').needs(), Needs(tools=True))

    def test_limits(self) -> None:
        """The completion limit, by each of its names, the newest first."""
        self.assertEqual(self.needs(max_tokens=5), Needs(completion_tokens=5))
        self.assertEqual(self.needs(max_output_tokens=6), Needs(completion_tokens=6))
        self.assertEqual(
            self.needs(max_tokens=5, max_completion_tokens=7), Needs(completion_tokens=7)
        )
        self.assertEqual(self.needs(max_tokens=None, max_output_tokens=True), Needs())

    def test_absurd_members(self) -> None:
        """Members of an absurd shape are no needs."""
        absurd: Any
        for absurd in (0, "x", {}, [], True, None, [[]], {"type": []}, {"type": None}, 1.5):
            needs = self.needs(
                messages=absurd,
                input=absurd,
                tools=absurd if absurd != [[]] else "x",
                response_format=absurd,
                max_tokens=absurd if absurd != 0 else "0",
            )
            self.assertEqual(needs, Needs(), absurd)
        digits = b"9" * 5000
        huge = b'{"model":"m","max_tokens":' + digits + b',"tools":[' + digits + b"]}"
        self.assertEqual(self.ask(huge).needs(), Needs())
        deep = b'{"model":"m","tools":' + b"[" * 500 + b"]" * 500 + b"}"
        self.assertEqual(self.ask(deep).needs(), Needs(tools=True))

    def test_absurd(self) -> None:
        """What cannot be understood needs nothing, and never raises."""
        for messages in (
            1,
            "image",
            {"image": 1},
            [1, None, "image", {"content": 5}],
            [{"content": [1, {"type": ["image_url"]}, {"type": "image"}]}],
        ):
            self.assertIn(self.needs(messages=messages), (Needs(), Needs(images=True)))
        surrogate = b'{"model":"m","messages":[{"content":[{"type":"image_url"},"\\ud800"]}]}'
        self.assertEqual(self.ask(surrogate).needs(), Needs(images=True))

    def test_choices(self) -> None:
        """How many answers are asked for; what is no such number counts as one."""
        for wanted, choices in ((None, 1), (2, 2), (0, 1), (-1, 1), (True, 1), ("2", 1), (2.0, 1)):
            body = self.ask(json.dumps({"model": "m", "n": wanted}).encode())
            self.assertEqual(body.choices, choices, wanted)
        self.assertEqual(self.ask(b'{"model":"m"}').choices, 1)
        for prompt, choices in (
            (b'"[1"', 2),
            (b'["a","b","c"]', 6),
            (b"[[1,2],[3]]", 4),
            (b"[1,2,3]", 2),
            (b"[]", 2),
        ):
            body = self.ask(b'{"model":"m","n":2,"prompt":%b}' % prompt)
            self.assertEqual(body.choices, choices, prompt)
