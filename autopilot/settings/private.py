"""The types of setting of private mode: what is accepted of evidence, and where its data is kept.

`autopilot.settings.types` describes what a type is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from autopilot.settings.types import Choice, items_of, quoted

PRIVATE_ALIAS: Final = "chutesai/AutoPilot-Private"
"""The name for which the router chooses the model in private mode."""

UP_TO_DATE: Final = "UpToDate"
_STATUSES: Final = {each.lower(): each for each in (UP_TO_DATE, "SWHardeningNeeded")}
_OUT_OF_DATE: Final = "outofdate"


@dataclass(frozen=True, slots=True)
class TcbStatuses:
    """The states of a platform that are accepted, in Intel's words; the best one always is."""

    @property
    def expected(self) -> str:
        """The statuses."""
        return f"{UP_TO_DATE}, or {','.join(_STATUSES.values())}"

    def parse(self, text: str) -> object:
        """Parse the words, in any case."""
        return self.check(items_of(text))

    def check(self, value: object) -> object:
        """Accept a tuple of words, and return it in the order of the table."""
        if not isinstance(value, tuple) or not all(isinstance(each, str) for each in value):
            raise ValueError(f"{quoted(value)} is not a list of statuses; give {self.expected}")
        given = {each.lower(): each for each in value}
        if _OUT_OF_DATE in given:
            raise ValueError(
                "OutOfDate is never accepted as such; after a recovery, PRIVATE_TCB_GRACE_DAYS"
                " judges by Intel's previous data"
            )
        for word, spelled in given.items():
            if word not in _STATUSES:
                raise ValueError(f"{quoted(spelled)} is not known; give {self.expected}")
        if UP_TO_DATE.lower() not in given:
            raise ValueError(f"{UP_TO_DATE} is missing; give {self.expected}")
        return tuple(status for word, status in _STATUSES.items() if word in given)

    def show(self, value: object) -> str:
        """Return the words, separated by commas."""
        return ",".join(value) if isinstance(value, tuple) else ""


class GpuLevel(Choice):
    """What is verified of GPUs. Asking NVIDIA's service, which the proposal names, is not there."""

    def check(self, value: object) -> object:
        """Accept one of the words, and say of ``nras`` that it is not built."""
        if value == "nras":
            raise ValueError(
                "this router does not ask NVIDIA's attestation service (nras); give"
                f" {self.expected}"
            )
        return super().check(value)


@dataclass(frozen=True, slots=True)
class WritableFolder:
    """The path of an existing directory that the router can write to, or ``None``."""

    @property
    def expected(self) -> str:
        """The form of the path."""
        return "path of a writable directory"

    def parse(self, text: str) -> object:
        """Parse as ``check`` does."""
        return self.check(text)

    def check(self, value: object) -> object:
        """Accept the path of a directory that is writable now, so that a mistake shows at once."""
        if value is None:
            return None
        if not isinstance(value, str) or "\0" in value or not os.path.isdir(value):
            raise ValueError(f"{quoted(value)} is not a directory; give the {self.expected}")
        if not os.access(value, os.R_OK | os.W_OK | os.X_OK):
            raise ValueError(f"{quoted(value)} is not writable; give the {self.expected}")
        return value

    def show(self, value: object) -> str:
        """Return the path; empty if there is none."""
        return "" if value is None else str(value)
