"""The use of one of the operator's own keys by one request, from its plan to its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from autopilot.state.own_keys import with_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autopilot.http.headers import Field
    from autopilot.observability.records import RequestRecord
    from autopilot.routing.key_policy import KeyRules
    from autopilot.routing.router_error import RouterError
    from autopilot.state.budgets import KeyBudgets

_LIMITS: Final = b"x-ratelimit-"


class KeyUse:
    """Counts a request from the moment it exists until `end`, and then what it has used."""

    __slots__ = ("_budgets", "_open", "_rules", "name")

    def __init__(self, budgets: KeyBudgets, rules: KeyRules) -> None:
        self._budgets = budgets
        self._rules = rules
        self._open = True
        self.name = rules.name
        budgets.begin(rules)

    def spend(self, record: RequestRecord) -> None:
        """Count what a request has used, its failed and dropped attempts included, as reported."""
        tokens = cost = 0
        for each in record.charged:
            if each.usage is not None:
                tokens += (each.usage.prompt or 0) + (each.usage.completion or 0)
                cost += each.cost_picodollars or 0
        if tokens or cost:
            self._budgets.spend(self.name, tokens, cost)

    def end(self) -> None:
        """Count the request as ended, once."""
        if self._open:
            self._open = False
            self._budgets.end(self.name)

    def marked(self, fields: Sequence[Field]) -> Sequence[Field]:
        """Return a response's fields with the rest of this key's limits for the upstream's."""
        own = self._budgets.fields(self._rules)
        if not own:
            return fields
        return [each for each in fields if not each[0].lower().startswith(_LIMITS)] + own

    def explained(self, error: RouterError) -> RouterError:
        """Return an error whose response has the rest of this key's limits."""
        return with_fields(error, self._budgets.fields(self._rules))
