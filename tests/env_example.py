"""Writes ``.env.example`` from the settings table.

``python -m tests.env_example > .env.example`` brings the file up to date.
"""

from __future__ import annotations

from textwrap import wrap

from autopilot.settings import DECLARED, Setting

_HEAD = """\
# Settings of chutes-autopilot. Copy to .env and take the '#' away where you set something.
# The environment wins over this file, and an option of `twistd autopilot` over both.
# On SIGHUP a running router reads this file again, and goes by the settings marked as live.
"""


def entry(setting: Setting) -> str:
    """The lines about one setting: what it means, then its default, commented out."""
    live = "; live" if setting.live else ""
    about = wrap(f"{setting.help} ({setting.kind.expected}{live})", 98, break_long_words=False)
    comment = "".join(f"# {line}\n" for line in about)
    return f"{comment}#{setting.name}={setting.default}\n"


def env_example() -> str:
    """The whole file."""
    return "\n".join((_HEAD, *map(entry, DECLARED)))


if __name__ == "__main__":
    print(env_example(), end="")
