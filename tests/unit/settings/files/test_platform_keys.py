"""Tests of the file of the platform's keys: none of its faults shows a key."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import Settings, SettingsError
from autopilot.settings.files.platform_keys import (
    PlatformKeyEntry,
    PlatformKeysFile,
    PlatformKeysSetting,
)

_CANARY = "cpk_canary0123"


class PlatformKeysTests(SynchronousTestCase):
    """What the file says, what is wrong with it, and when the setting is refused."""

    def setUp(self) -> None:
        """Name the file."""
        self.path = Path(self.mktemp())

    def read(self, text: str) -> PlatformKeysFile:
        """Return the file with this text."""
        self.path.write_text(text)
        file = PlatformKeysSetting().check(str(self.path))
        assert isinstance(file, PlatformKeysFile)
        return file

    def test_values(self) -> None:
        """The keys stand in the order of the file, and no text of them shows one."""
        file = self.read(f'[keys]\nmain = "{_CANARY}"\nb = "12345678"')
        expected = (PlatformKeyEntry("main", _CANARY), PlatformKeyEntry("b", "12345678"))
        self.assertEqual(file.keys, expected)
        self.assertNotIn("canary", repr(file))
        self.assertEqual(PlatformKeysSetting().show(file), str(self.path))
        self.assertIs(PlatformKeysSetting().check(file), file)
        self.assertNotIn("canary", repr(Settings(chutes_api_keys_file=file, require_key="off")))

    def test_faults(self) -> None:
        """Each has its line and no key."""
        many = "".join(f'k{number} = "key-{number:08}"\n' for number in range(1001))
        for text, expected in (
            ("", ["line 1: keys: there is none"]),
            ("[keys]", ["line 1: keys: there is none"]),
            (f'{_CANARY} = "x"', ["line 1: a name: not known", "line 1: keys: there is none"]),
            (
                (
                    f'[keys]\na = "{_CANARY}"\n"{_CANARY}/" = "x"\nb = "{_CANARY}"\n'
                    f'c = "{_CANARY} "\nd = 1'
                ),
                [
                    "line 3: keys: a name is not valid",
                    "line 4: keys.b: the same key as keys.a",
                    "line 5: keys.c: not a key",
                    "line 6: keys.d: not a key",
                ],
            ),
            (f"[keys]\n{many}", ["line 1: keys: there are more than 1000"]),
        ):
            problem = str(self.assertRaises(ValueError, self.read, text))
            self.assertNotIn("canary", problem)
            lines = problem.split("\n")
            start = f"{str(self.path)!a}, "
            self.assertEqual(len(lines), len(expected), problem)
            for line, beginning in zip(lines, expected, strict=True):
                self.assertTrue(line.startswith(start + beginning), line)
        self.path.write_text(f'[keys]\na = "{_CANARY}\n')
        problem = str(self.assertRaises(ValueError, PlatformKeysSetting().check, str(self.path)))
        self.assertNotIn("canary", problem)

    def test_no_open_relay(self) -> None:
        """Without the file of keys every client could use them; the operator may mean that."""
        file = self.read(f'[keys]\na = "{_CANARY}"')
        error = self.assertRaises(SettingsError, Settings, chutes_api_keys_file=file)
        self.assertEqual(
            error.problems,
            (
                (
                    "CHUTES_API_KEYS_FILE: every client could use these keys; set KEYS_FILE, or"
                    " REQUIRE_KEY=off if that is meant"
                ),
            ),
        )
        Settings(chutes_api_keys_file=file, require_key="off")
