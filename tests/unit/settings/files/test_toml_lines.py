"""Tests of the line numbers of a TOML document."""

from __future__ import annotations

import tomllib

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings.files.toml_lines import Lines

_TEXT = '''# keys = 1, [x]
[keys.alice] # "
sha256 = "a#b" # [keys.no]
models = [
  "x", # ]
  "]",
]
note = """
[keys.no]
no = 1
"""
"a b".c = 1
'q' = { x = 1 }

[[z]]
a = \'\'\'
q\'\'
[keys.no]\'\'\'
b = "\\"[" # "
"\\u0041" = 2
'''


class LinesTests(SynchronousTestCase):
    """Which line a table or a member has."""

    def test_every_kind(self) -> None:
        """Strings, comments and lists over several lines have no members."""
        tomllib.loads(_TEXT)
        lines = Lines(_TEXT)
        for path, line in (
            (("keys", "alice"), 2),
            (("keys", "alice", "sha256"), 3),
            (("keys", "alice", "models"), 4),
            (("keys", "alice", "note"), 8),
            (("keys", "alice", "a b"), 12),
            (("keys", "alice", "a b", "c"), 12),
            (("keys", "alice", "q"), 13),
            (("z",), 15),
            (("z", "a"), 16),
            (("z", "b"), 19),
            (("z", "A"), 20),
        ):
            self.assertEqual(lines.of(path), line, path)

    def test_what_has_no_line(self) -> None:
        """An inline member has the line of its table, and an unknown name the first line."""
        lines = Lines(_TEXT)
        self.assertEqual(lines.of(("keys", "alice", "q", "x")), 13)
        self.assertEqual(lines.of(("keys", "no")), 2)
        self.assertEqual(Lines("").of(("x",)), 1)
