"""The text for each placeholder `{{ name }}` in a page of the documentation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from tools.docs import clients, commands, deciding, deployed, records, settings, status, tables

_PLACE: Final = re.compile(r"\{\{ *([a-z_]+) *\}\}")
GENERATED: Final[Mapping[str, Callable[[], str]]] = {
    each.__name__: each
    for each in (
        clients.clients,
        commands.command_help,
        deciding.loads,
        deciding.patience,
        deciding.plans,
        deciding.scores,
        deployed.ingress,
        deployed.nginx_configuration,
        records.outcomes,
        records.record_affinity_whys,
        records.record_fields,
        records.record_lines,
        records.record_whys,
        settings.live_settings,
        settings.settings,
        settings.settings_overview,
        status.private_reasons,
        status.status_words,
        tables.failover_rules,
        tables.failures_without_a_response,
        tables.metrics,
        tables.readiness_codes,
        tables.refusals,
    )
}


class UnknownPlaceError(Exception):
    """A page contains an unknown placeholder."""


def filled(markdown: str) -> str:
    """Return a page with all placeholders replaced."""

    def fill(place: re.Match[str]) -> str:
        if place[1] not in GENERATED:
            raise UnknownPlaceError(place[1])
        return GENERATED[place[1]]()

    return _PLACE.sub(fill, markdown)
