"""Hooks for pytest: marks, and checks that tests leave nothing on the real reactor.

Trial checks this for its own test cases, but pytest-twisted does not for its functions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from unittest import TestCase

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase as AsynchronousTestCase
from zope.interface import provider

_GRACE = 3.0


def _is_trial_test(request: pytest.FixtureRequest) -> bool:
    """Return whether trial could run the test as well."""
    return request.cls is not None and issubclass(request.cls, TestCase)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the items, and put those first that run the reactor, because it keeps running."""
    for item in items:
        for name in _marks(item):
            item.add_marker(name)
    items.sort(key=lambda item: not _turns_the_reactor(item))


def _marks(item: pytest.Item) -> Iterator[str]:
    """Yield the ``MARKS`` of the item's module and of the packages around it."""
    module = item.getparent(pytest.Module)
    parts = module.obj.__name__.split(".") if module is not None else []
    for depth in range(1, len(parts) + 1):
        yield from getattr(sys.modules.get(".".join(parts[:depth])), "MARKS", ())


def _turns_the_reactor(item: pytest.Item) -> bool:
    cls = getattr(item, "cls", None)
    return cls is not None and issubclass(cls, AsynchronousTestCase)


@pytest.fixture(scope="session")
def _scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create the directory for all files that ``TestCase.mktemp`` names."""
    return tmp_path_factory.mktemp("trial")


@pytest.fixture(autouse=True)
def _works_elsewhere(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _scratch: Path
) -> None:
    """Run test cases in a scratch directory, because ``mktemp`` paths are relative."""
    if _is_trial_test(request):
        monkeypatch.chdir(_scratch)


@pytest.fixture
def logged_failures() -> Iterator[list[Failure]]:
    """Return the failures logged so far in this test; a test that expects some clears the list."""
    failures: list[Failure] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure")
        if isinstance(failure, Failure):
            failures.append(failure)

    globalLogPublisher.addObserver(observe)
    yield failures
    globalLogPublisher.removeObserver(observe)


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a reactor test that leaves a timer, a socket or a logged failure behind."""
    if _is_trial_test(request):
        yield
        return
    failures: list[Failure] = request.getfixturevalue("logged_failures")
    before = _watched()
    yield
    left = _left_after_grace(before)
    assert not left, f"left on the reactor: {left}"
    assert not failures, "logged: " + "\n".join(each.getTraceback() for each in failures)


def _watched() -> set[object]:
    """Return the timers and descriptors of the reactor, except those of its waker."""
    from twisted.internet import reactor

    held = {*reactor.getDelayedCalls(), *reactor.getReaders(), *reactor.getWriters()}
    return {each for each in held if "Waker" not in type(each).__name__}


def _left_after_grace(before: set[object]) -> list[str]:
    """Return what the test has left; closing sockets get a few turns of the reactor."""
    from twisted.internet import reactor

    until = monotonic() + _GRACE
    while (left := _watched() - before) and monotonic() < until:
        pytest_twisted.blockon(deferLater(reactor, 0.01))
    return sorted(repr(each) for each in left)
