"""Tests of a router with another service: what its pages show, and a file with faults."""

from __future__ import annotations

from autopilot.settings import Settings, SettingsError
from tests.unit.relay.upstreams import whole
from tests.unit.wiring.test_mapping_fallbacks import ANSWER, CANARY, OtherServiceTestCase


class PagesTests(OtherServiceTestCase):
    """One running router."""

    def test_faults(self) -> None:
        """A file with faults is no setting, so that the former one stays."""
        self.start(fallbacks_file=str(self.path))
        self.path.write_text("[fallbacks.x]")
        self.assertRaises(SettingsError, Settings, fallbacks_file=str(self.path))
        self.assertEqual(self.goes_to("@x/m"), (90, CANARY.encode()))

    def test_pages(self) -> None:
        """Records and metrics have the names of the file, and nothing shows the key."""
        self.write(90, 'default_model = "m"')
        self.start(fallbacks_file=str(self.path))
        observer = self.observed()
        self.goes_to("@x/m")
        self.ask("acme/one,acme/two", stream=False)
        for _ in range(2):
            self.platform.wire.says(whole(503, b"{}", b"application/json", b"Connection: close"))
        self.platform.wire.says(whole(200, ANSWER))
        pages = [self.get(path).body for path in (b"/metrics", b"/status", b"/status.json")]
        self.assertIn(b'chutes_autopilot_selection_total{model="@x/m",status="200"} 2.0', pages[0])
        for text in (*pages, repr(list(observer)).encode(), repr(self.router.settings).encode()):
            self.assertNotIn(b"canary", text)
        for page in pages:
            text = page.replace(b'<wbr></span><span class="model">', b"")
            self.assertIn(b"@x/m", text)
