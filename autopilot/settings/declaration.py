"""One row of the table of settings, and the error of values that are not valid."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.settings.types import Type


class SettingsError(ValueError):
    """One or more invalid settings.

    ``problems`` has one line for each invalid variable, and one for each fault of a file that a
    variable names.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(line for problem in problems for line in problem.splitlines())


def problem_of(name: str, error: ValueError) -> str:
    """Return the lines of what is wrong with a variable, each of which begins with its name."""
    return "\n".join(f"{name}: {line}" for line in str(error).splitlines())


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    A ``live`` setting can change while the router runs; any other needs a restart. The variable of
    a setting with ``lower_case`` may also be written so, as other programs read it.
    """

    name: str
    default: str
    help: str
    kind: Type
    secret: bool
    live: bool
    lower_case: bool

    @property
    def spellings(self) -> tuple[str, ...]:
        """The names of the variable; the first that is set counts, as with curl."""
        return (self.name.lower(), self.name) if self.lower_case else (self.name,)

    @property
    def field(self) -> str:
        """The name of the field of ``Settings``."""
        return self.name.lower()

    @property
    def option(self) -> str:
        """The name of the ``twistd autopilot`` option, without the dashes."""
        return self.field.replace("_", "-")

    def parse(self, text: str) -> object:
        """Return the value of `text`.

        :raises ValueError: `text` is not valid.
        """
        return self.kind.parse(text)
