"""The table of all settings: name, default, meaning and limits, declared once.

``Settings`` is both the table and the value: a frozen object with one field for each setting, named
like the environment variable in lower case. ``DECLARED`` holds the same table as rows, from which
``--help``, ``.env.example``, the documentation and tests are generated.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from autopilot.settings.certificates import (
    PairFault,
    count_certificates,
    fault_of,
    holds_certificates,
)
from autopilot.settings.declaration import Setting, SettingsError, problem_of
from autopilot.settings.env_file import ENV_FILE, EnvFile
from autopilot.settings.files.fallbacks import FallbacksFile, FallbacksSetting
from autopilot.settings.files.keys import KeysFile, KeysSetting
from autopilot.settings.files.pins import PUBLISHED, PinFile, PinsSetting
from autopilot.settings.files.platform_keys import PlatformKeysFile, PlatformKeysSetting
from autopilot.settings.files.routes import RoutesFile, RoutesSetting
from autopilot.settings.merge import choose, merged
from autopilot.settings.network import (
    Listen,
    Network,
    Networks,
    Origins,
    Url,
    UsualAddress,
    is_loopback,
)
from autopilot.settings.private import (
    PRIVATE_ALIAS,
    UP_TO_DATE,
    GpuLevel,
    TcbStatuses,
    WritableFolder,
)
from autopilot.settings.proxies import Exemptions, ProxyUrl
from autopilot.settings.state_url import StateStore, StateUrl
from autopilot.settings.types import (
    Boolean,
    Choice,
    CountOrAuto,
    CountOrWord,
    ExtraSwitch,
    Fraction,
    HashKey,
    Integer,
    Names,
    ReadableFile,
    Type,
    WritableFile,
    ZeroOr,
)

MOST_WORKERS: Final = 64
"""The largest number of processes that serve requests."""

_DAY_MS = 86_400_000
_GIB = 1 << 30
_TEST_ROOTS = 2


def _setting(
    default: str,
    kind: Type,
    help: str,
    *,
    empty: object = None,
    secret: bool = False,
    live: bool = False,
    lower_case: bool = False,
) -> Any:
    """Declare a field of ``Settings``. An empty `default` text stands for the value `empty`."""
    return dataclasses.field(
        default=kind.parse(default) if default else empty,
        repr=not secret,
        metadata={
            "default": default,
            "kind": kind,
            "help": help,
            "secret": secret,
            "live": live,
            "lower_case": lower_case,
        },
    )


def _ms(default: int, help: str, low: int = 1, *, live: bool = False) -> Any:
    """Declare a duration in milliseconds, at most one day."""
    return _setting(str(default), Integer(low, _DAY_MS, "ms"), help, live=live)


def _count(
    default: int, low: int, high: int, help: str, unit: str = "", *, live: bool = False
) -> Any:
    """Declare an integer."""
    return _setting(str(default), Integer(low, high, unit), help, live=live)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective settings.

    :raises SettingsError: a value has the wrong type, is out of range or contradicts another.
    """

    listen_addr: str = _setting(
        "0.0.0.0:8080",
        Listen(),
        "Address of the API. Sockets passed by systemd (LISTEN_FDS) replace it.",
    )
    admin_listen_addr: str = _setting(
        UsualAddress("127.0.0.1:8081"),
        Listen(optional=True),
        "Address of /metrics and /status, or - to serve them on LISTEN_ADDR. If it is not set and"
        " the port is taken, they get any free port. Sockets from systemd named admin replace it.",
    )
    tls_cert_file: str | None = _setting(
        "",
        ReadableFile(),
        "PEM file of the certificate for LISTEN_ADDR, followed by its chain: with TLS_KEY_FILE, the"
        " API speaks TLS. Read again on SIGHUP.",
    )
    tls_key_file: str | None = _setting(
        "",
        ReadableFile(),
        "PEM file of the key of TLS_CERT_FILE, not encrypted. Read again on SIGHUP.",
    )
    workers: int | Literal["auto"] = _setting(
        "1",
        CountOrAuto(1, MOST_WORKERS),
        "Processes that serve requests, each on a core. auto: as many as the cores that the router"
        f" may use, at most {MOST_WORKERS}. All limits are those of the whole router.",
    )
    backend_base_url: str = _setting(
        "https://llm.chutes.ai",
        Url(base=True),
        "Base URL of the upstream for /v1/chat/completions and /v1/completions; the path is"
        " appended.",
    )
    messages_base_url: str = _setting(
        "https://claude.chutes.ai",
        Url(base=True),
        "Base URL of the upstream for /v1/messages; the path is appended.",
    )
    responses_base_url: str = _setting(
        "https://responses.chutes.ai",
        Url(base=True),
        "Base URL of the upstream for /v1/responses; the path is appended.",
    )
    models_url: str = _setting(
        "https://llm.chutes.ai/v1/models", Url(), "URL of the catalog feed, which lists the models."
    )
    models_refresh_ms: int = _ms(300_000, "Interval between two fetches of the catalog.", low=100)
    utilization_url: str = _setting(
        "https://api.chutes.ai/chutes/utilization",
        Url(),
        "URL of the utilization feed, which reports each model's load and decides the ranking.",
    )
    utilization_refresh_ms: int = _ms(
        15_000, "Interval between two fetches of the utilization feed.", low=100
    )
    control_plane_timeout_ms: int = _ms(10_000, "Longest duration of one fetch of a feed.")
    api_base_url: str = _setting(
        "https://api.chutes.ai",
        Url(base=True),
        "Base URL of the platform's management API, from which the evidence of TEE models is"
        " fetched.",
    )
    evidence_refresh_ms: int = _ms(
        21_600_000,
        "Interval between two fetches of a TEE model's attestation evidence; 0 disables them.",
        low=0,
    )
    readyz_max_snapshot_age_ms: int = _ms(
        60_000, "Age of the utilization data beyond which /readyz responds with 503.", live=True
    )
    readyz_max_allowlist_age_ms: int = _ms(
        900_000, "Age of the catalog beyond which /readyz responds with 503.", live=True
    )
    aliases: tuple[str, ...] = _setting(
        "chutesai/AutoPilot",
        Names(),
        "Model names for which the router chooses the model. A name with * is a pattern: the router"
        " chooses for the names that match it and are not in the catalog.",
        live=True,
    )
    unknown_models: Literal["reject", "forward", "alias"] = _setting(
        "reject",
        Choice("reject", "forward", "alias"),
        "Treatment of a model name that is not in the catalog. Forward it if you use private"
        " chutes or aliases of your account; alias lets the router choose the model, unless the"
        " name is an item of a list.",
        live=True,
    )
    routes_file: RoutesFile | str | None = _setting(  # noqa: RUF009  frozen
        "",
        RoutesSetting(),
        "TOML file of routes: names for ordered models with conditions of their own. Read again on"
        " SIGHUP; while it has a fault, the former routes stay.",
        live=True,
    )
    max_model_list_items: int = _count(
        8, 1, 1000, "Largest number of models in a preference list.", live=True
    )
    require_tee: bool = _setting(
        "false",
        Boolean(),
        "Use only models that the catalog marks as confidential compute.",
        live=True,
    )
    require_key: Literal["auto", "on", "off"] = _setting(
        "auto",
        Choice("auto", "on", "off"),
        "Respond 401 to requests without an API key instead of sending them on, as the platform's"
        " edge bans their sender for longer each time. auto: where the base URL is at chutes.ai.",
        live=True,
    )
    keys_file: KeysFile | str | None = _setting(  # noqa: RUF009  frozen
        "",
        KeysSetting(),
        "TOML file of the keys with which clients may use this router, and of each key's limits;"
        " any other key is refused. Read again on SIGHUP; while it has a fault, the former keys"
        " stay.",
        live=True,
    )
    keys_state_file: str | None = _setting(
        "",
        WritableFile(),
        "File in which the router keeps what the keys of KEYS_FILE have used, so that a restart"
        " gives no budget back. With STATE_URL the store keeps it, too.",
    )
    chutes_api_keys_file: PlatformKeysFile | str | None = _setting(  # noqa: RUF009  frozen
        "",
        PlatformKeysSetting(),
        "TOML file of the platform's keys that are sent instead of the clients' own; needs"
        " KEYS_FILE. Read again on SIGHUP; while it has a fault, the former keys stay.",
        live=True,
    )
    fallbacks_file: FallbacksFile | str | None = _setting(  # noqa: RUF009  frozen
        "",
        FallbacksSetting(),
        "TOML file of other services, whose models are named @name/model; one with a default_model"
        " is also the last resort. Read again on SIGHUP; while it has a fault, the former stay.",
        live=True,
    )
    failover_policy: str = _setting(
        "standard",
        Choice("strict", "standard", "open"),
        "Failures after which the next model is tried: strict = connection failures, time-outs and"
        " 503; standard = also the platform's capacity errors; open = also every 429 and 5xx.",
        live=True,
    )
    commit: str = _setting(
        "content",
        Choice("byte", "content", "complete"),
        "Part of a successful response that must arrive before the router sends any of it to the"
        " client: its first byte, its first content, or all of it.",
        live=True,
    )
    commit_max_bytes: int = _count(
        8_388_608,
        1,
        _GIB,
        "With COMMIT=complete: size beyond which a response is no longer held back.",
        "bytes",
        live=True,
    )
    sse_guard: str = _setting(
        "on",
        Choice("off", "on", "strict"),
        "Report a broken stream to the client as an error event. off relays the upstream's bytes"
        " unchanged; strict also ends a stream into which a second response was spliced.",
        live=True,
    )
    error_shape: Literal["openai", "upstream"] = _setting(
        "openai",
        Choice("openai", "upstream"),
        "Form of the platform's JSON errors, which say in detail only what is wrong. openai adds"
        " the error member that SDKs read (Anthropic's on /v1/messages); upstream adds nothing.",
        live=True,
    )
    usage: Literal["observe", "request", "off"] = _setting(
        "observe",
        Choice("observe", "request", "off"),
        "Use of the tokens that the upstream reports. observe counts them; request also asks for"
        " them where a stream does not, and takes the extra chunk out again; off reads nothing.",
        live=True,
    )
    max_attempts: int = _count(
        8, 1, 100, "Largest number of upstream attempts per request.", live=True
    )
    total_deadline_ms: int = _ms(
        900_000,
        "Time for all attempts together until the response begins. Keep it longer than one attempt"
        " may take, so that another can follow.",
        live=True,
    )
    failover_after_ms: int = _ms(
        12_000,
        "Time to a model's first content while another model is left, plus 1 s for each 8 KB of"
        " request body.",
        live=True,
    )
    plain_failover_after_ms: int = _ms(
        180_000,
        "Time to the end of an answer that is not a stream while another model is left, plus 1 s"
        " for each 100 tokens of the request's completion limit while little is known of the model."
        " Once per request.",
        live=True,
    )
    list_retry_ms: int = _ms(
        10_000,
        "Time for which a preference list's fallback is used before its first model is tried"
        " again.",
        low=0,
        live=True,
    )
    edge_rate: int | Literal["auto", "off"] = _setting(
        "auto",
        CountOrWord(1, 1_000_000, "requests a minute"),
        "Requests a minute that a key may send upstream, and as many at once, so that the edge does"
        " not ban it. auto: what the platform states, else 60, where the base URL is at chutes.ai."
        " A number caps that.",
        live=True,
    )
    pace_ms: int = _ms(
        2_000,
        "Time for which a request waits when EDGE_RATE is reached before it is rejected with 429.",
        low=0,
        live=True,
    )
    keepalive_after_ms: int = _setting(
        "0",
        ZeroOr(1_000, _DAY_MS, "ms"),
        "Time without a byte for the client after which a stream begins with SSE comments, while"
        " models are still being tried, so that no load balancer in between cuts it. 0: no stream"
        " begins before its answer.",
        live=True,
    )
    hedge_after_p95: int = _setting(
        "0",
        ZeroOr(1, 100, "times"),
        "Multiple of the 95th percentile of a model's time to its first content after which a"
        " stream goes to the next model as well, for at most 5 % of a minute's requests. 0: never.",
        live=True,
    )
    cooldown_failures: int = _count(
        3,
        1,
        1000,
        "Consecutive failures after which a model is ranked behind all others for one client.",
        live=True,
    )
    cooldown_ms: int = _ms(
        10_000,
        "Time after which one request probes a model that is cooling down.",
        low=0,
        live=True,
    )
    upstream_connect_timeout_ms: int = _ms(2_000, "Time for connecting to the upstream.", live=True)
    upstream_header_timeout_ms: int = _ms(
        60_000, "Time to the response head if the client requested a stream.", live=True
    )
    upstream_unary_timeout_ms: int = _ms(
        600_000, "Time to the response head if the client did not request a stream.", live=True
    )
    upstream_first_body_byte_timeout_ms: int = _ms(
        60_000, "Time from the response head to the first byte of the body.", live=True
    )
    upstream_idle_timeout_ms: int = _ms(
        45_000,
        "Longest pause of the upstream within a response that has begun. For a model that often"
        " pauses it grows, to 2 minutes at most.",
        live=True,
    )
    error_body_timeout_ms: int = _ms(
        2_000, "Time for reading an error's body before the router decides without it.", live=True
    )
    upstream_pool_idle_ms: int = _ms(
        4_000,
        "Time for which an idle upstream connection is kept; stay below the upstream's keep-alive"
        " time. 0 keeps none.",
        low=0,
    )
    upstream_pool_size: int = _count(
        1024, 0, 100_000, "Largest number of idle upstream connections that are kept."
    )
    upstream_ca_file: str | None = _setting(
        "",
        ReadableFile(),
        "PEM file of certificate authorities to trust for upstream connections, instead of the"
        " system's.",
    )
    https_proxy: str | None = _setting(
        "",
        ProxyUrl(),
        "Proxy for https URLs of the upstream and the feeds. Its user name and password are sent to"
        " it only, and never shown.",
        secret=True,
        lower_case=True,
    )
    http_proxy: str | None = _setting(
        "",
        ProxyUrl(),
        "Proxy for http URLs of the upstream and the feeds. Its user name and password are sent to"
        " it only, and never shown.",
        secret=True,
        lower_case=True,
    )
    no_proxy: tuple[str, ...] = _setting(
        "",
        Exemptions(),
        "Servers that are reached without a proxy; a name includes all names below it. Loopback"
        " always is.",
        empty=(),
        lower_case=True,
    )
    sticky_ttl_secs: int = _count(
        1800,
        0,
        31_536_000,
        "Time for which a conversation's model is remembered; 0 disables stickiness.",
        "seconds",
        live=True,
    )
    sticky_max_entries: int = _count(
        100_000, 1, 10_000_000, "Largest number of remembered conversations.", live=True
    )
    sticky_scope: Literal["conversation", "client"] = _setting(
        "conversation",
        Choice("conversation", "client"),
        "What stays with its model: each conversation of a client, or all requests of a client"
        " together.",
        live=True,
    )
    sticky_hash_key: bytes | None = _setting(
        "",
        HashKey(),
        "Secret key of the hashes that stand for clients and conversations. If not set, the router"
        " generates one at each start.",
        secret=True,
    )
    state_url: StateStore | str | None = _setting(  # noqa: RUF009  frozen
        "",
        StateUrl(),
        "Redis or Valkey server over which several routers share stickiness, cooldowns and learned"
        " times; needs STICKY_HASH_KEY. The router serves without it when it is gone.",
        secret=True,
    )
    feeds: Literal["own", "shared"] = _setting(
        "own",
        Choice("own", "shared"),
        "Fetching of the feeds: own, or shared by the routers of one STATE_URL, of which one"
        " fetches and the others read.",
    )
    feeds_lease_ms: int = _ms(
        30_000,
        "With FEEDS=shared: time after which another router takes over from one that is gone.",
        low=1000,
    )
    private: Literal["off", "ask", "always"] = _setting(
        "off",
        Choice("off", "ask", "always"),
        "Encrypt requests to instances whose keys were verified: ask = those with the header, alias"
        " or route for it; always = all, or refuse them; off = refuse whoever asks. Needs the extra"
        " private.",
    )
    private_tcb: tuple[str, ...] = _setting(
        UP_TO_DATE,
        TcbStatuses(),
        "Private mode: states of an instance's platform that are accepted, in Intel's words.",
    )
    private_tcb_grace_days: int = _count(
        0,
        0,
        90,
        "Private mode: time for which platforms are judged by Intel's previous data after a"
        " recovery, which makes those that lag out of date at once.",
        "days",
    )
    private_measurements: PinFile | str = _setting(  # noqa: RUF009  frozen
        PUBLISHED,
        PinsSetting(),
        "Private mode: measurements of virtual machines that are accepted: the platform's list, or"
        " a file that autopilot evidence --pin wrote. Read again on SIGHUP; with a fault, the"
        " former rows stay.",
        live=True,
    )
    private_gpu: Literal["off", "signed"] = _setting(
        "signed",
        GpuLevel("off", "signed"),
        "Private mode: what is verified of an instance's GPUs: their signed reports, or nothing.",
    )
    private_envelope: Literal["require", "accept-missing"] = _setting(
        "require",
        Choice("require", "accept-missing"),
        "Private mode: the virtual machine's signature over the list of its GPUs, which older"
        " instances lack.",
    )
    private_attest_ttl_ms: int = _ms(
        900_000, "Private mode: time for which a verified key is used before it is verified again."
    )
    private_attest_timeout_ms: int = _ms(
        20_000, "Private mode: time that a request waits for an instance with a verified key."
    )
    private_collateral_url: str = _setting(
        "https://api.trustedservices.intel.com",
        Url(base=True),
        "Private mode: base URL of Intel's data about platforms, or of a cache that serves it.",
    )
    private_collateral_dir: str | None = _setting(
        "",
        WritableFolder(),
        "Private mode: directory in which that data is kept across restarts.",
    )
    private_max_instances: int = _count(
        3,
        1,
        100,
        "Private mode: largest number of instances to which one request is encrypted and sent.",
        live=True,
    )
    private_test_roots: str | None = _setting(
        "",
        ReadableFile(),
        "Private mode, for tests: PEM file of two roots, of quotes and of GPUs, in place of Intel's"
        " and NVIDIA's. Only while API_BASE_URL is loopback; nothing is called attested then.",
    )
    trust_proxy_headers: bool = _setting(
        "false",
        Boolean(),
        "Take the client's address from X-Forwarded-For if a trusted proxy sent it.",
        live=True,
    )
    trusted_proxy_cidrs: tuple[Network, ...] = _setting(
        "",
        Networks(),
        "Networks of the proxies whose X-Forwarded-For is trusted.",
        empty=(),
        live=True,
    )
    max_request_bytes: int = _count(
        33_554_432,
        1,
        _GIB,
        "Size of the longest request body; a longer one is rejected with 413.",
        "bytes",
        live=True,
    )
    max_concurrent_requests: int = _count(
        10_000,
        1,
        1_000_000,
        "Largest number of concurrent requests; further ones are rejected with 503.",
        live=True,
    )
    max_buffered_bytes: int = _count(
        536_870_912,
        1,
        1024 * _GIB,
        "Most bytes held at a time: bodies of requests until commit, responses before it, and what "
        "clients that read slowly have not taken; a request with which there would be more is "
        "rejected with 503.",
        "bytes",
        live=True,
    )
    client_max_share: float = _setting(
        "0.8",
        Fraction(),
        "Share of MAX_CONCURRENT_REQUESTS, MAX_BUFFERED_BYTES and the process's descriptors that a "
        "client address may have; beyond it, its requests are rejected with 429; 1: no limit.",
        live=True,
    )
    client_header_timeout_ms: int = _ms(
        10_000, "Time for a client to send a request head.", live=True
    )
    client_body_timeout_ms: int = _ms(
        60_000,
        "Time for a client to send a request body, in addition to what the bytes that have arrived "
        "take at 64 KB/s.",
        live=True,
    )
    client_idle_timeout_ms: int = _ms(
        75_000, "Time for which a client's connection may stay idle between requests.", live=True
    )
    cors_allow_origins: tuple[str, ...] = _setting(
        "",
        Origins(),
        "Browser origins whose pages may call the API (CORS); * allows every origin.",
        empty=(),
        live=True,
    )
    drain_delay_ms: int = _ms(
        0,
        "On shutdown: time for which /readyz reports 503 before the port closes.",
        low=0,
        live=True,
    )
    drain_timeout_ms: int = _ms(
        30_000, "On shutdown: time for which responses in progress may continue.", low=0, live=True
    )
    log_level: str = _setting(
        "info",
        Choice("debug", "info", "warn", "error", "critical"),
        "Lowest level that is logged.",
        live=True,
    )
    log_format: str = _setting(
        "text", Choice("text", "json"), "Plain lines, or one JSON object per line.", live=True
    )
    log_sample: float = _setting(
        "1.0",
        Fraction(),
        "Share of the successful requests that are logged; failures always are.",
        live=True,
    )
    key_metrics: bool = _setting(
        "false",
        Boolean(),
        "Tell keys apart in the metrics of quotas and rate limits, by a prefix of their keyed hash:"
        " at most 100, then other. Set STICKY_HASH_KEY for prefixes that survive a restart.",
        live=True,
    )
    otel_traces: bool = _setting(
        "false",
        ExtraSwitch("otel", "opentelemetry-exporter-otlp-proto-http"),
        "Export traces over OTLP, configured by the OTEL_* environment variables (needs the extra"
        " otel).",
    )

    @classmethod
    def load(
        cls,
        options: Mapping[str, str | None] | None = None,
        *,
        environ: Mapping[str, str | None] | None = None,
        env_file: str | None = None,
    ) -> Settings:
        """Return the settings as ``twistd autopilot`` finds them, for an embedding application.

        ``options`` maps names of settings, as in the environment, to texts; it wins over
        ``environ``, by default that of the process, and that over the file. ``env_file`` must exist
        if it is given; otherwise ``.env`` in the working directory is read if it is there.

        :raises SettingsError: it has one line for each problem, not only for the first.
        """
        given = {} if options is None else options
        name = ENV_FILE if env_file is None else env_file
        file = EnvFile(os.path.abspath(name), name=name, required=env_file is not None)
        known = {spelling for each in DECLARED for spelling in each.spellings}
        unknown = tuple(f"{each}: there is no such setting" for each in given if each not in known)
        chosen = choose(DECLARED, given, os.environ if environ is None else environ, file.read())
        try:
            settings = merged(cls, DECLARED, RELATED, chosen)
        except SettingsError as error:
            raise SettingsError((*unknown, *error.problems)) from None
        if unknown:
            raise SettingsError(unknown)
        return settings

    def __post_init__(self) -> None:
        """Validate every field and convert it to its canonical form."""
        problems: dict[str, str] = {}
        for setting in DECLARED:
            try:
                value = setting.kind.check(getattr(self, setting.field))
            except ValueError as error:
                problems[setting.name] = problem_of(setting.name, error)
            else:
                object.__setattr__(self, setting.field, value)
        for names, contradicts, problem in CONTRADICTIONS:
            if problems.keys().isdisjoint(names) and contradicts(self):
                problems[names[0]] = f"{names[0]}: {problem}"
        if problems.keys().isdisjoint(("ROUTES_FILE", "ALIASES")):
            faults = _alias_faults(self)
            if faults:
                problems["ROUTES_FILE"] = problem_of("ROUTES_FILE", ValueError("\n".join(faults)))
        if problems:
            raise SettingsError(tuple(problems.values()))


def _alias_faults(given: Settings) -> tuple[str, ...]:
    file = given.routes_file
    aliases = (*given.aliases, PRIVATE_ALIAS)
    return tuple(file.alias_faults(aliases)) if isinstance(file, RoutesFile) else ()


def _pair_fault(given: Settings) -> PairFault | None:
    return fault_of(given.tls_cert_file, given.tls_key_file)


CONTRADICTIONS: tuple[tuple[tuple[str, ...], Callable[[Settings], bool], str], ...] = (
    (
        ("TRUST_PROXY_HEADERS", "TRUSTED_PROXY_CIDRS"),
        lambda given: given.trust_proxy_headers and not given.trusted_proxy_cidrs,
        "true has no effect while TRUSTED_PROXY_CIDRS is empty; list your proxy's network there",
    ),
    (
        ("ADMIN_LISTEN_ADDR", "LISTEN_ADDR"),
        lambda given: (
            given.admin_listen_addr == given.listen_addr and not given.listen_addr.endswith(":0")
        ),
        "the same as LISTEN_ADDR; give another port",
    ),
    (
        ("STATE_URL", "STICKY_HASH_KEY"),
        lambda given: given.state_url is not None and given.sticky_hash_key is None,
        "needs STICKY_HASH_KEY, the same for all routers that share state; set it to a secret text",
    ),
    (
        ("FEEDS", "STATE_URL"),
        lambda given: given.feeds == "shared" and given.state_url is None,
        "shared needs STATE_URL, the store over which the feeds are shared",
    ),
    (
        ("ALIASES",),
        lambda given: PRIVATE_ALIAS.lower() in map(str.lower, given.aliases),
        f"{PRIVATE_ALIAS} is the alias of private mode; give another name",
    ),
    (
        ("PRIVATE_TEST_ROOTS", "API_BASE_URL"),
        lambda given: given.private_test_roots is not None and not is_loopback(given.api_base_url),
        "for a platform on this machine only; unset it, or let API_BASE_URL be loopback",
    ),
    (
        ("PRIVATE_TEST_ROOTS",),
        lambda given: (
            given.private_test_roots is not None
            and count_certificates(given.private_test_roots) != _TEST_ROOTS
        ),
        "the file does not hold two certificates in PEM, of quotes and of GPUs",
    ),
    (
        ("CHUTES_API_KEYS_FILE", "KEYS_FILE", "REQUIRE_KEY"),
        lambda given: (
            given.chutes_api_keys_file is not None
            and given.keys_file is None
            and given.require_key != "off"
        ),
        "every client could use these keys; set KEYS_FILE, or REQUIRE_KEY=off if that is meant",
    ),
    (
        ("USAGE", "KEYS_FILE"),
        lambda given: (
            given.usage == "off"
            and isinstance(given.keys_file, KeysFile)
            and given.keys_file.has_budgets
        ),
        "off counts nothing, and KEYS_FILE has budgets; set it to observe or request",
    ),
    (
        ("UPSTREAM_CA_FILE",),
        lambda given: (
            given.upstream_ca_file is not None and not holds_certificates(given.upstream_ca_file)
        ),
        "the file holds no certificate in PEM",
    ),
    (
        ("TLS_CERT_FILE", "TLS_KEY_FILE"),
        lambda given: given.tls_cert_file is not None and given.tls_key_file is None,
        "needs TLS_KEY_FILE; give the file of its key",
    ),
    (
        ("TLS_KEY_FILE", "TLS_CERT_FILE"),
        lambda given: given.tls_key_file is not None and given.tls_cert_file is None,
        "needs TLS_CERT_FILE; give the file of its certificate",
    ),
    (
        ("TLS_CERT_FILE", "TLS_KEY_FILE"),
        lambda given: _pair_fault(given) is PairFault.CERTIFICATE,
        "the file holds no certificate in PEM",
    ),
    (
        ("TLS_CERT_FILE", "TLS_KEY_FILE"),
        lambda given: _pair_fault(given) is PairFault.WEAK,
        "its key or its signature is too weak for TLS",
    ),
    (
        ("TLS_KEY_FILE", "TLS_CERT_FILE"),
        lambda given: _pair_fault(given) is PairFault.KEY,
        "the file holds no key in PEM that can be used without a password",
    ),
    (
        ("TLS_KEY_FILE", "TLS_CERT_FILE"),
        lambda given: _pair_fault(given) is PairFault.MISMATCH,
        "the key is not that of the first certificate in TLS_CERT_FILE",
    ),
)
"""Variables that can contradict each other, the test for it, and the message.

The error line names the first of the variables.
"""

RELATED: tuple[tuple[str, ...], ...] = (
    *(names for names, _, _ in CONTRADICTIONS),
    ("ROUTES_FILE", "ALIASES"),
)
"""The variables of each contradiction."""

DECLARED: tuple[Setting, ...] = tuple(
    Setting(name=declared.name.upper(), **declared.metadata)
    for declared in dataclasses.fields(Settings)
)
