"""The environment variables that select a proxy, and the header field that forges them."""

from __future__ import annotations

import os
from unittest.mock import patch

from tests.unit.relay.upstreams import whole
from tests.unit.service.platforms import ServiceTestCase
from tests.unit.web.browsers import ask, request


class ProxyVariableTests(ServiceTestCase):
    """A service in an environment with all of these variables."""

    def test_ignored(self) -> None:
        """Calls and feeds use the addresses in the settings, whatever the environment."""
        names = ("http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY")
        with patch.dict(os.environ, dict.fromkeys(names, "http://192.0.2.99:3128")):
            service = self.service()
            service.startService()
            feeds = {(host, port) for host, port, *_ in self.reactor.tcpClients}
            self.platform.take()
            browser = self.browser()
            for path, port in (
                (b"/v1/chat/completions", 81),
                (b"/v1/completions", 81),
                (b"/v1/messages", 82),
                (b"/v1/responses", 83),
            ):
                browser.sends(request(path, b"Proxy: http://192.0.2.99:3128", body=ask()))
                ((host, called, *_),) = self.reactor.tcpClients
                self.assertEqual((host, called), ("192.0.2.1", port))
                wire = self.platform.wire
                self.assertNotIn(b"192.0.2.99", wire.value())
                wire.says(whole(200, b"{}", b"application/json", b"Connection: close"))
                self.reactor.advance(0)
        self.assertEqual(feeds, {("192.0.2.1", 80)})
        self.assertEqual([each.status for each in browser.got], [200] * 4)
        browser.leaves()
        self.successResultOf(service.stopService())
        self.assert_at_rest()
