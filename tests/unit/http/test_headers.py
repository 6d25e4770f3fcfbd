"""Which header fields cross the router."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http import headers
from autopilot.http.headers import (
    HOP_BY_HOP,
    Field,
    field_lines,
    nominated,
    printable,
    read_request_headers,
    sent_down,
    sent_up,
)
from autopilot.upstream.pool import Origin
from autopilot.upstream.target import RequestTarget

ADDRESSES = (
    b"CF-Connecting-IP",
    b"CF-Connecting-IPv6",
    b"CF-Pseudo-IPv4",
    b"CF-IPCountry",
    b"CF-Ray",
    b"CF-Visitor",
    b"CF-Worker",
    b"Client-IP",
    b"DO-Connecting-IP",
    b"Fastly-Client-IP",
    b"Fastly-FF",
    b"Fly-Client-IP",
    b"Forwarded",
    b"True-Client-IP",
    b"Wl-Proxy-Client-IP",
    b"X-Amzn-Trace-Id",
    b"X-Appengine-User-IP",
    b"X-Azure-ClientIP",
    b"X-Azure-FDID",
    b"X-Azure-Ref",
    b"X-Azure-SocketIP",
    b"X-Client-IP",
    b"X-Cloud-Trace-Context",
    b"X-Cluster-Client-IP",
    b"X-Envoy-External-Address",
    b"X-Forwarded-Anything",
    b"X-Forwarded-For",
    b"X-Forwarded-Host",
    b"X-Host-Client-IP",
    b"X-Original-Forwarded-For",
    b"X-Originating-IP",
    b"X-ProxyUser-Ip",
    b"X-Real-IP",
    b"X-Remote-Addr",
    b"X-Remote-IP",
    b"X-Vercel-Forwarded-For",
)
"""Fields in which proxies, balancers and CDNs write a client's address or their trace."""

NOT_SENT_UP = (
    *ADDRESSES,
    b"Connection",
    b"Keep-Alive",
    b"Proxy-Authenticate",
    b"Proxy-Authorization",
    b"Proxy-Connection",
    b"TE",
    b"Trailer",
    b"Transfer-Encoding",
    b"Upgrade",
    b"Host",
    b"Content-Length",
    b"Accept-Encoding",
    b"Proxy",
    b"Cookie",
    b"Expect",
    b"X-Chutes-Trace",
    b"X-Autopilot-Commit",
    b"X-Autopilot-Affinity",
    b"X-Autopilot-Keepalive",
)


class UpTests(SynchronousTestCase):
    """From the client to the upstream."""

    def test_not_sent(self) -> None:
        """What belongs to one connection, forges an origin, or is re-framed, stays here."""
        for name in NOT_SENT_UP:
            for spelling in (name, name.lower(), name.upper(), name.replace(b"-", b"_")):
                with self.subTest(name=spelling):
                    self.assertEqual(sent_up([(spelling, b"x")]), [])
                    self.assertEqual(read_request_headers([(spelling, b"x")]).upstream, b"")

    def test_half_shadows(self) -> None:
        """A name that shadows a stripped one in some of its hyphens only is stripped too."""
        for name in (b"X_Forwarded-For", b"x-real_ip", b"CF_Connecting-IP", b"X-Azure_ClientIP"):
            with self.subTest(name=name):
                self.assertEqual(sent_up([(name, b"x")]), [])

    def test_sent(self) -> None:
        """Everything else goes up as it is, order and duplicates included."""
        fields = [
            (b"Authorization", b"Bearer t"),
            (b"x-a", b"1"),
            (b"traceparent", b"00-1"),
            (b"X-A", b"2"),
            (b"X-Stainless-Lang", b"python"),
            (b"x-api-key", b"k"),
            (b"X-TEE-Only", b"true"),
            (b"Content-Type", b"application/json"),
            (b"x_odd_name", b"kept"),
            (b"CF-Access-Client-Id", b"1"),
            (b"cf_access_client_secret", b"1"),
            (b"CFX", b"1"),
            (b"X-Azure", b"1"),
            (b"Fastly", b"1"),
            (b"X-Chutes-Hotkey", b"1"),
            (b"Via", b"1.1 office"),
            (b"tracestate", b"1"),
        ]
        self.assertEqual(sent_up(fields), fields)

    def test_nominated(self) -> None:
        """What ``Connection`` names ends with the connection, but never what the request needs."""
        fields = [
            (b"Connection", b"close, X-Secret"),
            (b"connection", b" x-other ,,Authorization,Content-Type"),
            (b"X-Secret", b"1"),
            (b"x_secret", b"1"),
            (b"x-OTHER", b"2"),
            (b"Authorization", b"Bearer t"),
            (b"Content-Type", b"application/json"),
        ]
        self.assertEqual(
            nominated(fields),
            {b"close", b"x-secret", b"x-other", b"authorization", b"content-type"},
        )
        self.assertEqual(sent_up(fields), fields[-2:])

    def test_not_nominable(self) -> None:
        """A client cannot remove the trace of the proxies before this one (RFC 9110 §7.6.1)."""
        fields = [(b"Connection", b"Via, keep-alive"), (b"Via", b"1.1 a"), (b"via", b"1.0 b")]
        self.assertEqual(sent_up(fields), fields[1:])

    def test_nominated_in_every_spelling(self) -> None:
        """A name is nominated in either of its spellings, whichever the field has."""
        for nominee, name in (
            (b"x_hop", b"X_Hop"),
            (b"x-hop", b"X_Hop"),
            (b"X-Hop", b"x-hop"),
            (b"X_HOP", b"x_hop"),
        ):
            fields = [(b"Connection", b"keep-alive, " + nominee), (name, b"1"), (b"a", b"2")]
            self.assertEqual(sent_up(fields), [(b"a", b"2")], nominee)

    def test_nothing_nominated(self) -> None:
        """The options of a connection may be names of fields, too."""
        fields = [(b"Close", b"1"), (b"Keep-Alive", b"2"), (b"a", b"3")]
        for option in (b"keep-alive", b"Keep-Alive", b"KEEP-ALIVE"):
            self.assertEqual(sent_up([*fields, (b"Connection", option)]), [fields[0], fields[2]])
        self.assertEqual(sent_up([*fields, (b"Connection", b"close")]), fields[2:])
        self.assertEqual(sent_down([*fields, (b"Connection", b"close")]), fields[2:])

    def test_lines(self) -> None:
        """Fields as they stand in a head, and nothing where there are none."""
        self.assertEqual(field_lines([(b"A", b"b"), (b"c", b"")]), b"A: b\r\nc: \r\n")
        self.assertEqual(field_lines([]), b"")


class KnownNamesTests(SynchronousTestCase):
    """What is kept of the names that were met."""

    def test_bounded(self) -> None:
        """No peer can fill the memory with names; names after many others are classified alike."""
        for number in range(3000):
            name = b"x-%d" % number
            self.assertEqual(sent_up([(name, b""), (b"Cookie", b"")]), [(name, b"")])
            self.assertLessEqual(len(headers._field_names), 1024)

    def test_long_names_are_not_kept(self) -> None:
        """A name of unusual length is looked at each time."""
        name, kept = b"Cookie" + b"x" * 60, len(headers._field_names)
        for _ in range(2):
            self.assertEqual(sent_down([(name, b"1")]), [(name, b"1")])
        self.assertEqual(len(headers._field_names), kept)
        self.assertEqual(sent_up([(b"X-Forwarded-" + b"x" * 60, b"")]), [])


class DownTests(SynchronousTestCase):
    """From the upstream to the client."""

    def test_not_sent(self) -> None:
        """Hop-by-hop fields and ``Alt-Svc`` stay here."""
        for name in (*HOP_BY_HOP, b"Alt-Svc"):
            self.assertEqual(sent_down([(name, b"x"), (name.upper(), b"y")]), [], name)

    def test_sent(self) -> None:
        """Order, duplicates, spelling and values pass."""
        fields = [
            (b"Content-Length", b"5"),
            (b"X-Chutes-InvocationID", b"1"),
            (b"set-cookie", b"a"),
            (b"Set-Cookie", b"b"),
            (b"Retry-After", b"3"),
            (b"x-ratelimit-remaining", b"0"),
        ]
        self.assertEqual(sent_down(fields), fields)

    def test_nominated(self) -> None:
        """A nominated field stays; the length, which is framing, cannot be nominated away."""
        fields = [
            (b"Connection", b"X-Hop, Content-Length"),
            (b"x-hop", b"1"),
            (b"Content-Length", b"5"),
        ]
        self.assertEqual(sent_down(fields), [(b"Content-Length", b"5")])

    def test_own(self) -> None:
        """Fields the router gives itself are taken out."""
        self.assertEqual(
            sent_down([(b"X-Request-Id", b"1"), (b"a", b"2")], own=frozenset({b"x-request-id"})),
            [(b"a", b"2")],
        )

    def test_printable(self) -> None:
        """Only printable ASCII without outer blanks is a header value."""
        self.assertEqual(printable("org/model 1"), b"org/model 1")
        for bad in ("", " a", "a ", "a\r\nb: c", "a\x00", "a\x7f", "é", "\u2028"):
            self.assertIsNone(printable(bad), bad)


_spelled = st.sampled_from(NOT_SENT_UP).flatmap(
    lambda name: st.tuples(
        *[st.sampled_from([bytes([c]).lower(), bytes([c]).upper()]) for c in name]
    ).map(b"".join)
)
_any_field = st.tuples(
    st.one_of(_spelled, st.from_regex(rb"[A-Za-z][A-Za-z0-9_-]{0,12}", fullmatch=True)),
    st.from_regex(rb"[ -~]{0,12}", fullmatch=True),
)


class PropertyTests(SynchronousTestCase):
    """For any fields."""

    @given(st.lists(_any_field, max_size=12))
    def test_nothing_slips_through(self, fields: list[Field]) -> None:
        """No stripped name in any spelling passes; what passes keeps its order."""
        kept = sent_up(fields)
        names = {name.lower().replace(b"_", b"-") for name, _ in kept}
        self.assertFalse(names & {name.lower() for name in NOT_SENT_UP})
        self.assertFalse(names & HOP_BY_HOP)
        rest = iter(fields)
        self.assertTrue(all(field in rest for field in kept))

    @given(
        st.lists(_any_field, max_size=8),
        st.lists(_any_field.map(lambda field: field[0]), max_size=4),
    )
    def test_nothing_nominated(self, fields: list[Field], nominees: list[bytes]) -> None:
        """No nominated name crosses, up or down, but for those without which nothing works."""
        fields = [*fields, (b"CONNECTION", b" , ".join(nominees))]
        named = {name.lower() for name in nominees}
        up = {name.lower() for name, _ in sent_up(fields)}
        down = {name.lower() for name, _ in sent_down(fields)}
        self.assertFalse(up & (named - {b"authorization", b"content-type", b"x-api-key"}))
        self.assertFalse(down & (named - {b"content-length"}))

    @given(st.lists(_any_field, max_size=12), st.binary(max_size=9), st.integers(0, 99))
    def test_framing(self, fields: list[Field], host: bytes, length: int) -> None:
        """Whatever the client sends: one Host, one length, one coding, and they are ours."""
        lines = read_request_headers([*fields, (b"hOST", host)]).upstream
        target = RequestTarget.of(Origin("http", "upstream", 80), b"/", b"me")
        head = target.request(b"", lines, (b"x" * length,)).removesuffix(b"x" * length)
        written = head.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
        pairs = [tuple(line.split(b": ", 1)) for line in written]
        for name, value in (
            (b"host", b"upstream"),
            (b"content-length", b"%d" % length),
            (b"accept-encoding", b"identity"),
        ):
            self.assertEqual([v for n, v in pairs if n.lower() == name], [value])
        self.assertNotIn(b"transfer-encoding", [n.lower() for n, _ in pairs])

    @given(st.lists(_any_field, max_size=12))
    def test_nothing_comes_down(self, fields: list[Field]) -> None:
        """No hop-by-hop name comes down."""
        self.assertFalse({name.lower() for name, _ in sent_down(fields)} & HOP_BY_HOP)
