"""Where the settings of a process come from, to be read again: of three sources one can change.

The options and the environment of a process stay what they were when it began. The file does not.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

from dotenv import dotenv_values

from autopilot.settings import SettingsError, load_settings
from autopilot.settings.schema import Settings


class EnvFile:
    """The file of variables.

    ``path`` is absolute, for a daemon changes its directory; ``name`` is what people call it. One
    that is ``required``, or was there before, has to be there. A pipe is read once: the next time
    nobody may write to it, and the reader would wait for ever.
    """

    def __init__(self, path: str, *, name: str, required: bool) -> None:
        self._path = path
        self._name = name
        self._required = required
        self._read = False

    def read(self) -> Mapping[str, str | None]:
        """Its variables; none if there is no such file.

        Raises ``SettingsError``. A file that is gone would set everything back to the defaults,
        and a process that has lost the right to see it (chroot, another user) finds it gone.
        """
        if not os.path.exists(self._path):
            if self._required:
                raise SettingsError((f"{self._name!a} does not exist",))
            return {}
        if self._read and stat.S_ISFIFO(os.stat(self._path).st_mode):
            raise SettingsError((f"{self._name}: a pipe can be read only once",))
        self._required = self._read = True
        try:
            return dotenv_values(self._path, interpolate=False, encoding="utf-8")
        except (OSError, ValueError) as wrong:  # ValueError: not UTF-8, whose text would quote it
            problem = wrong.strerror if isinstance(wrong, OSError) else "not UTF-8 text"
            raise SettingsError((f"{self._name}: {problem}",)) from None


@dataclass(frozen=True, slots=True)
class Sources:
    """Options and environment as they were at the start, and the file as it is."""

    options: Mapping[str, str | None] = field(repr=False)
    environ: Mapping[str, str | None] = field(repr=False)
    env_file: EnvFile

    def load(self) -> Settings:
        """The settings that they give now. Raises ``SettingsError``."""
        return load_settings(self.options, self.environ, self.env_file.read())
