"""Tests of the settings of private mode: what is accepted, and the line for what is not."""

from __future__ import annotations

import os
from pathlib import Path

import trustme
from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import Settings, SettingsError, load_settings
from autopilot.settings.private import PRIVATE_ALIAS, TcbStatuses, WritableFolder


def problems_of(**texts: str) -> tuple[str, ...]:
    """Return the error lines for these environment variables."""
    try:
        load_settings({}, texts, {})
    except SettingsError as wrong:
        return wrong.problems
    return ()


class TcbTests(SynchronousTestCase):
    """The states of a platform that are accepted."""

    def test_words(self) -> None:
        """Case, order and repetition make no difference."""
        kind = TcbStatuses()
        both = ("UpToDate", "SWHardeningNeeded")
        for text, expected in (
            ("uptodate", ("UpToDate",)),
            ("SWHardeningNeeded, UpToDate", both),
            ("UpToDate,uptodate,swhardeningneeded,", both),
        ):
            self.assertEqual(kind.parse(text), expected)
            self.assertEqual(kind.parse(kind.show(kind.parse(text))), expected)

    def test_refused(self) -> None:
        """The best state always counts, OutOfDate never, and no other word is known."""
        for text, expected in (
            ("OutOfDate", "PRIVATE_TCB_GRACE_DAYS"),
            ("UpToDate,outofdate", "PRIVATE_TCB_GRACE_DAYS"),
            ("SWHardeningNeeded", "UpToDate is missing"),
            ("UpToDate,Revoked", "'Revoked' is not known"),
            (",", "UpToDate is missing"),
        ):
            (line,) = problems_of(PRIVATE_TCB=text)
            self.assertIn(expected, line)
        with self.assertRaises(SettingsError):
            Settings(private_tcb=(1,))  # type: ignore[arg-type]


class WordTests(SynchronousTestCase):
    """The settings that are one word."""

    def test_nras(self) -> None:
        """What the proposal names and the router does not have is refused in so many words."""
        (line,) = problems_of(PRIVATE_GPU="NRAS")
        self.assertIn("does not ask NVIDIA", line)
        self.assertEqual(len(problems_of(PRIVATE_GPU="some", PRIVATE="yes")), 2)
        self.assertEqual(load_settings({}, {"PRIVATE_GPU": "OFF"}, {}).private_gpu, "off")

    def test_alias(self) -> None:
        """The alias of private mode is no alias of another kind, in any case, nor a route."""
        for spelled in (PRIVATE_ALIAS, PRIVATE_ALIAS.upper()):
            (line,) = problems_of(ALIASES=f"a,{spelled}")
            self.assertIn("the alias of private mode", line)
            path = Path(self.mktemp())
            path.write_text(f'[routes."{spelled}"]\nmodels = ["a/b"]\n')
            (line,) = problems_of(ROUTES_FILE=str(path))
            self.assertIn("is an alias", line)
            path.write_text(
                f'[routes.r]\nmodels = ["{spelled}", "c/d"]\n'
                f'[routes.fine]\nmodels = ["c/d", "{spelled}"]\n'
            )
            (line,) = problems_of(ROUTES_FILE=str(path))
            self.assertIn("routes.r.models", line)
            self.assertIn("can only be the last item", line)


class FolderTests(SynchronousTestCase):
    """The directory of Intel's data."""

    def test_folder(self) -> None:
        """It is one, and it can be written to."""
        folder, file = self.mktemp(), self.mktemp()
        os.mkdir(folder)
        Path(file).touch()
        kind = WritableFolder()
        self.assertEqual(kind.parse(folder), folder)
        self.assertEqual((kind.show(folder), kind.show(None), kind.check(None)), (folder, "", None))
        for wrong in (file, f"{folder}/none", "a\0b"):
            (line,) = problems_of(PRIVATE_COLLATERAL_DIR=wrong)
            self.assertIn("is not a directory", line)
        self.patch(os, "access", lambda path, mode: False)
        (line,) = problems_of(PRIVATE_COLLATERAL_DIR=folder)
        self.assertIn("is not writable", line)


class TestRootsTests(SynchronousTestCase):
    """Other roots than those of the vendors."""

    def setUp(self) -> None:
        """Make a file of two roots."""
        self.path = self.mktemp()
        for place in range(2):
            trustme.CA().cert_pem.write_to_path(self.path, append=place > 0)

    def test_loopback(self) -> None:
        """They are for a platform on this machine only."""
        for host, loopback in (
            ("127.0.0.1:9", True),
            ("[::1]", True),
            ("localhost:80", True),
            ("api.chutes.ai", False),
            ("127.0.0.1.example", False),
            ("192.0.2.1", False),
        ):
            lines = problems_of(PRIVATE_TEST_ROOTS=self.path, API_BASE_URL=f"http://{host}")
            self.assertEqual(lines == (), loopback, lines)
        (line,) = problems_of(PRIVATE_TEST_ROOTS=self.path)
        self.assertIn("PRIVATE_TEST_ROOTS: for a platform on this machine only", line)

    def test_two(self) -> None:
        """The file has two certificates."""
        one, junk = self.mktemp(), self.mktemp()
        trustme.CA().cert_pem.write_to_path(one)
        Path(junk).write_bytes(Path(self.path).read_bytes() + b"-----BEGIN CERTIFICATE-----\nA\n")
        for path in (one, junk):
            (line,) = problems_of(PRIVATE_TEST_ROOTS=path, API_BASE_URL="http://127.0.0.1")
            self.assertIn("does not hold two certificates", line)
        (line,) = problems_of(PRIVATE_TEST_ROOTS=self.mktemp(), API_BASE_URL="http://127.0.0.1")
        self.assertIn("is not a file", line)
