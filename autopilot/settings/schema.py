"""Every setting of the router, declared once: name, default, meaning, limits.

``Settings`` is both the table and the value: a frozen object whose fields are the validated
settings, in Python's types, under the environment variables' names in lower case. ``--help``,
``.env.example`` and the tests are made from ``DECLARED``, which is the same table as rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from autopilot.settings.network import Listen, Network, Networks, Origins, Url
from autopilot.settings.types import (
    Boolean,
    Choice,
    ExtraSwitch,
    Fraction,
    Integer,
    Key,
    Names,
    ReadableFile,
    Type,
)

_DAY_MS = 86_400_000
_GIB = 1 << 30


class SettingsError(ValueError):
    """Settings were refused; ``problems`` holds one line for each bad variable."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table: what ``twistd autopilot --help`` and ``.env.example`` say of it.

    A ``live`` setting can change while the router runs; any other one needs a restart.
    """

    name: str
    default: str
    help: str
    kind: Type
    secret: bool
    live: bool

    @property
    def field(self) -> str:
        """The attribute of ``Settings``."""
        return self.name.lower()

    @property
    def option(self) -> str:
        """The option of ``twistd autopilot``, without its dashes."""
        return self.field.replace("_", "-")

    def parse(self, text: str) -> object:
        """The value that `text` stands for, or ``ValueError``."""
        return self.kind.parse(text)


def _setting(
    default: str,
    kind: Type,
    help: str,
    *,
    empty: object = None,
    secret: bool = False,
    live: bool = False,
) -> Any:
    """Declare a field of ``Settings``; an empty `default` text stands for the value `empty`."""
    return dataclasses.field(
        default=kind.parse(default) if default else empty,
        repr=not secret,
        metadata={
            "default": default,
            "kind": kind,
            "help": help,
            "secret": secret,
            "live": live,
        },
    )


def _ms(default: int, help: str, low: int = 1, *, live: bool = False) -> Any:
    """Declare a duration in milliseconds, of at most a day."""
    return _setting(str(default), Integer(low, _DAY_MS, "ms"), help, live=live)


def _count(
    default: int, low: int, high: int, help: str, unit: str = "", *, live: bool = False
) -> Any:
    """Declare a whole number."""
    return _setting(str(default), Integer(low, high, unit), help, live=live)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective settings. Raises ``SettingsError`` when a given value is of the wrong type,
    out of its range or contradicts another."""

    listen_addr: str = _setting(
        "0.0.0.0:8080",
        Listen(),
        "Address of the API. Sockets that systemd passes (LISTEN_FDS) take its place.",
    )
    admin_listen_addr: str | None = _setting(
        "",
        Listen(required=False),
        "Second address: when set, /metrics and /status are served there and no longer on the"
        " first. A socket that systemd passes under the name admin does the same.",
    )
    backend_base_url: str = _setting(
        "https://llm.chutes.ai",
        Url(base=True),
        "Where /v1/chat/completions and /v1/completions go; the path is appended.",
    )
    messages_base_url: str = _setting(
        "https://claude.chutes.ai", Url(base=True), "Where /v1/messages goes; the path is appended."
    )
    responses_base_url: str = _setting(
        "https://responses.chutes.ai",
        Url(base=True),
        "Where /v1/responses goes; the path is appended.",
    )
    models_url: str = _setting(
        "https://llm.chutes.ai/v1/models", Url(), "The catalog feed: which models exist."
    )
    models_refresh_ms: int = _ms(300_000, "How often the catalog is fetched.", low=100)
    utilization_url: str = _setting(
        "https://api.chutes.ai/chutes/utilization",
        Url(),
        "The utilization feed: how busy each model is, which decides the ranking.",
    )
    utilization_refresh_ms: int = _ms(15_000, "How often the utilization feed is fetched.", low=100)
    control_plane_timeout_ms: int = _ms(10_000, "How long one fetch of a feed may take.")
    api_base_url: str = _setting(
        "https://api.chutes.ai",
        Url(base=True),
        "The platform's management API, which is asked for the evidence of TEE models.",
    )
    evidence_refresh_ms: int = _ms(
        21_600_000,
        "How often each TEE model is asked for its attestation evidence; 0 turns it off.",
        low=0,
    )
    readyz_max_snapshot_age_ms: int = _ms(
        60_000, "/readyz answers 503 when the utilization data is older than this.", live=True
    )
    readyz_max_allowlist_age_ms: int = _ms(
        900_000, "/readyz answers 503 when the catalog is older than this.", live=True
    )
    aliases: tuple[str, ...] = _setting(
        "chutesai/AutoPilot",
        Names(),
        "Model names that mean: choose the best model for me.",
        live=True,
    )
    unknown_models: Literal["reject", "forward"] = _setting(
        "reject",
        Choice("reject", "forward"),
        "What happens to a model name that is not in the catalog. Forward it if you use private"
        " chutes or chute UUIDs.",
        live=True,
    )
    max_model_list_items: int = _count(
        8, 1, 1000, "How many models a comma-separated preference list may name.", live=True
    )
    require_tee: bool = _setting(
        "false",
        Boolean(),
        "Use only models that the catalog marks as confidential compute.",
        live=True,
    )
    failover_policy: str = _setting(
        "standard",
        Choice("strict", "standard", "open"),
        "Which failures lead to the next model: strict = no connection, time-outs and 503;"
        " standard = also the platform's capacity errors; open = every 429 and 5xx.",
        live=True,
    )
    commit: str = _setting(
        "content",
        Choice("byte", "content", "complete"),
        "How much of a successful answer must have arrived before the client sees any of it:"
        " its first byte, its first content, or all.",
        live=True,
    )
    commit_max_bytes: int = _count(
        8_388_608,
        1,
        _GIB,
        "With COMMIT=complete: an answer longer than this is released.",
        "bytes",
        live=True,
    )
    sse_guard: str = _setting(
        "on",
        Choice("off", "on", "strict"),
        "Report a broken stream as an error event. Off passes the upstream's bytes through as they"
        " are; strict also ends a stream into which a second answer was spliced.",
        live=True,
    )
    max_attempts: int = _count(8, 1, 100, "Upstream attempts for one request, at most.", live=True)
    total_deadline_ms: int = _ms(
        600_000, "Time for all attempts until the answer begins.", live=True
    )
    failover_after_ms: int = _ms(
        12_000,
        "While another model is left, how long one may take to its first content (plus 1 s for"
        " each 8 KB of request).",
        live=True,
    )
    list_retry_ms: int = _ms(
        10_000,
        "How long a fallback of a preference list is kept before its head is tried again.",
        low=0,
        live=True,
    )
    cooldown_failures: int = _count(
        3, 1, 1000, "After so many failures in a row a model stands behind all others.", live=True
    )
    cooldown_ms: int = _ms(
        10_000, "How long it stands there before one request probes it.", low=0, live=True
    )
    upstream_connect_timeout_ms: int = _ms(2_000, "Time to connect to the upstream.", live=True)
    upstream_header_timeout_ms: int = _ms(
        60_000, "Time to the response head when the client asked for a stream.", live=True
    )
    upstream_unary_timeout_ms: int = _ms(
        600_000, "Time to the response head when the client did not ask for a stream.", live=True
    )
    upstream_first_body_byte_timeout_ms: int = _ms(
        60_000, "Time from the response head to the first byte of the body.", live=True
    )
    upstream_idle_timeout_ms: int = _ms(
        120_000, "Longest silence of the upstream within an answer that has begun.", live=True
    )
    error_body_timeout_ms: int = _ms(
        2_000, "How long the router reads an error's body before it decides without.", live=True
    )
    upstream_pool_idle_ms: int = _ms(
        4_000,
        "How long an idle upstream connection is kept; stay below the upstream's keep-alive. 0"
        " means that none is kept.",
        low=0,
    )
    upstream_pool_size: int = _count(
        1024, 0, 100_000, "Idle upstream connections that are kept, at most."
    )
    upstream_ca_file: str | None = _setting(
        "",
        ReadableFile(),
        "PEM file of the certificate authorities to trust upstream, instead of the system's.",
    )
    sticky_ttl_secs: int = _count(
        1800,
        0,
        31_536_000,
        "How long a client's model is remembered; 0 turns it off.",
        "seconds",
        live=True,
    )
    sticky_max_entries: int = _count(
        10_000, 1, 10_000_000, "Clients remembered, at most.", live=True
    )
    sticky_hash_key: bytes | None = _setting(
        "",
        Key(),
        "Secret under which clients are hashed before they are remembered. Random at each start"
        " unless set.",
        secret=True,
    )
    trust_proxy_headers: bool = _setting(
        "false",
        Boolean(),
        "Take the client's address from X-Forwarded-For when a trusted proxy sent it.",
        live=True,
    )
    trusted_proxy_cidrs: tuple[Network, ...] = _setting(
        "", Networks(), "Networks whose X-Forwarded-For is believed.", empty=(), live=True
    )
    max_request_bytes: int = _count(
        33_554_432,
        1,
        _GIB,
        "Longest request body; a longer one is refused with 413.",
        "bytes",
        live=True,
    )
    max_concurrent_requests: int = _count(
        10_000,
        1,
        1_000_000,
        "Requests in progress at once; further ones are refused with 503.",
        live=True,
    )
    client_header_timeout_ms: int = _ms(
        10_000, "Time for a client to send its request's head.", live=True
    )
    client_body_timeout_ms: int = _ms(
        60_000, "Time for a client to send its request's body.", live=True
    )
    cors_allow_origins: tuple[str, ...] = _setting(
        "",
        Origins(),
        "Browser origins whose pages may call the API (CORS); * lets in every one.",
        empty=(),
        live=True,
    )
    drain_delay_ms: int = _ms(
        0, "On shutdown: how long /readyz reports 503 before the port closes.", low=0, live=True
    )
    drain_timeout_ms: int = _ms(
        30_000, "On shutdown: how long answers in progress may go on.", low=0, live=True
    )
    log_level: str = _setting(
        "info",
        Choice("debug", "info", "warn", "error", "critical"),
        "Least level that is logged.",
        live=True,
    )
    log_format: str = _setting(
        "text", Choice("text", "json"), "Lines for people, or one JSON object per line.", live=True
    )
    log_sample: float = _setting(
        "1.0",
        Fraction(),
        "Part of the successful requests that is logged; failures always are.",
        live=True,
    )
    otel_traces: bool = _setting(
        "false",
        ExtraSwitch("otel", "opentelemetry-exporter-otlp-proto-http"),
        "Export traces by OTLP, as the OTEL_* variables of the environment say (extra otel).",
    )

    def __post_init__(self) -> None:
        """Validate every field and bring it into its canonical form."""
        problems: dict[str, str] = {}
        for setting in DECLARED:
            try:
                value = setting.kind.check(getattr(self, setting.field))
            except ValueError as wrong:
                problems[setting.name] = f"{setting.name}: {wrong}"
            else:
                object.__setattr__(self, setting.field, value)
        for names, contradicts, problem in CONTRADICTIONS:
            if problems.keys().isdisjoint(names) and contradicts(self):
                problems[names[0]] = f"{names[0]}: {problem}"
        if problems:
            raise SettingsError(tuple(problems.values()))


CONTRADICTIONS: tuple[tuple[tuple[str, ...], Callable[[Settings], bool], str], ...] = (
    (
        ("TRUST_PROXY_HEADERS", "TRUSTED_PROXY_CIDRS"),
        lambda given: given.trust_proxy_headers and not given.trusted_proxy_cidrs,
        "true trusts nobody while TRUSTED_PROXY_CIDRS is empty; name your proxy's network there",
    ),
    (
        ("ADMIN_LISTEN_ADDR", "LISTEN_ADDR"),
        lambda given: (
            given.admin_listen_addr == given.listen_addr and not given.listen_addr.endswith(":0")
        ),
        "the same as LISTEN_ADDR; give another port",
    ),
)

DECLARED: tuple[Setting, ...] = tuple(
    Setting(name=declared.name.upper(), **declared.metadata)
    for declared in dataclasses.fields(Settings)
)
