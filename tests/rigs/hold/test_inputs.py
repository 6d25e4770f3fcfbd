"""The inputs of the hold suite: each is what its name says."""

from __future__ import annotations

import json
import re
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.hold import feeds, wire
from tests.rigs.hold.client import request_bytes
from tests.rigs.hold.families import INPUTS
from tests.rigs.hold.families.bodies import SHAPES
from tests.rigs.hold.input import MB
from tests.rigs.hold.router import SETUPS
from tests.rigs.hold.run import cases

_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")
_SMALL = 64_000
# These announce more than they send.
_SHORT = ("not finished", "announced", "half a body")


class InputTests(SynchronousTestCase):
    """Every input."""

    def test_names(self) -> None:
        """Titles are unique, setups exist, every setup is used, and each family has inputs."""
        titles = Counter(each.title for each in INPUTS)
        self.assertEqual([title for title, count in titles.items() if count > 1], [])
        used = {setup for each in INPUTS for setup in each.setups}
        self.assertEqual(used, set(SETUPS))
        self.assertEqual(len({each.family for each in INPUTS}), 10)

    def test_requests(self) -> None:
        """Each request announces the length that its body has."""
        for each in INPUTS:
            if "MB" in each.name or "MiB" in each.name:
                continue
            data = each.request()
            found = _LENGTH.findall(data)
            if len(found) == 1 and not any(text in each.name for text in _SHORT):
                body = data.partition(b"\r\n\r\n")[2]
                self.assertEqual(len(body.removesuffix(b"\r\n")), int(found[0]), each.title)

    def test_bodies(self) -> None:
        """A body has about the size that was requested, and only some are not JSON."""
        broken = set()
        for shape in SHAPES:
            body = shape.of(_SMALL).partition(b"\r\n\r\n")[2]
            self.assertApproximates(len(body), _SMALL, 50, shape.name)
            try:
                json.loads(body)
            except (ValueError, RecursionError):
                broken.add(shape.name)
        self.assertEqual(broken, _NOT_JSON)

    def test_numbers(self) -> None:
        """The upstream finds the input by its number, and only where it has a response."""
        number, given = next(
            (number, each) for number, each in enumerate(INPUTS) if each.response is not None
        )
        line = b"\r\n%b: %d\r\n" % (wire.NUMBER_FIELD.encode(), number)
        self.assertEqual(request_bytes(given, number).count(line), 1)
        self.assertEqual(request_bytes(INPUTS[0], 0), INPUTS[0].request())

    def test_wanted(self) -> None:
        """Inputs are chosen by title and router; those with little memory come first."""
        found = cases(INPUTS, re.compile(r"honest text.*\[own\]").search)
        self.assertEqual(
            [each.given.name for each in found],
            ["honest text, 10 KiB", "honest text, 4 MB", "honest text, 32 MiB"],
        )
        self.assertEqual({each.setup.name for each in found}, {"own"})


class WireTests(SynchronousTestCase):
    """The builders of bytes."""

    def test_requests(self) -> None:
        """Several requests in a row: only the last one closes the connection."""
        data = wire.get("/status", 3)()
        self.assertEqual(data.count(b"GET /status HTTP/1.1\r\n"), 3)
        self.assertTrue(data.endswith(b"Connection: close\r\n\r\n"))
        self.assertEqual(data.count(b"Connection: close"), 1)

    def test_chunks(self) -> None:
        """A chunked body has its extension in each chunk, and a terminator."""
        self.assertEqual(wire.in_chunks(b"abc", 2, b";x"), b"2;x\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n")

    def test_streams(self) -> None:
        """A stream lacks both terminators unless it is whole."""
        cut = wire.event_stream(b"data: x\n\n")
        self.assertTrue(cut.endswith(b"9\r\ndata: x\n\n\r\n"))
        whole = wire.event_stream(b"data: x\n\n", whole=True)
        self.assertTrue(whole.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"))

    def test_filled(self) -> None:
        """A filled text has the size at most, and at least one unit."""
        self.assertEqual(wire.filled(b"<", b"ab", b">", 7), b"<abab>")
        self.assertEqual(wire.filled(b"<", b"ab", b">", 0), b"<ab>")
        self.assertEqual(wire.numbered("{},", 3), b"0,1,2,")

    def test_feeds(self) -> None:
        """Both feeds have as many models, the usual ones first."""
        for catalog, utilization in (
            (feeds.catalog(5), feeds.utilization(5)),
            (feeds.compact_catalog(5), feeds.compact_utilization(5)),
        ):
            names = [each["id"] for each in json.loads(catalog)["data"]]
            self.assertEqual([each["name"] for each in json.loads(utilization)], names)
            self.assertEqual((len(names), names[: len(wire.MODELS)]), (5, list(wire.MODELS)))
        self.assertLess(len(feeds.compact_catalog(50_000)), 16 * MB)


_NOT_JSON = {
    "bad UTF-8 at the end",
    "gzip without its label",
    "lines, then a fault",
    "not closed",
    "open braces",
    "open brackets",
    "one long number",
}
