"""The table of codes for those who meet them, compared with the code."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tools.docs.blocks import ROOT
from tools.docs.refusals import said

_PAGE = ROOT / "docs" / "troubleshooting.md"
_ROW = re.compile(r"^\| `(\w+)` \| ([0-9, ]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


class CodeTests(SynchronousTestCase):
    """The rows of the table."""

    def test_complete(self) -> None:
        """Each code of the router has one row, with all statuses that it can have."""
        page = _PAGE.read_text("utf-8").partition("\n## Codes of the router\n")[2]
        rows = _ROW.findall(page.partition("\n## ")[0])
        statuses: dict[str, set[int]] = {}
        for each in said():
            statuses.setdefault(each.code, set()).add(each.status)
        shown = {code: set(map(int, numbers.split(", "))) for code, numbers, _, _ in rows}
        self.assertEqual(shown, statuses)
        self.assertEqual([code for code, *_ in rows], sorted(shown))
