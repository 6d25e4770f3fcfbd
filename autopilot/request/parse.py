"""From a client's request to its plan: what depends on the request and on the settings alone.

The gateway goes this way for every request, and whoever wants to know what it would do goes it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from autopilot.http.fields import Named, says_true, text
from autopilot.relay.config import too_large
from autopilot.request import body as request_body
from autopilot.request.body import ParsedBody
from autopilot.routing.commit import Commit
from autopilot.routing.plan import Plan, RoutingState, Rules, plan
from autopilot.routing.requirements import NOTHING, Needs
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import Mode, Selector, parse_selector

if TYPE_CHECKING:
    from autopilot.relay.config import Admission
    from autopilot.routing.snapshot import Snapshot


class ParsedRequest(Struct, frozen=True, gc=False):
    """A request, read: what is asked for, of whom, and how."""

    ask: ParsedBody
    selector: Selector
    commit: Commit
    tee_only: bool

    def __repr__(self) -> str:
        return f"Reading({self.selector.mode!r}, {self.commit!r})"

    def needs(self, snapshot: Snapshot) -> Needs:
        """What the request needs of a model, where the router chooses it."""
        if self.selector.mode is not Mode.ALIAS:
            return NOTHING
        return self.ask.needs(snapshot.roster.least_context)

    def plan(self, snapshot: Snapshot, rules: Rules, recall: RoutingState) -> Plan | RouterError:
        """The candidates, or why there are none."""
        return plan(self.selector, self.needs(snapshot), self.tee_only, snapshot, rules, recall)


def read(named: Named, body: bytes, admission: Admission) -> ParsedRequest | RouterError:
    """Read the header fields and the body of a request, or say what is wrong with it."""
    if len(body) > admission.max_body:
        return too_large(admission.max_body)
    encodings = named.get(b"content-encoding", ())
    if any(value.strip().lower() not in (b"", b"identity") for value in encodings):
        return RouterError(
            415,
            "unsupported_content_encoding",
            "Compressed request bodies are not supported; send the body as it is.",
        )
    commit = _commit(named, admission.commit)
    if isinstance(commit, RouterError):
        return commit
    ask = request_body.read(body)
    if isinstance(ask, RouterError):
        return ask
    rules = admission.rules
    selector = parse_selector(ask.model, rules.aliases, rules.max_list_items)
    if isinstance(selector, RouterError):
        return selector
    return ParsedRequest(ask, selector, commit, says_true(named, b"x-tee-only"))


def _commit(named: Named, default: Commit) -> Commit | RouterError:
    asked = text(named, b"x-autopilot-commit").lower()
    if not asked:
        return default
    try:
        return Commit(asked)
    except ValueError:
        return RouterError(
            400,
            "invalid_commit",
            "The header X-Autopilot-Commit must be byte, content or complete.",
        )
