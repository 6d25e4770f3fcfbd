"""Tests of the roles of a router's processes."""

from __future__ import annotations

import pickle
import time

from twisted.trial.unittest import SynchronousTestCase

from autopilot.wiring.role import Place, Role


class RoleTests(SynchronousTestCase):
    """The values that the processes of one router share."""

    def test_single(self) -> None:
        """A process on its own has no number; another router has other random values."""
        before = int(time.time())
        role, other = Role.first(None), Role.first(None)
        self.assertEqual((role.place, role.worker), (Place.SINGLE, None))
        self.assertRegex(role.pseudonym, rb"^chutes-autopilot-[0-9a-f]{16}$")
        self.assertEqual(len(role.hash_key), 32)
        self.assertGreaterEqual(role.started, before)
        self.assertNotEqual(role.pseudonym, other.pseudonym)
        self.assertNotEqual(role.hash_key, other.hash_key)

    def test_hash_key(self) -> None:
        """The key of the settings is used, and not shown."""
        role = Role.first(b"k" * 32)
        self.assertEqual(role.hash_key, b"k" * 32)
        self.assertNotIn("kkk", repr(role))

    def test_workers(self) -> None:
        """Workers share the parent's values, also in another process."""
        parent = Role.first(None, Place.PARENT)
        worker = pickle.loads(pickle.dumps(parent.of_worker(3)))  # noqa: S301
        self.assertEqual((worker.place, worker.worker), (Place.WORKER, 3))
        for name in ("pseudonym", "hash_key", "started"):
            self.assertEqual(getattr(worker, name), getattr(parent, name))
