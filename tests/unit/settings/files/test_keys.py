"""Tests of the file of keys: its values, and one line with its number for each of its faults."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import Settings, SettingsError
from autopilot.settings.files.keys import KeyEntry, KeysFile, KeysSetting
from autopilot.settings.reload import change

DIGEST = "0123456789abcdef" * 4
_ALL = f"""
[keys.alice]
sha256 = "{DIGEST.upper()}"
models = ["acme/*", " b ", "b"]
routes = ["coder"]
requests_per_minute = 60
concurrent_requests = 4
tokens_per_day = 1000
tokens_per_month = 20000
dollars_per_day = 0.5
dollars_per_month = 10
expires = 2027-01-31

[keys."team/x"]
sha256 = "{"0" * 64}"
"""


class FileTestCase(SynchronousTestCase):
    """A file in a directory of its own."""

    def setUp(self) -> None:
        """Name the file."""
        self.path = Path(self.mktemp())

    def read(self, text: str) -> tuple[KeyEntry, ...]:
        """Return the keys in this text."""
        self.path.write_text(text)
        file = KeysSetting().check(str(self.path))
        assert isinstance(file, KeysFile)
        self.assertEqual(KeysSetting().show(file), str(self.path))
        self.assertIs(KeysSetting().check(file), file)
        return file.keys

    def faults(self, text: str) -> list[str]:
        """Return the lines of this text's faults, without the file's name."""
        lines = str(self.assertRaises(ValueError, self.read, text)).split("\n")
        start = ascii(str(self.path))
        for line in lines:
            self.assertTrue(line.startswith(start), line)
        return [line.removeprefix(start).removeprefix(", ") for line in lines]

    def of_member(self, line: str) -> str:
        """Return the only fault of a key with this line, without its place."""
        (found,) = self.faults(f'[keys.k]\nsha256 = "{DIGEST}"\n{line}')
        where = f"line 3: keys.k.{line.partition(' ')[0]}: "
        self.assertTrue(found.startswith(where), found)
        return found.removeprefix(where)


class ValuesTests(FileTestCase):
    """What a valid file says."""

    def test_every_member(self) -> None:
        """Digests are lower case, dates begin at midnight UTC, amounts are exact."""
        (alice,) = self.read(_ALL.partition('[keys."')[0])
        self.assertEqual(
            alice,
            KeyEntry(
                "alice",
                DIGEST,
                ("acme/*", "b"),
                ("coder",),
                60,
                4,
                1000,
                20000,
                Decimal("0.5"),
                Decimal(10),
                1_801_353_600.0,
            ),
        )
        self.assertTrue(alice.has_budget)

    def test_times(self) -> None:
        """A time without an offset is UTC."""
        for text, expected in (
            ("2027-01-31T00:00:01", 1_801_353_601.0),
            ("2027-01-31T01:00:00+01:00", 1_801_353_600.0),
            ("2027-01-31T00:00:00.5Z", 1_801_353_600.5),
        ):
            (key,) = self.read(f'[keys.k]\nsha256 = "{DIGEST}"\nexpires = {text}')
            self.assertEqual(key.expires, expected)
            self.assertFalse(key.has_budget)

    def test_one_line_a_key(self) -> None:
        """A key may be one line, which has what its table would have."""
        (key,) = self.read(f'keys.k = {{ sha256 = "{DIGEST}", tokens_per_day = 5 }}')
        self.assertEqual(key, KeyEntry("k", DIGEST, tokens_per_day=5))


class FaultsTests(FileTestCase):
    """What is wrong with a file."""

    def test_all_at_once(self) -> None:
        """Each fault has a line with its number, in the order of the file."""
        text = f"""[keys.a]
sha256 = "{DIGEST}"
tokens_per_dya = 5

[keys.b]
models = ["x", 1, ""]
expires = "soon"

[key.c]
[keys.d]
sha256 = "{DIGEST}"
[keys.e]
sha256 = "{DIGEST}"
"""
        self.assertEqual(
            self.faults(text),
            [
                "line 3: keys.a: a member is not known; did you mean tokens_per_day?",
                (
                    "line 5: keys.b.sha256: missing; give the 64 hexadecimal digits that autopilot"
                    " keys new prints"
                ),
                "line 6: keys.b.models: 'this int' is not a name",
                "line 6: keys.b.models: '' is not a name",
                (
                    "line 7: keys.b.expires: not a date; give 2027-01-31 or 2027-01-31T12:00:00Z,"
                    " without quotes"
                ),
                "line 9: a name: not known; the file has a table [keys.NAME] for each key",
                (
                    "line 11: keys.d.sha256: the same as that of keys.a; give each client a key of"
                    " its own"
                ),
                (
                    "line 13: keys.e.sha256: the same as that of keys.a; give each client a key of"
                    " its own"
                ),
            ],
        )

    def test_members(self) -> None:
        """Each member says what it takes."""
        self.assertIn("give 1 to 60000 requests", self.of_member("requests_per_minute = 0"))
        self.assertIn("not a whole number", self.of_member("concurrent_requests = true"))
        self.assertIn("not a whole number", self.of_member("tokens_per_day = 1.5"))
        self.assertIn("out of range", self.of_member("tokens_per_month = " + "9" * 30))
        self.assertIn("not an amount", self.of_member("dollars_per_day = 0"))
        self.assertIn("not an amount", self.of_member("dollars_per_day = true"))
        self.assertIn("not an amount", self.of_member("dollars_per_month = nan"))
        self.assertIn("no list of names", self.of_member("models = []"))
        self.assertIn("no list of names", self.of_member('routes = "x"'))
        self.assertIn("not a date", self.of_member("expires = 12:00:00"))

    def test_no_keys(self) -> None:
        """A file without keys, which would lock all clients out, is a fault; so is no table."""
        none = "keys: there is none; write [keys.NAME] for each key"
        self.assertEqual(self.faults(""), ["line 1: " + none])
        self.assertEqual(self.faults("keys = 3"), ["line 1: " + none])
        self.assertEqual(
            self.faults("\nkeys.a = 3"), ["line 2: keys.a: not a table; write [keys.a]"]
        )
        self.assertEqual(
            self.faults("keys.a.b = { c = 1 }\n")[0],
            "line 1: keys.a: a member is not known; a name with a dot needs quotes:"
            ' [keys."name.name"]',
        )
        self.assertIn("give sha256, models", self.faults("keys.a.zzzz = 1\n")[0])

    def test_secrets(self) -> None:
        """What stands in the wrong place may be a key, so that no line quotes it."""
        key = "canary-of-a-key"
        for text in (
            f'[keys.a]\nsha256 = "{key}"',
            f'[keys."{key}/"]\nsha256 = "{DIGEST}"',
            f'{key} = "x"',
            f'[keys]\na = "{key}"',
            f'[keys.a]\nsha256 = "{DIGEST}"\n{key} = 1',
        ):
            for line in self.faults(text):
                self.assertNotIn("canary", line)
        self.assertIn("name is not valid", self.faults(_ALL)[0])


class SettingTests(FileTestCase):
    """The setting among the others."""

    def test_reload(self) -> None:
        """Other keys in the same file are a change; with a fault nothing changes."""
        self.path.write_text(f'[keys.a]\nsha256 = "{DIGEST}"')
        before = Settings(keys_file=str(self.path))
        self.path.write_text(f'[keys.b]\nsha256 = "{DIGEST}"')
        result = change(before, Settings(keys_file=str(self.path)))
        self.assertEqual(result.changed, ("KEYS_FILE",))
        self.path.write_text("[keys.b]")
        error = self.assertRaises(SettingsError, Settings, keys_file=str(self.path))
        self.assertEqual(len(error.problems), 1)
        self.assertTrue(error.problems[0].startswith("KEYS_FILE: "), error.problems)

    def test_budgets_need_usage(self) -> None:
        """Budgets cannot be kept without reading what was used; other limits can."""
        self.path.write_text(f'[keys.a]\nsha256 = "{DIGEST}"\ntokens_per_day = 1')
        error = self.assertRaises(SettingsError, Settings, keys_file=str(self.path), usage="off")
        self.assertIn("USAGE: off counts nothing", str(error))
        self.path.write_text(f'[keys.a]\nsha256 = "{DIGEST}"\nrequests_per_minute = 1')
        Settings(keys_file=str(self.path), usage="off")
