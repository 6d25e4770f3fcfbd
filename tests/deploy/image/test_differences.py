"""Comparison of two images: equal, or the first difference."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.deploy.image.made import SOME_TIME, docker, file, layer, oci
from tools.image import differences
from tools.image.archives import read, unpack

_BASE = layer(file("etc/os-release", b"a base"))
_CODE = (file("opt/a.py", b"pass\n"), file("opt/b.py", b"pass\n"))


class DifferencesTests(SynchronousTestCase):
    """Both formats, with one planted difference each."""

    def between(self, *, made: Callable[..., Path] = docker, **others: Any) -> str | None:
        """Return the first difference to an image with these layers and configuration."""
        folder = Path(self.mktemp())
        folder.mkdir()
        usual: dict[str, Any] = {"layers": [_BASE, layer(*_CODE)], "config": {"User": "1:1"}}
        one = made(folder / "one", **usual)
        other = made(folder / "other", **(usual | others))
        return differences.first(read(one), read(other))

    def differs(self, *members: tuple[tarfile.TarInfo, bytes]) -> str | None:
        """Assert the first difference for a second layer with these members."""
        found = self.between(layers=[_BASE, layer(*members)])
        self.assertEqual(self.between(layers=[_BASE, layer(*members)], made=oci), found)
        return found

    def test_none(self) -> None:
        """An image does not differ from itself."""
        self.assertIsNone(self.between())
        self.assertIsNone(self.between(made=oci))

    def test_compressed(self) -> None:
        """Compression of a layer is no difference."""
        layers = [gzip.compress(_BASE), layer(*_CODE)]
        self.assertIsNone(self.between(made=oci, layers=layers))

    def test_content(self) -> None:
        """A file has different bytes."""
        found = self.differs(_CODE[0], file("opt/b.py", b"pas \n"))
        self.assertIn("layer 2: opt/b.py: content is ", found or "")

    def test_attributes(self) -> None:
        """Mode, owner, time, kind or target differ."""
        for attributes, expected in (
            ({"mode": 0o600}, "mode is 0644 in the first, 0600 in the second"),
            ({"gid": 7}, "owner is 0:0 in the first, 0:7 in the second"),
            ({"mtime": 9}, f"modified is {SOME_TIME} in the first, 9 in the second"),
            ({"type": tarfile.DIRTYPE}, "kind is file in the first, folder in the second"),
        ):
            found = self.differs(_CODE[0], file("opt/b.py", b"pass\n", **attributes))
            self.assertEqual(found, f"layer 2: opt/b.py: {expected}")

    def test_link(self) -> None:
        """A link has a different target."""
        one, other = (
            layer(file("opt/c", type=tarfile.SYMTYPE, linkname=target)) for target in "ab"
        )
        folder = Path(self.mktemp())
        folder.mkdir()
        mine, theirs = (read(docker(folder / str(id(each)), [each])) for each in (one, other))
        found = differences.first(mine, theirs)
        self.assertEqual(found, "layer 1: opt/c: link is a in the first, b in the second")

    def test_missing_and_added(self) -> None:
        """Only one image has a path."""
        self.assertEqual(self.differs(_CODE[0]), "layer 2: opt/b.py is only in the first")
        more = self.differs(*_CODE, file("opt/__pycache__/a.pyc"))
        self.assertEqual(more, "layer 2: opt/__pycache__/a.pyc is only in the second")

    def test_order(self) -> None:
        """The order of entries differs."""
        found = self.differs(*reversed(_CODE))
        self.assertEqual(found, "layer 2: opt/a.py comes where opt/b.py comes in the second")

    def test_bytes(self) -> None:
        """The bytes differ although no entry does."""
        found = self.between(layers=[_BASE, layer(*_CODE) + bytes(512)])
        self.assertEqual(found, "layer 2: the same entries, and yet other bytes")

    def test_layers(self) -> None:
        """The number of layers differs."""
        self.assertEqual(self.between(layers=[_BASE]), "2 layers, and 1")

    def test_configuration(self) -> None:
        """The configuration differs."""
        found = self.between(config={"User": "0:0"})
        self.assertEqual(found, "config.config.User is '1:1' in the first, '0:0' in the second")


class UnpackTests(SynchronousTestCase):
    """A root filesystem is its layers, applied in order."""

    def test_whiteouts(self) -> None:
        """An upper layer deletes and replaces files."""
        folder = Path(self.mktemp())
        folder.mkdir()
        lower = layer(file("etc/a", b"1"), file("var/log/b", b"1"), file("c", b"1"))
        upper = layer(file("etc/.wh.a"), file("var/.wh.log"), file("c", b"2"), file("d", b"2"))
        root = folder / "root"
        root.mkdir()
        unpack(docker(folder / "archive", [lower, upper]), root)
        files = {str(each.relative_to(root)) for each in root.rglob("*")}
        self.assertEqual(files, {"etc", "var", "c", "d"})
        self.assertEqual((root / "c").read_bytes(), b"2")
