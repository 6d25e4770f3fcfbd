"""The tables of a TOML file whose names an operator chooses, as in ``[keys.NAME]``.

No fault quotes a value, nor a name that is not known: what stands in the wrong place may be a key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from autopilot.settings.files.document import Document

ENTRY_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""The name of an entry, which logs and metrics show."""

NAME_RULE: Final = "give letters, digits and ._- (64 at most)"


@dataclass(frozen=True, slots=True)
class EntryTable:
    """The members that each entry of a table may have.

    ``members`` has the function that reads each; it raises ValueError with a line for each problem.
    ``needed`` says what to give for a member that must not be missing.
    """

    name: str
    members: Mapping[str, Callable[[object], Any]]
    needed: Mapping[str, str] = field(default_factory=dict)

    def read(self, document: Document, name: str, entry: object) -> dict[str, Any] | None:
        """Return the valid members of an entry; None if its name is not valid, or it is no table.

        The faults of the entry are the document's.
        """
        path, where = (self.name, name), f"{self.name}.{name}"
        if not check_name(document, path):
            return None
        if not isinstance(entry, dict):
            document.fault(path, where, f"not a table; write [{where}]")
            return None
        values: dict[str, Any] = {}
        for member, value in entry.items():
            read = self.members.get(member)
            if read is None:
                document.fault((*path, member), where, self._unknown(member, value))
                continue
            try:
                values[member] = read(value)
            except ValueError as error:
                for problem in str(error).splitlines():
                    document.fault((*path, member), f"{where}.{member}", problem)
        for member, what in self.needed.items():
            if member not in entry:
                document.fault(path, f"{where}.{member}", f"missing; give {what}")
        return values

    def _unknown(self, member: str, value: object) -> str:
        near = get_close_matches(member, self.members, 1)
        if near:
            return f"a member is not known; did you mean {near[0]}?"
        if isinstance(value, dict):
            known = f'[{self.name}."name.name"]'
            return f"a member is not known; a name with a dot needs quotes: {known}"
        return f"a member is not known; give {', '.join(self.members)}"


def check_name(document: Document, path: tuple[str, str]) -> bool:
    """Return whether the name at the end of the path is valid; note the fault if it is not."""
    if ENTRY_NAME.fullmatch(path[1]):
        return True
    document.fault(path, path[0], f"a name is not valid; {NAME_RULE}")
    return False
