"""Access to the platform for sub-commands: its settings, a verifying agent, its catalog."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dotenv import dotenv_values
from twisted.web.iweb import IAgent

from autopilot.cli.console import CommandError
from autopilot.feeds.parsers import parse_catalog
from autopilot.http.fetch import Fetcher
from autopilot.http.fetch_error import FetchError
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.names import catalog_name
from autopilot.routing.selector import Mode
from autopilot.routing.suggest import unknown_model
from autopilot.settings import Settings, SettingsError, load_settings, only
from autopilot.upstream.endpoints import VerifiedEndpoints, trust_root
from autopilot.wiring import mapping
from autopilot.wiring.agent import PlatformAgent

_ENV_FILE: Final = ".env"
OF_PLATFORM: Final = (
    "API_BASE_URL",
    "MODELS_URL",
    "UPSTREAM_CA_FILE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "CONTROL_PLANE_TIMEOUT_MS",
)
"""The settings that every request to the platform needs."""


def add_env_file_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the file of settings, as the router itself has it."""
    parser.add_argument(
        "--env-file",
        metavar="FILE",
        help=f"read the settings from this file instead of {_ENV_FILE}; it must exist",
    )


def platform_settings(
    options: Mapping[str, str | None], *also: str, path: str | None = None
) -> Settings:
    """Load the settings `OF_PLATFORM` and those named in ``also``.

    Option > environment > file > default; ``path`` is that of ``--env-file``. The other settings
    are not read, so that an invalid one does not stop a sub-command that does not use it. Raises
    `CommandError`.
    """
    in_file = env_file(path)
    names = (*OF_PLATFORM, *also)
    try:
        return load_settings(options, only(os.environ, names), only(in_file, names))
    except SettingsError as wrong:
        raise CommandError("; ".join(wrong.problems)) from None


def env_file(path: str | None = None) -> Mapping[str, str | None]:
    """Return the variables of a file that must exist, else of ``.env`` if there is one.

    Raises `CommandError`.
    """
    # The library would read a missing file or a directory as an empty one.
    if path is not None and not os.path.exists(path):
        raise CommandError(f"--env-file: {path!a} does not exist")
    if path is not None and os.path.isdir(path):
        raise CommandError(f"--env-file: {path!a} is a directory")
    name = _ENV_FILE if path is None else path
    try:
        return dotenv_values(name, interpolate=False, encoding="utf-8")
    except (OSError, ValueError):
        raise CommandError(f"{name} cannot be read") from None


def verified_agent(reactor: Any, settings: Settings) -> IAgent:
    """Return the agent of the router's own feeds: its verification and its proxies.

    Raises `CommandError`.
    """
    ca_file = settings.upstream_ca_file
    try:
        trust = trust_root(Path(ca_file) if ca_file else None)
    except (OSError, ValueError):
        raise CommandError("UPSTREAM_CA_FILE: the file contains no valid certificate") from None
    endpoints = VerifiedEndpoints(reactor, trust)
    return PlatformAgent(reactor, endpoints, mapping.proxies(settings))


async def catalog_entry(agent: IAgent, reactor: Any, settings: Settings, name: str) -> Model:
    """Fetch the catalog and return its entry for ``name``. Raises `CommandError`."""
    fetcher = Fetcher(agent, reactor, settings.control_plane_timeout_ms / 1000)
    try:
        known = Catalog.of(parse_catalog(await fetcher.get(settings.models_url)).models)
    except FetchError as error:
        raise CommandError(f"the catalog could not be fetched: {error}") from None
    model = known.models.get(catalog_name(name, known))
    if model is None:
        raise CommandError(unknown_model([name], known, frozenset(), Mode.DIRECT).message)
    return model
