"""Tests of what a parent assigns to a worker."""

from __future__ import annotations

from dataclasses import fields
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.service import assignment
from autopilot.service.assignment import Assignment, AssignmentError
from autopilot.settings import Settings, load_settings
from autopilot.wiring.role import Role


class AssignmentTests(SynchronousTestCase):
    """The payload of a frame."""

    def test_every_setting_arrives(self) -> None:
        """Settings of every type arrive as they were sent."""
        settings = load_settings(
            {},
            {
                "TRUSTED_PROXY_CIDRS": "192.0.2.0/24",
                "ALIASES": "fast,chutesai/*",
                "HTTPS_PROXY": "http://user:word@192.0.2.9:3128",
                "NO_PROXY": "example.com,192.0.2.1",
                "CORS_ALLOW_ORIGINS": "https://example.com",
                "STICKY_HASH_KEY": "00" * 32,
                "WORKERS": "auto",
            },
            {},
        )
        for sent in (settings, Settings()):
            role = Role.first(None).of_worker(1)
            got = Assignment.decode(Assignment(role, sent, 3, (("::1", 8081),)).encode())
            self.assertEqual((got.role, got.slot, got.admin), (role, 3, (("::1", 8081),)))
            for each in fields(Settings):
                before, after = getattr(sent, each.name), getattr(got.settings, each.name)
                self.assertEqual(before, after)
                self.assertIs(type(before), type(after), each.name)

    def test_other_version(self) -> None:
        """A worker of another version than its parent's says what to do."""
        payload = Assignment(Role.first(None), Settings(), 0).encode()
        with patch.object(assignment, "__version__", "99.0"):
            error = self.assertRaises(AssignmentError, Assignment.decode, payload)
        self.assertIn("restart the router, not only its workers", str(error))

    def test_something_else(self) -> None:
        """What is no assignment is refused."""
        version, _, _ = Assignment(Role.first(None), Settings(), 0).encode().partition(b"\n")
        self.assertRaises(AssignmentError, Assignment.decode, version + b"\nN.")
