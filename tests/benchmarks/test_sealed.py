"""Tests of the upstream's part in private mode: what it writes is what the router opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.instances import parse_discovery
from autopilot.attestation.measurements import parse_published
from autopilot.attestation.sealed_stream import StreamOpener
from autopilot.attestation.sealing import InstanceKey, ResponseKey, open_reply, seal
from autopilot.attestation.verdict import Verified
from autopilot.attestation.verification import Policy, Question, read_evidence, roots_of, verify
from benchmarks.feeds import CATALOG_PATH, MODELS, feeds
from benchmarks.sealed import WORLD, SealedEvents, SealedUpstream, sealed_reply, write_roots
from benchmarks.wire import FRAMING, chat_request, templates
from stub_backend.sealed.world import World
from tests.benchmarks.test_wire import STAMPS, stream_body, without_framing

_MODEL = MODELS[0]


def _body(response: bytes) -> bytes:
    return response.partition(b"\r\n\r\n")[2]


class SealedTests(SynchronousTestCase):
    """Requests, answers, and the pages that private mode asks for."""

    def setUp(self) -> None:
        """Discover the instances of a model."""
        self.upstream = SealedUpstream()
        listed = json.loads(feeds()[CATALOG_PATH])["data"]
        (entry,) = (each for each in listed if each["id"] == _MODEL)
        self.assertTrue(entry["confidential_compute"])
        page = self.upstream.page(f"/e2e/instances/{entry['chute_id']}")
        assert page is not None
        self.discovery = parse_discovery(_body(page))
        self.instance = self.discovery.instances[0]

    def asked(self, **more: Any) -> tuple[ResponseKey, list[bytes]]:
        """Seal a request; return its key, and the parts of what the upstream answers."""
        request = chat_request(host="h", path="/", model=_MODEL, **more)
        sealed = seal(_body(request), InstanceKey(self.instance.key))
        head = b"POST /e2e/invoke HTTP/1.1\r\nX-Instance-Id: %b\r\n" % (
            self.instance.instance_id.encode()
        )
        opened = self.upstream.opened(head, sealed.blob)
        self.assertEqual(opened.wanted.model, _MODEL.encode())
        answer = templates(_MODEL)
        if opened.wanted.seed is None:
            return sealed.response_key, [sealed_reply(answer, STAMPS[0], opened.key)]
        self.assertEqual((opened.wanted.seed, opened.wanted.events), (50, 3))
        events = SealedEvents(answer, opened.key)
        return sealed.response_key, [events.first, *map(events.event, STAMPS), events.ending()]

    def test_reply(self) -> None:
        """A reply opens to the body of a plain one."""
        key, (response,) = self.asked()
        answer = templates(_MODEL)
        plain = _body(answer.unary_before + STAMPS[0] + answer.unary_after)
        self.assertEqual(open_reply(_body(response), key), plain)

    def test_stream(self) -> None:
        """A stream opens to the body of a plain one, each event in one chunk."""
        key, parts = self.asked(seed=50, events=3)
        for part in parts[:-1]:
            self.assertEqual(len(FRAMING.findall(b"\r\n" + part)), 1)
        opener = StreamOpener(key)
        opened = opener.feed(without_framing(b"".join(parts)))
        self.assertEqual(opened, without_framing(stream_body()))
        self.assertTrue(opener.ended)

    def test_nonces(self) -> None:
        """No two instances, and no two discoveries, list the same nonce."""
        listed = [nonce for each in self.discovery.instances for nonce in each.nonces]
        self.assertEqual(len(listed), 8 * 256)
        self.assertEqual(len(set(listed)), len(listed))

    def test_evidence(self) -> None:
        """Its evidence verifies, with the roots that the router is given."""
        nonce = "5a" * 32
        page = self.upstream.page(f"/instances/{self.instance.instance_id}/evidence?nonce={nonce}")
        rows = self.upstream.page("/servers/tee/measurements")
        assert page is not None and rows is not None
        folder = Path(self.mktemp())
        folder.mkdir()
        intel, nvidia = roots_of(write_roots(folder).read_bytes())
        world = World.read(WORLD)
        verdict = verify(
            read_evidence(_body(page)),
            Question(nonce, self.instance.key),
            json.dumps(world.collateral["long_until_2036"]),
            Policy(parse_published(_body(rows)), intel_root=intel, nvidia_root=nvidia),
            world.vectors["fixed_now"],
        )
        self.assertIsInstance(verdict, Verified)
        self.assertIsNone(self.upstream.page("/other"))
