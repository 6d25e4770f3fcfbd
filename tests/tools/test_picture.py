"""Tests of the picture of the status page in the README."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from tools.picture import MAX_BYTES, PATH


class PictureTests(SynchronousTestCase):
    """The picture in the repository."""

    def test_picture(self) -> None:
        """It is a PNG as wide as the page on a desktop, and weighs little."""
        picture = PATH.read_bytes()
        self.assertTrue(picture.startswith(b"\x89PNG\r\n\x1a\n"))
        self.assertEqual(struct.unpack(">I", picture[16:20]), (1300,))
        self.assertLessEqual(len(picture), MAX_BYTES)
