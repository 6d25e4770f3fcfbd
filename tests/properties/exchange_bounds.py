"""How long the state machines run: briefly and always alike, or as long as one likes.

``MACHINE_EXAMPLES=20000`` in the environment makes a run of so many examples, different each time.
"""

from __future__ import annotations

import os

from hypothesis import Phase, settings

_WANTED = os.environ.get("MACHINE_EXAMPLES", "")


def bounds(examples: int, steps: int) -> settings:
    """The settings of one machine; ``examples`` is for the brief run."""
    if not _WANTED:
        return settings(max_examples=examples, stateful_step_count=steps)
    return settings(
        max_examples=int(_WANTED),
        stateful_step_count=steps,
        derandomize=False,
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    )
