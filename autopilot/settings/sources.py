"""The sources of a process's settings, kept so that they can be loaded again on SIGHUP.

Options and environment stay as they were at the start of the process; only the file can change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autopilot.settings import load_settings
from autopilot.settings.env_file import EnvFile
from autopilot.settings.schema import Settings


@dataclass(frozen=True, slots=True)
class SettingsSources:
    """Options and environment as they were at the start, and the file as it is now."""

    options: Mapping[str, str | None] = field(repr=False)
    environ: Mapping[str, str | None] = field(repr=False)
    env_file: EnvFile

    def load(self) -> Settings:
        """Load the settings anew.

        :raises SettingsError: a variable is invalid, or the file is not readable.
        """
        return load_settings(self.options, self.environ, self.env_file.read())
