"""Tests of CORS: preflights, readable responses, and unchanged behaviour without it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource
from twisted.web.server import Site

from autopilot.http.limits import Limits
from autopilot.web.cors import Cors
from autopilot.web.endpoint import RELAYED
from autopilot.web.root import RootResource
from autopilot.web.site import AutopilotSite
from tests.unit.relay.upstreams import DONE, SSE, STOP, TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, SiteTestCase, ask
from tests.unit.web.responses import Response

_CHAT_APP, _OTHER = b"https://chat.example", b"https://evil.example"
_ALLOWED = b"access-control-allow-origin"
_ASKS = b"Access-Control-Request-Method: POST"
_NAMES = b"authorization, content-type, x-stainless-lang, x-tee-only"
_UPSTREAM = (b"Access-Control-Allow-Origin: *", b"Access-Control-Max-Age: 1", b"Vary: Accept")


def from_(origin: bytes) -> bytes:
    """Return an Origin field."""
    return b"Origin: " + origin


def ours(response: Response) -> list[bytes]:
    """Return the names of the CORS fields."""
    names = [name.lower() for name, _ in response.fields]
    return [name for name in names if name.startswith(b"access-control-") or name == b"vary"]


class CorsTestCase(SiteTestCase):
    """A site that allows one origin by default."""

    resource: RootResource

    def setUp(self) -> None:
        """Allow the origin."""
        super().setUp()
        self.share("https://chat.example", "http://localhost:3000")

    def make_site(self, resource: IResource) -> Site:
        """Return the site with the router's own channel."""
        assert isinstance(resource, RootResource)
        self.resource = resource
        return super().make_site(resource)

    def share(self, *origins: str) -> None:
        """Allow these origins."""
        self.resource.set_cors(Cors.of(origins))

    def preflight(self, path: bytes, *fields: bytes, origin: bytes = _CHAT_APP) -> Response:
        """Return the response to a preflight request."""
        return self.get(path, from_(origin), _ASKS, *fields, method=b"OPTIONS")

    def relayed(self, *fields: bytes, said: bytes = b"") -> Response:
        """Return a relayed response, to which the upstream added its own CORS fields."""
        browser = self.post(ask(), *fields)
        self.wire.says(said or whole(200, b"{}", b"application/json", *_UPSTREAM))
        return browser.response


class CorsTests(CorsTestCase):
    """The behaviour on every channel."""

    def test_preflight(self) -> None:
        """A preflight of an allowed origin succeeds on every path of the API."""
        names = b"Access-Control-Request-Headers: " + _NAMES
        for path in (*RELAYED, b"/v1/models", b"/v1/models/a", b"/healthz", b"/no/such"):
            response = self.preflight(path, names)
            self.assertEqual((response.status, response.body, response.whole), (204, b"", True))
            self.assertEqual(response.value(_ALLOWED), _CHAT_APP)
            self.assertEqual(response.value(b"access-control-allow-methods"), b"GET, POST")
            self.assertEqual(response.value(b"access-control-allow-headers"), _NAMES)
            self.assertEqual(response.value(b"access-control-max-age"), b"7200")
            self.assertEqual(response.value(b"vary"), b"Origin, Access-Control-Request-Headers")
            self.assertEqual(response.values(b"access-control-allow-credentials"), [])
            self.assertNotEqual(response.identity, "")
        self.assertEqual(self.records, [])

    def test_preflight_of_others(self) -> None:
        """Another origin gets what any ``OPTIONS`` gets."""
        for origin in (_OTHER, b"null", b"https://chat.example.evil", b"http://chat.example"):
            response = self.preflight(CHAT, origin=origin)
            self.assertEqual(response.error[::2], (405, "method_not_allowed"))
            self.assertEqual(response.value(b"allow"), b"POST")
            self.assertEqual(ours(response), [b"vary"])

    def test_preflight_with_nonsense(self) -> None:
        """Only a valid list of field names is repeated in the response."""
        for names in (b"a b", b"a,,b", b"(", b"x" * 5000):
            response = self.preflight(CHAT, b"Access-Control-Request-Headers: " + names)
            self.assertEqual(response.status, 204)
            self.assertEqual(response.values(b"access-control-allow-headers"), [])
        self.assertEqual(self.preflight(CHAT).values(b"access-control-allow-headers"), [])

    def test_private_network(self) -> None:
        """Private network access is granted to named origins only."""
        field = b"Access-Control-Request-Private-Network: true"
        name = b"access-control-allow-private-network"
        self.assertEqual(self.preflight(CHAT).values(name), [])
        self.assertEqual(self.preflight(CHAT, field).value(name), b"true")
        self.share("*")
        self.assertEqual(self.preflight(CHAT, field, origin=_OTHER).values(name), [])

    def test_options_without_a_question(self) -> None:
        """OPTIONS without the preflight fields is an ordinary method."""
        response = self.get(CHAT, from_(_CHAT_APP), method=b"OPTIONS")
        self.assertEqual(response.status, 405)
        self.assertEqual(response.value(b"allow"), b"POST")
        self.assertEqual(self.get(CHAT, _ASKS, method=b"OPTIONS").status, 405)

    def test_answers(self) -> None:
        """A relayed response is shared, with the router's CORS fields only."""
        response = self.relayed(from_(_CHAT_APP))
        self.assertEqual(response.value(_ALLOWED), _CHAT_APP)
        self.assertEqual(response.values(b"access-control-max-age"), [])
        self.assertEqual(response.values(b"vary"), [b"Accept", b"Origin"])
        exposed = (response.value(b"access-control-expose-headers") or b"").split(b", ")
        for name in (b"x-request-id", b"retry-after", b"x-should-retry", b"*"):
            self.assertIn(name, exposed)
        selected = [n for n, _ in response.fields if n.startswith(b"x-chutes-autopilot")]
        self.assertLess(set(selected), set(exposed))

    def test_streams(self) -> None:
        """A stream is shared, too."""
        browser = self.post(ask(), from_(_CHAT_APP))
        self.wire.says(head(200, SSE), chunk(TOKEN))
        self.assertIn(_CHAT_APP, browser.wire)
        self.wire.says(chunk(STOP + DONE), chunk(b""))
        self.assertEqual(browser.response.value(_ALLOWED), _CHAT_APP)
        self.assertEqual(browser.response.body, TOKEN + STOP + DONE)

    def test_errors(self) -> None:
        """Errors of the router and of the platform are shared, too."""
        field = from_(_CHAT_APP)
        refused = self.post(b"{}", field).response
        self.assertEqual(refused.error[::2], (400, "missing_model"))
        for response in (
            refused,
            self.relayed(field, said=whole(401, b"{}")),
            self.get(b"/no/such", field),
            self.get(CHAT, field),
        ):
            self.assertEqual(response.value(_ALLOWED), _CHAT_APP, response)
            self.assertEqual(response.value(b"vary"), b"Origin")

    def test_pages(self) -> None:
        """The list of models is shared, and always has Vary."""
        response = self.get(b"/v1/models", from_(_CHAT_APP))
        self.assertEqual((response.status, response.value(_ALLOWED)), (200, _CHAT_APP))
        self.assertEqual(ours(self.get(b"/v1/models")), [b"vary"])
        self.assertEqual(ours(self.get(b"/v1/models", from_(_OTHER))), [b"vary"])

    def test_operators(self) -> None:
        """Operators' pages are not shared, not even with `*`."""
        self.share("*")
        for path in (b"/metrics", b"/status", b"/status.json"):
            self.assertEqual(ours(self.get(path, from_(_CHAT_APP))), [])
            self.assertEqual(self.preflight(path).status, 405)

    def test_others(self) -> None:
        """A request of another origin is served without CORS fields."""
        response = self.relayed(from_(_OTHER))
        self.assertEqual(response.status, 200)
        self.assertEqual(response.values(_ALLOWED), [])
        self.assertIn(b"Origin", response.values(b"vary"))

    def test_clients_that_are_no_pages(self) -> None:
        """A request without an Origin gets Vary only, and no CORS field of the upstream."""
        self.assertEqual(ours(self.relayed()), [b"vary"])
        self.assertEqual(self.relayed().value(b"vary"), b"Accept")

    def test_everybody(self) -> None:
        """With * every origin is allowed, and Vary is not needed."""
        self.share("*", "https://chat.example")
        for origin in (_OTHER, b"null", _CHAT_APP):
            self.assertEqual(self.relayed(from_(origin)).value(_ALLOWED), b"*")
            self.assertEqual(self.preflight(CHAT, origin=origin).value(_ALLOWED), b"*")
        self.assertNotIn(b"vary", ours(self.get(b"/v1/models", from_(_OTHER))))
        self.assertEqual(ours(self.get(b"/v1/models")), [])

    def test_off(self) -> None:
        """Without origins, responses are unchanged and preflights are not answered."""
        self.share()
        response = self.relayed(from_(_CHAT_APP))
        self.assertEqual(response.value(_ALLOWED), b"*")
        self.assertEqual(response.value(b"access-control-max-age"), b"1")
        self.assertEqual(response.value(b"vary"), b"Accept")
        self.assertEqual(ours(self.get(b"/v1/models", from_(_CHAT_APP))), [])
        response = self.preflight(CHAT)
        self.assertEqual((response.status, response.value(b"allow")), (405, b"POST"))
        self.assertEqual(ours(response), [])


class OtherChannelTests(CorsTests):
    """CORS on Twisted's own channel."""

    def make_site(self, resource: IResource) -> Site:
        """Return a site of Twisted's own class."""
        super().make_site(resource)
        site = Site(resource, reactor=self.clock)
        site.timeOut = None  # its timers are not ours to look after
        return site


class ArrivingTests(CorsTestCase):
    """Requests rejected by the channel."""

    limits = Limits(body_bytes=50)

    def make_site(self, resource: IResource) -> Site:
        """Return a site with small limits."""
        site = super().make_site(resource)
        assert isinstance(site, AutopilotSite)
        return site

    def test_too_large(self) -> None:
        """The rejection is shared with the page."""
        response = self.post(b"x" * 51, from_(_CHAT_APP)).response
        self.assertEqual(response.status, 413)
        self.assertEqual(response.value(_ALLOWED), _CHAT_APP)

    def test_bad_heads(self) -> None:
        """The Origin counts if it was parsed before the error."""
        line, bad = CHAT + b" HTTP/1.1\r\n", b"Bad Field: y\r\n"
        origin = from_(_CHAT_APP) + b"\r\nHost: x\r\n"
        for fields, allowed in ((origin + bad, [_CHAT_APP]), (bad + origin, [])):
            browser = self.browser()
            browser.sends(b"POST " + line + fields + b"\r\n")
            self.assertEqual(browser.response.status, 400)
            self.assertEqual(browser.response.values(_ALLOWED), allowed)


class OriginTests(SynchronousTestCase):
    """The policy made from the setting."""

    def test_none(self) -> None:
        """Without origins there is no policy."""
        self.assertIsNone(Cors.of(()))

    def test_case(self) -> None:
        """Origins match in any case."""
        cors = Cors.of(("https://chat.example",))
        assert cors is not None
        self.assertTrue(cors.allows(b"https://Chat.Example"))
        self.assertFalse(cors.allows(b"*"))
