"""The number of examples of the state machines: few and fixed, or as many as requested.

``MACHINE_EXAMPLES=20000`` in the environment runs that many examples, different each time.
"""

from __future__ import annotations

import os

from hypothesis import Phase, settings

_WANTED = os.environ.get("MACHINE_EXAMPLES", "")


def bounds(examples: int, steps: int) -> settings:
    """Return the settings of one machine; ``examples`` applies to the short run."""
    if not _WANTED:
        return settings(max_examples=examples, stateful_step_count=steps)
    return settings(
        max_examples=int(_WANTED),
        stateful_step_count=steps,
        derandomize=False,
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    )
