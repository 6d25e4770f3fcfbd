"""The checker of the wording, and the state of this repository by its rules."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tools.prose import check, checked_files, load_rules, main

_ROOT = Path(__file__).parents[2]
_REJECTED = '''"""A line that {words}
over two lines, for {person}."""

_BYTES = b"for {person} else"
_WORD = "{person}"


def one() -> bool:
    """Whether it holds."""


@property
def two() -> bool:
    """Whether it holds."""


def three() -> None:
    """Return nothing."""
    # Sent to {person}
    # at the end.
    _log.info("sent")
    self._log.warn("Sent")
'''.format(words="go" + "es by\nit", person="some" + "body")


_PAGE = """# A page

Text for {person},
and a phrase that {verb}
by it. `{person}` and ``a ` {person}`` are code, `{person}
over a line` too.

A single ` is none, for {person}.

```console
$ echo {person}
```

* After the block, for {person}.
"""


class ProseTests(SynchronousTestCase):
    """`python -m tools.prose`."""

    def test_findings(self) -> None:
        """Docstrings, comments and log messages are checked; data and properties are not."""
        path = Path(self.mktemp())
        path.write_text(_REJECTED)
        found = [(each.line, each.text) for each in check(path, load_rules())]
        words = ("go" + "es by it", "some" + "body")
        self.assertEqual(
            sorted(found),
            [(1, words[0]), (3, words[1]), (10, "Whether"), (20, words[1]), (22, "sent")],
        )

    def test_pages(self) -> None:
        """The text of a Markdown page is checked, wherever it wraps, and its code is not."""
        path = Path(self.mktemp() + ".md")
        path.write_text(_PAGE.format(person="some" + "body", verb="go" + "es"))
        found = [(each.line, each.text) for each in check(path, load_rules())]
        words = ("go" + "es by it", "some" + "body")
        self.assertEqual(
            sorted(found), [(3, words[1]), (4, words[0]), (8, words[1]), (14, words[1])]
        )

    def test_files(self) -> None:
        """The checked folders are, the pending ones are not, checked."""
        rules = load_rules()
        names = {str(path.relative_to(_ROOT)) for path in checked_files(rules)}
        self.assertIn("autopilot/tap.py", names)
        self.assertIn("tools/prose.py", names)
        for page in (
            "README.md",
            "docs/nginx.md",
            "docs/design/index.md",
            "research/RELIABILITY.md",
        ):
            self.assertIn(page, names)
        self.assertNotIn("CHANGELOG.md", names)
        for pending in rules.pending:
            self.assertTrue((_ROOT / pending).exists(), pending)
            self.assertFalse([name for name in names if name.startswith(f"{pending}/")], pending)

    def test_repository(self) -> None:
        """No checked file of this repository breaks a rule."""
        self.assertEqual(main([]), 0)
