"""Valid settings that together defeat a purpose of the router, for the log and the checks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from autopilot.settings.certificates import is_readable_by_all
from autopilot.settings.files.fallbacks import FallbacksFile
from autopilot.settings.files.keys import KeysFile
from autopilot.settings.files.platform_keys import PlatformKeysFile
from autopilot.settings.files.routes import RoutesFile
from autopilot.settings.network import is_loopback
from autopilot.settings.proxies import has_effect
from autopilot.settings.schema import DECLARED, Settings
from autopilot.settings.types import AUTO, quoted

_SIMILARITY = 0.85
"""`difflib` ratio above which an unknown name in ``.env`` is probably a misspelt setting."""


def settings_warnings(settings: Settings) -> tuple[str, ...]:
    """Return one line for each, with the settings' names and values."""
    return (
        *_no_second_attempt(settings),
        *_no_room_for_a_body(settings),
        *_without_effect(settings),
        *_no_name_to_ask_for(settings),
        *_readable_key(settings),
        *_readable_pool(settings),
        *_readable_fallback_keys(settings),
        *_forgotten_budgets(settings),
        *_unknown_routes(settings),
        *_readable_prompts(settings),
    )


def _readable_pool(settings: Settings) -> Iterator[str]:
    """Yield the file of the platform's keys if every user of this host can read it."""
    file = settings.chutes_api_keys_file
    if isinstance(file, PlatformKeysFile) and is_readable_by_all(file.path):
        yield (
            f"CHUTES_API_KEYS_FILE: every user of this host can read {quoted(file.path)}; restrict"
            " it with chmod o-r"
        )


def _readable_fallback_keys(settings: Settings) -> Iterator[str]:
    """Yield each file with the key of another service that every user of this host can read."""
    file = settings.fallbacks_file
    if not isinstance(file, FallbacksFile):
        return
    for path in dict.fromkeys(file.key_files):
        if is_readable_by_all(path):
            yield (
                f"FALLBACKS_FILE: every user of this host can read the key in {quoted(path)};"
                " restrict it with chmod o-r"
            )


def _forgotten_budgets(settings: Settings) -> Iterator[str]:
    """Yield where a restart begins the budgets of the keys anew."""
    file = settings.keys_file
    if not isinstance(file, KeysFile) or not file.has_budgets:
        return
    if settings.keys_state_file is None and settings.state_url is None:
        yield (
            "KEYS_FILE has budgets, which begin anew with each restart; set KEYS_STATE_FILE to a"
            " file that keeps what is spent, or STATE_URL"
        )


def _unknown_routes(settings: Settings) -> Iterator[str]:
    """Yield the routes that keys may use and that no file of routes has."""
    file, routes = settings.keys_file, settings.routes_file
    if not isinstance(file, KeysFile):
        return
    names = [each.name.lower() for each in routes.routes] if isinstance(routes, RoutesFile) else []
    for key in file.keys:
        for pattern in key.routes or ():
            if pattern.strip("*") and not any(_matches(pattern, name) for name in names):
                yield (
                    f"KEYS_FILE: keys.{key.name}.routes has {quoted(pattern)}, which ROUTES_FILE"
                    " does not define; correct the name, or add the route"
                )


def _matches(pattern: str, name: str) -> bool:
    """Return whether a name in lower case matches a pattern, in which a star is any text."""
    pieces = map(re.escape, pattern.lower().split("*"))
    return re.fullmatch(".*".join(pieces), name) is not None


def _readable_key(settings: Settings) -> Iterator[str]:
    """Yield the file of the key if every user of this host can read it."""
    path = settings.tls_key_file
    if path is not None and is_readable_by_all(path):
        yield (
            f"TLS_KEY_FILE: every user of this host can read {quoted(path)}; restrict it with"
            " chmod o-r"
        )


def _readable_prompts(settings: Settings) -> Iterator[str]:
    """Yield where prompts that are to be private may come over a network without TLS."""
    if settings.private == "off" or settings.tls_cert_file is not None:
        return
    in_front = settings.trust_proxy_headers and settings.trusted_proxy_cidrs
    if not in_front and not is_loopback(f"http://{settings.listen_addr}"):
        yield (
            f"PRIVATE={settings.private} encrypts from this router on, and"
            f" LISTEN_ADDR={settings.listen_addr} takes prompts from other machines without TLS;"
            " listen on 127.0.0.1, set TLS_CERT_FILE and TLS_KEY_FILE, or name a proxy with TLS in"
            " TRUSTED_PROXY_CIDRS with TRUST_PROXY_HEADERS=true"
        )


def _no_name_to_ask_for(settings: Settings) -> Iterator[str]:
    """Yield where no name is an alias, so that no list of models has one."""
    if all("*" in name for name in settings.aliases):
        yield (
            f"ALIASES={quoted(','.join(settings.aliases))} has patterns only, and GET /v1/models"
            " lists none of them; add a name for the router's choice, such as chutesai/AutoPilot"
        )


def _without_effect(settings: Settings) -> Iterator[str]:
    """Yield the items of NO_PROXY that exempt no server; other programs may understand them."""
    if settings.https_proxy is None and settings.http_proxy is None:
        return
    for item in settings.no_proxy:
        if not has_effect(item):
            yield (
                f"NO_PROXY: {quoted(item)} has no effect; give a host name, a domain, an address,"
                " a CIDR network or *"
            )


def misspelled(names: Iterable[str]) -> tuple[str, ...]:
    """Return one line for each name of a ``.env`` file that resembles a setting's.

    Other unknown names are fine: the file may be shared with other programs.
    """
    known = [name for setting in DECLARED for name in setting.spellings]
    return tuple(
        f"{name} is not a setting; did you mean {near}?"
        for name in names
        if name not in known
        for near in get_close_matches(name.upper(), known, 1, _SIMILARITY)
    )


def _no_room_for_a_body(settings: Settings) -> Iterator[str]:
    """Yield where the longest body that a request may have is always refused."""
    buffered, body = settings.max_buffered_bytes, settings.max_request_bytes
    if buffered < body:
        yield (
            f"MAX_BUFFERED_BYTES={buffered} leaves no room for a body of MAX_REQUEST_BYTES={body};"
            " raise the first or lower the second"
        )
    elif settings.workers != AUTO and buffered < int(settings.workers) * body:
        yield (
            f"MAX_BUFFERED_BYTES={buffered} is less than a body of MAX_REQUEST_BYTES={body} for"
            f" each of WORKERS={settings.workers}, each of which may hold one all the same; raise"
            " the first or lower another"
        )


def _no_second_attempt(settings: Settings) -> Iterator[str]:
    """Yield where a model that does not respond uses up the time or the attempts of its request."""
    if settings.max_attempts == 1:
        yield "MAX_ATTEMPTS=1 leaves no room for a second attempt; raise it to at least 2"
        return
    waits = (
        ("an unreachable model", ("UPSTREAM_CONNECT_TIMEOUT_MS",)),
        (
            "a model that is silent in a stream",
            ("FAILOVER_AFTER_MS", "UPSTREAM_HEADER_TIMEOUT_MS"),
        ),
        (
            "a model that is silent in a plain request",
            ("PLAIN_FAILOVER_AFTER_MS", "UPSTREAM_UNARY_TIMEOUT_MS"),
        ),
    )
    total = settings.total_deadline_ms
    for whom, names in waits:
        # Each of the names ends an attempt, so the shortest counts.
        wait, name = min((getattr(settings, name.lower()), name) for name in names)
        if wait >= total:
            yield (
                f"{name}={wait} leaves no room for a second attempt after {whom}, as"
                f" TOTAL_DEADLINE_MS={total} is not longer; lower {name} or raise TOTAL_DEADLINE_MS"
            )
