"""Bodies that try to break the parser, to be ambiguous, or to become a different request."""

from __future__ import annotations

import json

from twisted.web.resource import IResource
from twisted.web.server import Site

from tests.security import routes
from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import CHAT, MAX_BODY, SiteTestCase, ask, request

BAD_VALUES = (
    *(b"NaN", b"-NaN", b"nan", b"Infinity", b"-Infinity", b"+1", b".5", b"1.", b"-.5", b"-"),
    *(b"--1", b"01", b"-01", b"0x10", b"1e", b"1e+", b"1.e1", b"1_000", b"1 0", b"1\xd9\xa1"),
    *(b"True", b"None", b"nul", b"truee", b"undefined", b"'a'", b"a", b"`a`", b"", b"*"),
    *(rb'"\x61"', rb'"\u12"', rb'"\u12g4"', rb'"\U00000061"', rb'"\"', rb'"\ "', b'"a', b'a"'),
    *(b'"a\nb"', b'"a\0b"', b'"a\tb"', b'"\x1f"', b"1\0", b"\0"),
    *(b"[1,]", b"[,1]", b"[1 2]", b"[1;2]", b"[", b"]", b"[[]", b"[1", b"[1}", b"[}", b"[,]"),
    *(b'{"a":1,}', b'{"a"}', b'{"a":}', b"{a:1}", b"{'a':1}", b'{"a" 1}', b'{"a":1 "b":2}'),
    *(b'{"a"::1}', b"{1:2}", b"{,}", b"{", b'{"a":1', b'{"a', b"{null:1}"),
    *(b"/* a */1", b"1/**/", b"1//a", b"# a", b"1;", b"1,", b"1\xc2\xa0", b"1\x0b", b"1\x0c"),
    *(b'"\xff"', b'"\xc3"', b'"\x80"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"'),
    *(b'"\xe2\x28\xa1"', b"\xef\xbb\xbf1", b"\xfe\xff", b'{"\xff":1}', b'["\xc0\x80"]'),
    *(b"[" * 45_000, b'[{"a":' * 15_000, b"[" * 45_000 + b"]" * 45_000),
    b'{"a":' * 15_000 + b"1" + b"}" * 15_000,
)
"""Each is invalid JSON in place of a value, except for the deeply nested ones."""

GOOD = ask("a").decode()
BAD_BODIES = (
    *(b"", b" ", b"\0", b"x", b"\xef\xbb\xbf" + ask("a"), b"\x0c" + ask("a"), ask("a") + b"\0"),
    *(GOOD.encode("utf-16"), GOOD.encode("utf-16-le"), GOOD.encode("utf-32-be")),
    *(ask("a") + b"x", ask("a") * 2, ask("a") + b"]", ask("a")[:-1], ask("a")[1:], b"]" + ask("a")),
    *(b"model=a&stream=true", b"<model>a</model>", b"--x\r\n\r\n" + ask("a") + b"\r\n--x--\r\n"),
)

VALUES = (
    *(b"1e400", b"-1e-400", b"-0", b"1.0", b"9" * 5000, b"0." + b"1" * 5000, b"-1E+2"),
    *(rb'"\ud800"', rb'"\udfff\ud800"', rb'"\ud834\udd1e"', rb'"\/\b\f"', b'"\x7f"'),
    *(b'"\xe2\x80\xa8"', b'"' + rb"\u0000" * 15_000 + b'"', b"[" * 64 + b"]" * 64),
    *(b'{"a":1,"a":2,"\\u0061":3}', b'{"model":"evil","stream":false}', b" [ 1 ,\t2\r\n] "),
)
"""Valid JSON on which parsers differ or fail; the router must not change it."""

MEMBERS = (
    *(b'"stream":"true"', b'"stream":1', b'"stream":[]', b'"n":1e9', b'"n":-1', b'"":0'),
    *(b'"messages":5', b'"messages":[[[]]]', b'"tools":{}', b'"response_format":"x"'),
    *(b'"a":1,"a":2', b'"Model":"b"', b'"model\\u0000":"b"', b'"mod\\u200bel":"b"'),
    *(b'"temperature":"hot"', b'"messages":null', b'"stream_options":[]', b'"input":0'),
    *(b'"__proto__":{}', b'"max_tokens":1e99'),
)
"""Members with invalid values, which only the platform may judge."""

CODINGS = (b"gzip", b"x-gzip", b"br", b"zstd", b"deflate", b"compress", b"GZIP", b"gzip, gzip")
TYPES = (b"text/plain", b"application/x-www-form-urlencoded", b"application/xml", b"")
MULTIPART = b"Content-Type: multipart/form-data; boundary=" + b"x" * 9000
FORM = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--x--\r\n'


class BodyTestsMixin(SiteTestCase):
    """Tests for every channel and route."""

    def refuses(self, wire: bytes, status: int, *codes: str) -> None:
        """Check that the request gets a short error in the usual format, and is not forwarded."""
        before = len(self.upstreams.origins)
        browser = self.browser()
        browser.sends(wire)
        got = browser.response
        self.assertEqual(got.status, status, wire[:300])
        self.assertIn(got.json["error"]["code"], codes, wire[:300])
        self.assertLess(len(got.body), 2000)
        self.assertEqual(len(self.upstreams.origins), before, wire[:300])
        browser.leaves()

    def sent(self, body: bytes, *fields: bytes, path: bytes = CHAT) -> bytes:
        """Return the upstream body for this body."""
        browser = self.browser()
        browser.sends(request(path, *fields, body=body))
        sent = self.wire.value().partition(b"\r\n\r\n")[2]
        self.wire.says(whole(200, b"{}", b"application/json", b"Connection: close"))
        self.clock.advance(0)
        self.assertEqual(browser.response.status, 200, body[:300])
        browser.leaves()
        return bytes(sent)

    def test_no_json(self) -> None:
        """Invalid JSON gets status 400, whether one value or the whole body is invalid."""
        for path, _, _ in routes.relayed():
            for value in BAD_VALUES:
                for body in (b'{"model":"a","x":%b}' % value, b'{"x":%b,"model":"a"}' % value):
                    self.refuses(request(path, body=body), 400, "invalid_json")
            for body in BAD_BODIES:
                self.refuses(request(path, body=body), 400, "invalid_json")

    def test_in_pieces(self) -> None:
        """Invalid JSON stays invalid however it arrives."""
        for body in (b'{"model":"a","x":NaN}', ask("a") + b"x", b"[" * 20_000):
            chunks = b"".join(b"%x\r\n%b\r\n" % (1, body[at : at + 1]) for at in range(len(body)))
            wire = request(CHAT, b"Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n"
            self.refuses(wire, 400, "invalid_json")

    def test_as_it_is(self) -> None:
        """Valid JSON is forwarded byte for byte, however unusual."""
        for path, _, _ in routes.relayed():
            for value in VALUES:
                for body in (b'{"model":"a","x":%b}' % value, b'{"x":%b,"model":"a"}' % value):
                    self.assertEqual(self.sent(body, path=path), body)
            for members in MEMBERS:
                for body in (b'{"model":"a",%b}' % members, b'{%b,"model":"a"}' % members):
                    self.assertEqual(self.sent(body, path=path), body)

    def test_one_model(self) -> None:
        """Of several `model` members the platform receives only the one that the router used."""
        for body in (
            b'{"model":"nobody","model":"a"}',
            b'{"model":["nobody"],"x":1,"mod\\u0065l":"a"}',
            b'{"\\u006dodel":"b","model":"c","model":"a","y":2}',
        ):
            pairs = json.loads(self.sent(body), object_pairs_hook=lambda pairs: pairs)
            self.assertEqual([value for key, value in pairs if key == "model"], ["a"])
        for body in (b'{"model":"a","model":"nobody"}', b'{"model":"a","model":null}'):
            self.refuses(request(body=body), 400, "unknown_model", "missing_model")

    def test_bad_models(self) -> None:
        """An odd name is unknown; a name that is not text, or over 64 KiB, is invalid."""
        longest, too_long = "x" * 65536, "x" * (MAX_BODY - len(ask("")))
        for name in ("a\r\nX: y", "a\0", "a\x1b[2J", "\u202ea", " \u00a0", "a\u2028", longest):
            self.refuses(request(body=ask(name)), 400, "unknown_model")
        for value in (["a"], {"a": 1}, 5, 1e9, True, too_long, "x" * 65537):
            self.refuses(request(body=ask(value)), 400, "invalid_model")
        for blank in ("", " \t\n", None):
            self.refuses(request(body=ask(blank)), 400, "missing_model")
        self.refuses(request(body=b'{"model":"\\ud800"}'), 400, "invalid_model")

    def test_compressed(self) -> None:
        """A compressed body is refused, and so is one that is only declared as compressed."""
        for path, _, _ in routes.relayed():
            for coding in CODINGS:
                wire = request(path, b"Content-Encoding: " + coding, body=ask("a"))
                self.refuses(wire, 415, "unsupported_content_encoding")
            wire = request(
                path, b"Content-Encoding: identity", b"Content-Encoding: br", body=ask("a")
            )
            self.refuses(wire, 415, "unsupported_content_encoding")

    def test_other_types(self) -> None:
        """The content type does not decide whether a body is JSON."""
        for path, _, _ in routes.relayed():
            for each in TYPES:
                field = b"Content-Type: " + each
                self.refuses(request(path, field, body=FORM), 400, "invalid_json")
                self.assertEqual(self.sent(ask("a"), field, path=path), ask("a"))

    def test_too_many_members(self) -> None:
        """A body with too many members is refused, and quickly."""
        body = b'{"model":"a"' + b',"a":1' * 16_000 + b"}"
        self.refuses(request(body=body), 400, "invalid_body")


class OwnChannelTests(BodyTestsMixin):
    """The router's own channel."""

    def test_multipart(self) -> None:
        """Multipart forms are not parsed, whatever their boundary."""
        for path, _, _ in routes.relayed():
            self.refuses(request(path, MULTIPART, body=FORM), 400, "invalid_json")
            self.assertEqual(self.sent(ask("a"), MULTIPART, path=path), ask("a"))


class TwistedChannelTests(BodyTestsMixin):
    """Twisted's channel, as in an embedding application."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)

    def test_multipart(self) -> None:
        """Twisted's channel parses multipart forms itself; an invalid one is not forwarded."""
        for path, _, _ in routes.relayed():
            browser = self.browser()
            browser.sends(request(path, MULTIPART, body=FORM))
            self.assertEqual(browser.response.status, 400)
        self.assertEqual(self.upstreams.origins, [])


del BodyTestsMixin
