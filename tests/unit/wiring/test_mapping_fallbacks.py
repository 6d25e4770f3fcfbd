"""Tests of the live setting of other services, in a running router."""

from __future__ import annotations

from pathlib import Path

from tests.unit.relay.upstreams import whole
from tests.unit.wiring.cases import ReloadTestCase

CANARY = "sk-canary0123"
ANSWER = b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'


class OtherServiceTestCase(ReloadTestCase):
    """A file of other services with one, whose port differs from the platform's."""

    def setUp(self) -> None:
        """Write the file and its key."""
        super().setUp()
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path, self.key = folder / "fallbacks.toml", folder / "key"
        self.key.write_text(CANARY)
        self.write(90)

    def write(self, port: int, more: str = "") -> None:
        """Write the file."""
        self.path.write_text(
            f'[fallbacks.x]\nbase_url = "http://192.0.2.9:{port}"\nkey_file = "key"\n'
            f'models = ["m"]\n{more}'
        )

    def goes_to(self, model: str) -> tuple[int, bytes]:
        """Return the port and the key with which a request is sent."""
        browser = self.ask(model, b"Authorization: Bearer client", stream=False)
        if not browser.wire:
            self.platform.wire.says(whole(200, ANSWER, b"application/json", b"Connection: close"))
        sent = self.platform.wire.value()
        return self.platform.ports[-1], sent.partition(b"Bearer ")[2].partition(b"\r")[0]


class FallbacksTests(OtherServiceTestCase):
    """Other services."""

    def test_fallbacks_file(self) -> None:
        """Service and key change with a reload; without a file there is none."""
        self.start(fallbacks_file=str(self.path))
        self.assertEqual(self.goes_to("@x/m"), (90, CANARY.encode()))
        self.write(91)
        self.key.write_text("another")
        self.change(fallbacks_file=str(self.path))
        self.assertEqual(self.goes_to("@x/m"), (91, b"another"))
        self.change(fallbacks_file=None)
        self.assertEqual(self.ask("@x/m").response.error[2], "unknown_model")
