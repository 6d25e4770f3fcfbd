"""Tests of the file of other services: what it says, and what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings.files.fallbacks import FallbackEntry, FallbacksFile, FallbacksSetting

_CANARY = "sk-canary0123"
_WHOLE = """
[fallbacks.big]
base_url = "https://api.other.test/v1/"
key_file = "key"
models = ["org/model:free", "small", "small"]
default_model = "small"

[fallbacks."b.2"]
base_url = "http://127.0.0.1:8000"
key_file = "key"
models = ["m"]
"""


class FallbacksTests(SynchronousTestCase):
    """The file, beside which lies that of its key."""

    def setUp(self) -> None:
        """Name the file, and write the key."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path, self.key = folder / "fallbacks.toml", folder / "key"
        self.key.write_text(f"{_CANARY}\n")

    def read(self, text: str) -> FallbacksFile:
        """Return the file with this text."""
        self.path.write_text(text)
        file = FallbacksSetting().check(str(self.path))
        assert isinstance(file, FallbacksFile)
        return file

    def faults(self, text: str) -> list[str]:
        """Return the faults of a text, without the path in front; none shows the key."""
        problem = str(self.assertRaises(ValueError, self.read, text))
        self.assertNotIn("canary", problem)
        start = f"{str(self.path)!a}, "
        lines = problem.split("\n")
        self.assertTrue(all(line.startswith(start) for line in lines), problem)
        return [line.removeprefix(start) for line in lines]

    def test_values(self) -> None:
        """The services stand in the order of the file, and no text of them shows a key."""
        file = self.read(_WHOLE)
        url, models = "https://api.other.test/v1", ("org/model:free", "small")
        self.assertEqual(
            file.fallbacks,
            (
                FallbackEntry("big", url, _CANARY, models, "small"),
                FallbackEntry("b.2", "http://127.0.0.1:8000", _CANARY, ("m",)),
            ),
        )
        self.assertEqual(file.key_files, (str(self.key), str(self.key)))
        self.assertEqual(FallbacksSetting().show(file), str(self.path))
        self.assertEqual(FallbacksSetting().show(None), "")
        self.assertIs(FallbacksSetting().check(file), file)
        self.assertIsNone(FallbacksSetting().check(None))
        self.assertNotIn("canary", repr(file))

    def test_absolute_key_file(self) -> None:
        """A path from the root is taken as it is."""
        other = Path(self.mktemp()).absolute()
        other.write_text("other-key")
        file = self.read(_WHOLE.replace('"key"', f'"{other}"'))
        self.assertEqual({each.key for each in file.fallbacks}, {"other-key"})

    def test_new_key(self) -> None:
        """Another key makes another file, so that a reload sees it."""
        before = self.read(_WHOLE)
        self.assertEqual(self.read(_WHOLE), before)
        self.key.write_text("another-key")
        self.assertNotEqual(self.read(_WHOLE), before)

    def test_faults(self) -> None:
        """Each has its line, and all come at once."""
        self.assertEqual(
            [
                line.split(";")[0]
                for line in self.faults(
                    "top = 1\n"
                    "[fallbacks]\n"
                    "flat = 1\n"
                    '["fallbacks"."no name"]\n'
                    "[fallbacks.empty]\n"
                    "[fallbacks.bad]\n"
                    'base_url = "ftp://x"\n'
                    f'key_file = ["{_CANARY}"]\n'
                    'models = ["a,b", "", 3, "ok"]\n'
                    'default_model = "other"\n'
                    "timeout = 1\n"
                    'model = "x"\n'
                    "[fallbacks.b.2]\n"
                    "[fallbacks.chutes]\n"
                    'base_url = "https://llm.chutes.ai"\n'
                    'key_file = "key"\n'
                    'models = ["m"]\n'
                    'default_model = "n"\n'
                )
            ],
            [
                "line 1: a name: not known",
                "line 3: fallbacks.flat: not a table",
                "line 4: fallbacks: a name is not valid",
                "line 5: fallbacks.empty.base_url: missing",
                "line 5: fallbacks.empty.key_file: missing",
                "line 5: fallbacks.empty.models: missing",
                "line 7: fallbacks.bad.base_url: 'ftp://x' is not a URL with a host",
                "line 8: fallbacks.bad.key_file: not a path",
                "line 9: fallbacks.bad.models: 'a,b' is not the name of a model",
                "line 9: fallbacks.bad.models: '' is not the name of a model",
                "line 9: fallbacks.bad.models: 'this int' is not the name of a model",
                "line 11: fallbacks.bad: a member is not known",
                "line 12: fallbacks.bad: a member is not known",
                "line 13: fallbacks.b: a member is not known",
                "line 13: fallbacks.b.base_url: missing",
                "line 13: fallbacks.b.key_file: missing",
                "line 13: fallbacks.b.models: missing",
                "line 15: fallbacks.chutes.base_url: this is the platform itself",
                "line 18: fallbacks.chutes.default_model: 'n' is not one of its models",
            ],
        )

    def test_key_beside_faults(self) -> None:
        """The file of a key is looked at as well where a table has other faults."""
        lines = self.faults(f'''[fallbacks.a]
base_url = "{_CANARY}"
key_file = "gone"
models = ["m"]
colour = 1
''')
        expected = (
            "line 2: fallbacks.a.base_url: not a URL",
            "line 3: fallbacks.a.key_file: the file cannot be read",
            "line 5: fallbacks.a: a member is not known",
        )
        self.assertEqual(len(lines), len(expected))
        for line, start in zip(lines, expected, strict=True):
            self.assertTrue(line.startswith(start), line)

    def test_pipe(self) -> None:
        """A pipe in the place of the key is a fault: opening it would wait for a writer."""
        self.key.unlink()
        os.mkfifo(self.key)
        self.assertIn("key_file: not a regular file", self.faults(_WHOLE)[0])

    def test_nothing(self) -> None:
        """A file without a service is a mistake, and so is one with very many."""
        for text in ("", "[fallbacks]", "fallbacks = 1"):
            (line,) = self.faults(text)
            self.assertTrue(line.startswith("line 1: fallbacks: there is none"), line)
        many = "".join(f"[fallbacks.f{number}]\n" for number in range(17))
        self.assertEqual(self.faults(many), ["line 1: fallbacks: there are more than 16"])
        for models in ("1", "[]"):
            text = _WHOLE.replace('["m"]', models)
            (line,) = self.faults(text)
            self.assertIn("fallbacks.b.2.models: not a list of names", line)

    def test_keys(self) -> None:
        """The file of a key must be there and hold one, or it is a fault that does not show it."""
        for content in ("", "\n", f"{_CANARY} {_CANARY}", f"{_CANARY}\n{_CANARY}", "ключ"):
            self.key.write_text(content)
            lines = self.faults(_WHOLE)
            self.assertEqual(len(lines), 2)
            self.assertIn("line 4: fallbacks.big.key_file: the file does not hold a key", lines[0])
        self.key.unlink()
        self.assertIn("cannot be read (No such file or directory)", self.faults(_WHOLE)[0])
        text = _WHOLE.replace('"key"', f'"{_CANARY}"')  # the key itself, by mistake
        self.assertEqual(len(self.faults(text)), 2)

    def test_no_toml(self) -> None:
        """What cannot be read at all is one fault."""
        self.path.write_text(f'[fallbacks.a]\nkey_file = "{_CANARY}')
        problem = str(self.assertRaises(ValueError, FallbacksSetting().parse, str(self.path)))
        self.assertIn("not TOML", problem)
        self.assertNotIn("canary", problem)
