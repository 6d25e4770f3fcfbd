"""Tests of which models the catalog marks as confidential."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.tee import TEE_REQUIRED, confidential, is_confidential

CATALOG = Catalog.of(
    [Model("v/Sealed-TEE", tee=True), Model("v/Open-TEE", tee=False), Model("v/Silent-TEE")]
)


class TeeTests(SynchronousTestCase):
    """The catalog's own mark counts, and no name."""

    def test_marked(self) -> None:
        """Only a model that is marked is confidential; silence is not a mark."""
        for name, expected in (
            ("v/Sealed-TEE", True),
            ("v/Open-TEE", False),
            ("v/Silent-TEE", False),
            ("v/Unlisted-TEE", False),
            ("", False),
        ):
            self.assertIs(is_confidential(name, CATALOG), expected, name)

    def test_spellings(self) -> None:
        """A name is what the platform takes it for."""
        self.assertTrue(is_confidential("V/SEALED-TEE", CATALOG))

    def test_confidential(self) -> None:
        """The confidential ones are kept as they were written, in their order."""
        names = ("V/Sealed-TEE", "v/Open-TEE", "v/Sealed-TEE")
        self.assertEqual(confidential(names, CATALOG), ("V/Sealed-TEE", "v/Sealed-TEE"))

    def test_none(self) -> None:
        """Without one the request is refused, before any attempt."""
        for names in ((), ("v/Open-TEE", "v/Silent-TEE")):
            self.assertIs(confidential(names, CATALOG), TEE_REQUIRED)
        self.assertEqual(
            (TEE_REQUIRED.status, TEE_REQUIRED.code, TEE_REQUIRED.param),
            (400, "tee_required", "model"),
        )
