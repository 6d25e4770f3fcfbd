"""Generator of ``.env.example`` from the settings table.

``python -m tools.env_example > .env.example`` updates the file.
"""

from __future__ import annotations

from textwrap import wrap

from autopilot.settings import DECLARED, Setting

_HEAD = """\
# Settings of chutes-autopilot. Copy this file to .env, and remove the '#' from what you set.
# The environment overrides this file, and an option of `twistd autopilot` overrides both.
# On SIGHUP a running router reads this file again and applies the settings marked as live.
"""


def entry(setting: Setting) -> str:
    """Return the lines of one setting: its meaning, then its default, commented out."""
    live = "; live" if setting.live else ""
    about = wrap(f"{setting.help} ({setting.kind.expected}{live})", 98, break_long_words=False)
    comment = "".join(f"# {line}\n" for line in about)
    return f"{comment}#{setting.name}={setting.default}\n"


def env_example() -> str:
    """Return the text of the whole file."""
    return "\n".join((_HEAD, *map(entry, DECLARED)))


if __name__ == "__main__":
    print(env_example(), end="")
