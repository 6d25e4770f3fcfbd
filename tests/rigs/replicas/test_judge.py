"""The judge of the replicas: it complains of what is wrong, and of nothing else."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.replicas.conversations import Turn
from tests.rigs.replicas.judge import Phase, complaints, probes_too_many


def turns(conversation: str, *models: str) -> list[Turn]:
    """Return the turns of a conversation."""
    return [Turn(conversation, number, 0.0, model) for number, model in enumerate(models)]


class JudgeTests(SynchronousTestCase):
    """Complaints about a phase."""

    def test_well(self) -> None:
        """Two conversations that keep their models, however their turns are mixed."""
        one, two = turns("one", "a", "a", "a"), turns("two", "b", "b", "b")
        mixed = [turn for pair in zip(one, two, strict=True) for turn in pair]
        phase = Phase("well", mixed, back=4.9)
        self.assertEqual((phase.same, list(complaints(phase, well=True))), (1.0, []))

    def test_moved(self) -> None:
        """One turn in a hundred may meet another model; the first of a conversation is not one."""
        still = turns("one", *["a"] * 100)
        for last, wrong in (("a", 0), ("b", 0)):
            phase = Phase("well", [*still, Turn("one", 100, 0.0, last)])
            self.assertEqual(len(list(complaints(phase, well=True))), wrong)
        phase = Phase("well", [*still, *turns("two", "a", "b", "a")])
        (said,) = complaints(phase, well=True)
        self.assertIn("98.02%", said)
        self.assertEqual(list(complaints(phase, well=False)), [])

    def test_failed(self) -> None:
        """Each failed turn is named, up to a few; an empty phase proves nothing."""
        failed = [Turn("one", number, 0.0, "a", failed="502") for number in range(7)]
        said = list(complaints(Phase("full", failed), well=False))
        self.assertEqual(len(said), 6)
        self.assertIn("turn 0 of one failed: 502", said[0])
        self.assertIn("7 turns failed", said[-1])
        self.assertEqual(
            list(complaints(Phase("full", []), well=False)), ["full: nothing was asked"]
        )

    def test_back_late(self) -> None:
        """Sharing must be back within five seconds."""
        (said,) = complaints(Phase("killed", turns("one", "a"), back=5.1), well=False)
        self.assertIn("only after 5.1 s", said)

    def test_probes(self) -> None:
        """Two probes within the cooldown are one too many, but for a small difference of clocks."""
        self.assertEqual(probes_too_many([0.0, 4.0, 7.9], 4.0, slack=0.1), [])
        self.assertEqual(probes_too_many([0.0, 4.0, 4.1, 8.1], 4.0, slack=0.1), [4.1])
