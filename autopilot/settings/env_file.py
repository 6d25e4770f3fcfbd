"""The ``.env`` file, from which settings are read at the start and on SIGHUP."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final

from dotenv import dotenv_values

from autopilot.settings.declaration import SettingsError

ENV_FILE: Final = ".env"
"""The file in the working directory that is read if no other one is named."""


class EnvFile:
    """The ``.env`` file.

    ``path`` is absolute, because a daemon changes its directory; ``name`` is the path as the
    operator wrote it, for messages, and ``option`` the option that named it. The file must exist if
    it is ``required`` or was read before. A pipe is read once only: by the second time it may have
    no writer, and opening it would block the process.
    """

    def __init__(self, path: str, *, name: str, required: bool, option: str = "") -> None:
        self._path = path
        self._name = name
        self._required = required
        self._option = f"{option}: " if option else ""
        self._was_read = False

    @property
    def absent(self) -> bool:
        """Whether the file does not exist, which is an error if it was read before."""
        return not os.path.exists(self._path)

    def read(self) -> Mapping[str, str | None]:
        """Return the variables in the file, or none if there is no such file.

        :raises SettingsError: the file is missing, although it must exist, or is not readable.
        """
        if not os.path.exists(self._path):
            # A file that disappears must not reset every setting to its default. It also seems to
            # disappear when the process loses access to it (chroot, another user).
            if self._required:
                raise SettingsError((f"{self._option}{self._name!a} does not exist",))
            return {}
        if self._was_read and stat.S_ISFIFO(os.stat(self._path).st_mode):
            raise SettingsError((f"{self._name}: a pipe can be read only once",))
        # The library would read a directory as an empty file.
        if os.path.isdir(self._path):
            raise SettingsError((f"{self._name}: Is a directory",))
        self._required = self._was_read = True
        try:
            return dotenv_values(self._path, interpolate=False, encoding="utf-8")
        except (OSError, ValueError) as error:  # ValueError: not UTF-8; its text quotes the file
            problem = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise SettingsError((f"{self._name}: {problem}",)) from None
