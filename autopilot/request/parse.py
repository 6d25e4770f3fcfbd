"""Parser of client requests, which depends only on the request and on the settings.

The proxy and `autopilot explain` both use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, structs

from autopilot.http.error_bodies import too_large
from autopilot.http.head_gate import (
    JUDGED,
    affinity_off,
    coding_error,
    commit_point,
    keep_alive,
)
from autopilot.http.headers import Named, says_true
from autopilot.http.key_gate import HOTKEY, is_signed
from autopilot.http.private_gate import SIGNED, private_asked
from autopilot.request.body import ParsedBody, as_signed, parse_body
from autopilot.request.private_body import sealable
from autopilot.request.usage_option import ask_for_usage
from autopilot.routing.catalog import EMPTY
from autopilot.routing.commit import Commit
from autopilot.routing.plan import Plan, Rules, plan, settle
from autopilot.routing.private_mode import ALWAYS, OFF, PRIVATE_IS_OFF, PrivateMode
from autopilot.routing.private_plan import private_plan
from autopilot.routing.private_standing import NOTHING_KNOWN, PrivateStanding
from autopilot.routing.requirements import NOTHING, Needs
from autopilot.routing.router_error import RouterError
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import (
    ALIAS,
    DIRECT,
    MISSING_MODEL,
    ROUTE,
    Selector,
    SelectorCache,
    missing_model,
)

if TYPE_CHECKING:
    from autopilot.routing.snapshot import Snapshot


_ENABLE_THINKING = b"x-enable-thinking"
_SIGNED = RouterError(
    400,
    "signed_request",
    "The request's signature covers its body, and the router would have to change it. Name one"
    " model in one member 'model', exactly as the catalog spells it, or send an API key instead of"
    " the signature.",
    param="model",
)


class ParseConfig(Struct, frozen=True, eq=False):
    """The settings for the parsing of requests. ``max_body`` is in bytes.

    ``keep_alive`` is the silence in seconds after which a stream begins before its answer; 0: none.
    """

    rules: Rules
    commit: Commit
    max_body: int
    selectors: SelectorCache
    private: PrivateMode = OFF
    keep_alive: float = 0.0

    @classmethod
    def of(
        cls,
        rules: Rules,
        commit: Commit,
        max_body: int,
        private: PrivateMode = OFF,
        keep_alive: float = 0.0,
    ) -> ParseConfig:
        """Return a configuration with an empty cache of selectors."""
        routes = {name: route.chooses for name, route in rules.routes.items()}
        selectors = SelectorCache(
            rules.aliases,
            rules.max_list_items,
            rules.patterns,
            routes,
            frozenset(name for name, route in rules.routes.items() if route.private),
        )
        return cls(rules, commit, max_body, selectors, private, keep_alive)


class ParsedRequest(Struct, frozen=True, gc=False):
    """A parsed request: its body, its choice of models, its commit point, and whether TEE only."""

    body: ParsedBody
    selector: Selector
    commit: Commit
    tee_only: bool
    signed: bool = False
    """Whether a signature covers the body, so that no byte of it may change (contract §2)."""
    sticky: bool = True
    """Whether the conversation may stay with the model that it had, and be remembered."""
    private: bool = False
    """Whether it may go to instances only whose keys are verified, and encrypted to these."""
    keep_alive: float = 0.0
    """The silence in seconds that is to be bridged if it asks for a stream; 0: none."""

    def __repr__(self) -> str:
        return f"ParsedRequest({self.selector.mode!r}, {self.commit!r})"

    def asking_for_usage(self) -> ParsedRequest:
        """Return the request, which asks for usage too if it is a stream that may be changed.

        A private one is not changed: the instance adds usage itself.
        """
        if not self.body.stream or self.signed or self.private:
            return self
        return structs.replace(self, body=ask_for_usage(self.body))

    def settled(self, snapshot: Snapshot, rules: Rules) -> ParsedRequest:
        """Return the request with the alias for a name that is left to the router's choice."""
        selector = settle(self.selector, snapshot.catalog or EMPTY, rules)
        return self if selector is self.selector else structs.replace(self, selector=selector)

    def needs(self, snapshot: Snapshot) -> Needs:
        """Return the capabilities that the request needs, if the router chooses the model."""
        selector = self.selector
        if selector.mode is not ALIAS and not selector.alias_last and not selector.chooses:
            return NOTHING
        return self.body.needs(snapshot.eligible.least_context)

    def plan(
        self,
        snapshot: Snapshot,
        rules: Rules,
        state: RoutingState,
        standing: PrivateStanding = NOTHING_KNOWN,
    ) -> Plan | RouterError:
        """Return the plan with its candidates, or the error if there are none.

        ``standing`` is what is known of models in private mode.
        """
        selector, needs = self.selector, NOTHING
        if selector.mode is ALIAS or selector.alias_last or selector.chooses:
            needs = self.body.needs(snapshot.eligible.least_context)
        if self.private:
            return private_plan(selector, needs, snapshot, rules, state, standing)
        planned = plan(selector, needs, self.tee_only, snapshot, rules, state)
        if self.signed and isinstance(planned, Plan):
            candidate = planned.candidates[0]
            # The catalog spells the name otherwise, there are blanks around it, or any of several
            # models may get the request.
            if (
                selector.mode is not DIRECT
                or (candidate.sent or candidate.model) != self.body.model
            ):
                return _SIGNED
        return planned


def _wished(named: Named, silence: float) -> tuple[Commit | None, bool, bool, float] | RouterError:
    """Return the commit point, if the client chose one, and what else the header fields ask for.

    That is whether the conversation may stick to a model, whether the request is private, and the
    silence to be bridged, which is otherwise ``silence``.
    """
    chosen = commit_point(named)
    if isinstance(chosen, RouterError):
        return chosen
    off = affinity_off(named)
    if isinstance(off, RouterError):
        return off
    private = private_asked(named)
    if isinstance(private, RouterError):
        return private
    asked = keep_alive(named)
    if isinstance(asked, RouterError):
        return asked
    silence = silence if asked is None else asked
    return coding_error(named) or (chosen, not off, private, silence)


def parse_request(named: Named, body: bytes, config: ParseConfig) -> ParsedRequest | RouterError:
    """Parse the header fields and the body of a request, or return the error.

    The channels have asked the gate about the fields already; `autopilot explain` has not.
    """
    wish, sticky, private, silence = None, True, False, config.keep_alive
    if not JUDGED.isdisjoint(named):
        wished = _wished(named, silence)
        if isinstance(wished, RouterError):
            return wished
        wish, sticky, private, silence = wished
    if len(body) > config.max_body:
        return too_large(config.max_body)
    parsed = parse_body(body)
    if isinstance(parsed, RouterError):
        return missing_model(config.rules.aliases) if parsed is MISSING_MODEL else parsed
    # The first look-up costs a quarter of the second, which also parses a selector that is new.
    selector = config.selectors.get(parsed.model) or config.selectors[parsed.model]
    if isinstance(selector, RouterError):
        return selector
    commit = wish or config.commit
    if selector.mode is ROUTE and wish is None:
        commit = config.rules.routes[selector.names[0]].commit or commit
    if private or selector.private or config.private is ALWAYS:
        unsealed = ParsedRequest(parsed, selector, commit, True, False, sticky, True)
        return _private(named, body, unsealed, config.private)
    tee_only = b"x-tee-only" in named and says_true(named, b"x-tee-only")
    if HOTKEY in named and is_signed(named):
        unchanged = as_signed(parsed, body) if selector.mode is DIRECT else None
        if unchanged is None:
            return _SIGNED
        return ParsedRequest(unchanged, selector, commit, tee_only, True, sticky, False, silence)
    return ParsedRequest(parsed, selector, commit, tee_only, False, sticky, False, silence)


def _private(
    named: Named, body: bytes, unsealed: ParsedRequest, mode: PrivateMode
) -> ParsedRequest | RouterError:
    """Return a private request with a body that can be sealed, or the error; never a plain one."""
    if mode is OFF:
        return PRIVATE_IS_OFF
    if HOTKEY in named and is_signed(named):
        return SIGNED
    thinking = _ENABLE_THINKING in named and says_true(named, _ENABLE_THINKING)
    parsed = sealable(unsealed.body, body, thinking=thinking)
    if isinstance(parsed, RouterError):
        return parsed
    return structs.replace(unsealed, body=parsed)
