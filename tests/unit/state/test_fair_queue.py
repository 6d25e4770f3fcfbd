"""Tests of the queue in which conversations take turns."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.fair_queue import FairQueue


class FairQueueTests(SynchronousTestCase):
    """The order in which waiters leave."""

    def test_turns(self) -> None:
        """Conversations alternate; within one the order is that of arrival."""
        queue: FairQueue[str] = FairQueue()
        for waiter in ("a1", "a2", "a3", "b1", "c1", "b2"):
            queue.add(waiter[:1].encode(), waiter)
        self.assertEqual((len(queue), queue.conversations), (6, 3))
        self.assertEqual([queue.pop() for _ in range(6)], ["a1", "b1", "c1", "a2", "b2", "a3"])
        self.assertEqual((len(queue), queue.conversations), (0, 0))

    def test_flood(self) -> None:
        """Behind a flood of one conversation, another one's first request is the next or second."""
        queue: FairQueue[int] = FairQueue()
        for number in range(1000):
            queue.add(b"flood", number)
        queue.pop()
        queue.add(b"user", -1)
        self.assertIn(-1, (queue.pop(), queue.pop()))

    def test_gives_up(self) -> None:
        """A waiter that is removed leaves nothing behind."""
        queue: FairQueue[str] = FairQueue()
        queue.add(b"a", "a1")
        queue.add(b"b", "b1")
        queue.remove(b"a", "a1")
        self.assertEqual((len(queue), queue.conversations, queue.pop()), (1, 1, "b1"))

    def test_next_turns(self) -> None:
        """The next turns are those that `pop` takes."""
        queue: FairQueue[str] = FairQueue()
        for waiter in ("a1", "a2", "a3", "b1", "c1", "b2"):
            queue.add(waiter[:1].encode(), waiter)
        self.assertEqual(queue.turns(9), [b"a", b"b", b"c", b"a", b"b", b"a"])
        self.assertEqual(queue.turns(4), [b"a", b"b", b"c", b"a"])
        self.assertEqual(FairQueue[str]().turns(4), [])

    def test_prefer(self) -> None:
        """A conversation may be given a turn; one that waits for nothing is given none."""
        queue: FairQueue[str] = FairQueue()
        for waiter in ("a1", "b1", "c1"):
            queue.add(waiter[:1].encode(), waiter)
        queue.prefer(b"c")
        queue.prefer(b"d")
        self.assertEqual([queue.pop() for _ in range(3)], ["c1", "a1", "b1"])

    @given(st.lists(st.tuples(st.sampled_from("apr"), st.sampled_from((b"x", b"y", b"z")))))
    def test_model(self, steps: list[tuple[str, bytes]]) -> None:
        """It behaves as a plain list of queues in rotation."""
        queue: FairQueue[int] = FairQueue()
        model: list[tuple[bytes, deque[int]]] = []
        for number, (step, name) in enumerate(steps):
            waiting = next((each for known, each in model if known == name), None)
            if step == "a":
                queue.add(name, number)
                if waiting is None:
                    model.append((name, deque([number])))
                else:
                    waiting.append(number)
            elif step == "p" and model:
                first, its = model.pop(0)
                self.assertEqual(queue.pop(), its.popleft())
                if its:
                    model.append((first, its))
            elif step == "r" and waiting is not None:
                queue.remove(name, waiting.pop())
                model = [(known, each) for known, each in model if each]
            self.assertEqual(len(queue), sum(len(each) for _, each in model))
            self.assertEqual(queue.conversations, len(model))
