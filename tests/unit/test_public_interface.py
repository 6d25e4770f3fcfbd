"""The public interface, pinned: what applications that embed the router may rely on.

A test here that fails means that such an application may have to change. Then the expectation
changes together with `docs/embedding.md` and a fragment in `changelog.d`.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any, Final

from msgspec import structs
from twisted.application.service import IService, Service
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource
from zope.interface.verify import verifyObject

import autopilot
from autopilot import AutopilotService, Settings, autopilot_resource
from autopilot.observability.records import RequestRecord
from autopilot.process.systemd.sockets import Sockets
from autopilot.service.lifecycle import use_monotonic_clock
from autopilot.settings import DECLARED, SettingsError
from autopilot.settings.reload import Change
from autopilot.web.site import AutopilotSite
from tests.unit.service.platforms import ServiceTestCase, settings

_PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "embedding.md"
_ARGUMENTS: Final = {
    "settings": ("Settings | None", None),
    "reactor": ("Any", None),
    "listen": ("bool", True),
    "records": ("Callable[[RequestRecord], None] | None", None),
    "passed": ("Sockets | None", None),
    "traces": ("TracerProvider | None", None),
}
_RECORD: Final = {
    "req_id": "str",
    "mode": "str",
    "candidates": "int",
    "model": "str | None",
    "attempts": "int",
    "failovers": "tuple[Failover, ...]",
    "status": "int | None",
    "snapshot_age_ms": "float | None",
    "catalog_age_ms": "float | None",
    "ttfb_ms": "float | None",
    "duration_ms": "float",
    "bytes": "int",
    "outcome": "Outcome",
    "terminated": "bool",
    "endpoint": "str",
    "code": "str | None",
    "reason": "FailureReason | None",
    "stream": "bool | None",
    "why": "Why | None",
    "affinity": "Affinity | None",
    "affinity_why": "AffinityWhy | None",
    "usage": "Usage | None",
    "cost_picodollars": "int | None",
    "key": "str | None",
    "private": "bool",
    "instance": "str | None",
    "waited_ms": "float | None",
    "backend": "str | None",
    "hedged": "str | None",
    "dropped": "DroppedCall | None",
}
_ATTRIBUTES: Final = (
    "followers",
    "operators_resource",
    "ports",
    "resource",
    "settings",
    "stopping",
)


def _signature(function: Any) -> dict[str, str]:
    """Return the annotation of each parameter but ``self``, and that of the result."""
    signature = inspect.signature(function)
    found = {name: each.annotation for name, each in signature.parameters.items()}
    found.pop("self", None)
    return {**found, "return": signature.return_annotation}


class PackageTests(SynchronousTestCase):
    """The package itself."""

    def test_names(self) -> None:
        """It exports four names."""
        names = ["AutopilotService", "Settings", "__version__", "autopilot_resource"]
        self.assertEqual(sorted(autopilot.__all__), names)

    def test_documented(self) -> None:
        """The page names whatever is pinned here."""
        page = _PAGE.read_text("utf-8")
        interface = page.partition("\n## The public interface\n")[2]
        names = {*_ARGUMENTS, *_RECORD, *_ATTRIBUTES, "name", "reload", "end_drain"}
        names |= {each.name for each in dataclasses.fields(Change)}
        names |= {each.name for each in dataclasses.fields(Sockets)}
        names |= {f"autopilot.{name}" for name in autopilot.__all__} | {"autopilot.Settings.load"}
        for module, name in (
            ("autopilot.observability.records", "RequestRecord"),
            ("autopilot.process.systemd.sockets", "Sockets"),
            ("autopilot.service.lifecycle", "use_monotonic_clock"),
            ("autopilot.settings", "SettingsError"),
            ("autopilot.settings.reload", "Change"),
            ("autopilot.web.site", "AutopilotSite"),
        ):
            names.add(f"{module}.{name}")
        for name in names:
            self.assertTrue(re.search(rf"`{re.escape(name)}\b", interface), name)


class ServiceTests(ServiceTestCase):
    """`AutopilotService` and what it hands out."""

    def test_arguments(self) -> None:
        """Only the settings may be given by position."""
        parameters = dict(inspect.signature(AutopilotService).parameters)
        self.assertEqual(
            {name: (each.annotation, each.default) for name, each in parameters.items()},
            _ARGUMENTS,
        )
        by_position = parameters.pop("settings")
        self.assertIs(by_position.kind, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for each in parameters.values():
            self.assertIs(each.kind, inspect.Parameter.KEYWORD_ONLY)

    def test_attributes(self) -> None:
        """It is a Twisted service with a name, and has no further public attributes."""
        service = AutopilotService(settings(), reactor=self.reactor, listen=False)
        verifyObject(IService, service)
        self.assertEqual(service.name, "autopilot")
        inherited = {*dir(Service), "parent"}
        public = {name for name in dir(service) if not name.startswith("_")} - inherited
        self.assertEqual(public, {*_ATTRIBUTES, "reload", "end_drain", "own_process"})
        self.assertEqual((service.followers, service.ports, service.stopping), ([], [], False))
        self.assertIsInstance(service.settings, Settings)

    def test_resource(self) -> None:
        """The resource is one of Twisted's."""
        self.assertEqual(
            _signature(autopilot_resource), {"service": "AutopilotService", "return": "IResource"}
        )
        service = AutopilotService(settings(), reactor=self.reactor, listen=False)
        verifyObject(IResource, autopilot_resource(service))
        self.assertIs(autopilot_resource(service), service.resource)
        verifyObject(IResource, service.operators_resource)
        self.assertIs(service.operators_resource, service.operators_resource)

    def test_reload(self) -> None:
        """Reloading takes settings, hands them to the followers, and returns what changed."""
        self.assertEqual(
            _signature(AutopilotService.reload), {"settings": "Settings", "return": "Change"}
        )
        service = AutopilotService(settings(), reactor=self.reactor, listen=False)
        followed: list[Settings] = []
        service.followers.append(followed.append)
        changed = service.reload(dataclasses.replace(service.settings, max_attempts=2))
        self.assertEqual(followed, [service.settings])
        self.assertEqual(
            changed, Change(settings=service.settings, changed=("MAX_ATTEMPTS",), waiting=())
        )

    def test_clock(self) -> None:
        """The clock is made monotonic on the reactor given, by default the global one."""
        self.assertEqual(_signature(use_monotonic_clock), {"reactor": "Any", "return": "None"})

    def test_site(self) -> None:
        """The site takes a resource and a reactor before anything else."""
        parameters = list(inspect.signature(AutopilotSite).parameters)
        self.assertEqual(parameters, ["resource", "reactor", "limits", "refused"])


class ValueTests(SynchronousTestCase):
    """The values that are handed over."""

    def test_record(self) -> None:
        """A record is frozen, and its fields have these names, types and order."""
        fields = {
            each.name: RequestRecord.__annotations__[each.name]
            for each in structs.fields(RequestRecord)
        }
        self.assertEqual(list(fields.items()), list(_RECORD.items()))
        self.assertTrue(RequestRecord.__struct_config__.frozen)

    def test_settings(self) -> None:
        """Settings are frozen: a field for each setting, in lower case, all with defaults."""
        fields = dataclasses.fields(Settings)
        self.assertEqual([each.name for each in fields], [each.name.lower() for each in DECLARED])
        self.assertRaises(dataclasses.FrozenInstanceError, setattr, Settings(), "commit", "byte")

    def test_load(self) -> None:
        """Settings are loaded from options, environment and file."""
        parameters = inspect.signature(Settings.load).parameters
        self.assertEqual(list(parameters), ["options", "environ", "env_file"])
        self.assertTrue(all(each.default is None for each in parameters.values()))
        for name in ("environ", "env_file"):
            self.assertIs(parameters[name].kind, inspect.Parameter.KEYWORD_ONLY)

    def test_settings_error(self) -> None:
        """Refused settings are a `ValueError` with one line for each problem."""
        error = self.assertRaises(SettingsError, Settings, max_attempts=0, commit="half")
        self.assertIsInstance(error, ValueError)
        self.assertEqual(len(error.problems), 2)

    def test_change(self) -> None:
        """What a reload came to, with the names of settings as in the environment."""
        self.assertEqual(
            [each.name for each in dataclasses.fields(Change)], ["settings", "changed", "waiting"]
        )

    def test_sockets(self) -> None:
        """Sockets handed over are numbers of descriptors."""
        self.assertEqual(Sockets(), Sockets(api=(), admin=()))
