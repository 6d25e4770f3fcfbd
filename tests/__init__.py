"""The tests, laid out like the source. Importing them chooses Hypothesis' profile.

The profile stands here because both test runners import this package, and only one reads conftest.
Examples are derived from the test itself, so that a run is repeatable, and have no deadline, since
a busy machine is not a defect.
"""

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("ci")
