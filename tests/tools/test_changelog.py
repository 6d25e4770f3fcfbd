"""The fragments of the news of the next release, as far as they can be judged without a tool."""

from __future__ import annotations

import re
import tomllib

from twisted.trial.unittest import SynchronousTestCase

from tools.locks import ROOT

_NAME = re.compile(r"\+[a-z0-9-]+\.([a-z]+)\.md")


class FragmentsTests(SynchronousTestCase):
    """Towncrier passes over what it does not know, so that a wrong name loses the news."""

    def test_names_and_words(self) -> None:
        """Each has a kind that is shown, and says something in whole sentences."""
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["towncrier"]
        kinds = {kind["directory"] for kind in settings["type"]}
        explained = (ROOT / settings["directory"] / "README.md").read_text("utf-8")
        self.assertEqual(kinds, set(re.findall(r"^\| `([a-z]+)` \|", explained, re.MULTILINE)))
        for each in (ROOT / settings["directory"]).iterdir():
            if each.name == "README.md":
                continue
            named = _NAME.fullmatch(each.name)
            self.assertTrue(named and named[1] in kinds, f"{each.name}: not +name.kind.md")
            self.assertRegex(each.read_text("utf-8").strip(), r"(?s)^\S.*\.$", each.name)

    def test_where_news_go(self) -> None:
        """The mark stands once in the changelog; without it a release would bury its head."""
        changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
        self.assertEqual(changelog.count("<!-- towncrier: news starts here -->\n"), 1)
