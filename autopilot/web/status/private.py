"""The section of private mode: what was verified, of whose keys, and by which data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from autopilot.attestation.private_report import (
    ChuteReport,
    CollateralReport,
    MeasurementsReport,
    PrivateReport,
)
from autopilot.web.status.formatting import Formatted, age, count, escaped, model_name, plural
from autopilot.web.status.markup import SLOT, Cell, Child, Template, el, optional_section, tile
from autopilot.web.status.tables import DASH, MAX_ROWS, Table, TableColumn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from markupsafe import Markup

TEST_ROOTS: Final = "test-roots"

_SHOWN = 12
_LISTED = 6
_LIST = Template(el("ul", SLOT, class_="listed"))
_ITEM = Template(el("li", SLOT))
_TABLE = Table(
    "private",
    "Keys of instances by model",
    (
        TableColumn("Model"),
        TableColumn("Known", True, "keys of instances with a verdict or waiting for one"),
        TableColumn("Verified", True),
        TableColumn("Not verified"),
        TableColumn("Oldest verdict", True),
        TableColumn("TCB"),
        TableColumn("Measurement"),
        TableColumn("Nonces left", True),
        TableColumn("Discovered", True),
    ),
)
_WORDS: Final = {
    "quote_malformed": "quote unreadable",
    "quote_signature": "quote not signed by Intel's chain",
    "collateral": "Intel's data missing or out of date",
    "debug": "debugging allowed",
    "td_attributes": "unusual attributes",
    "tcb_status": "TCB status not accepted",
    "binding_key": "quote is for another key",
    "binding_certificate": "quote is for another certificate",
    "measurement_unknown": "measurement unknown",
    "measurement_app_unmeasured": "software not measured",
    "envelope_missing": "no signed list of GPUs",
    "envelope_signature": "list of GPUs wrongly signed",
    "envelope_mismatch": "list of GPUs differs",
    "gpu_count": "other number of GPUs",
    "gpu_duplicate": "a GPU listed twice",
    "gpu_chain": "GPU not of NVIDIA's chain",
    "gpu_malformed": "GPU report unreadable",
    "gpu_nonce": "GPU report not fresh",
    "gpu_signature": "GPU report wrongly signed",
    "gpu_firmware_id": "GPU firmware differs",
    "unattestable": "no evidence to be had",
    "unanswered": "evidence not answered",
    "unauthorized": "evidence refused to the key of a request",
}


class PrivateNow(Struct, frozen=True):
    """What the pages show of private mode, by model.

    ``mode`` is the setting. ``collateral_ends_in`` is the seconds until the first of Intel's data
    ends; None without any.
    """

    mode: str
    roots: str
    attestable: bool
    why_not: str | None
    models: dict[str, ChuteReport]
    collateral: CollateralReport
    measurements: MeasurementsReport
    collateral_ends_in: float | None = None


def private_now(
    mode: str, report: PrivateReport, chutes: Iterable[tuple[str, str]], wall: float
) -> PrivateNow:
    """Return what the pages show at the time of day ``wall``.

    ``chutes`` are those of the catalog with the model's name, the first of several; of one that
    has left it, its id is shown.
    """
    names: dict[str, str] = {}
    for chute, name in chutes:
        names.setdefault(chute, name)
    ends = report.collateral.next_update
    return PrivateNow(
        mode,
        report.roots,
        report.attestable,
        report.why_not,
        {names.get(chute, chute): keys for chute, keys in report.chutes.items()},
        report.collateral,
        report.measurements,
        None if ends is None else ends - wall,
    )


def key_states(report: PrivateReport) -> dict[str, int]:
    """Count the keys of all models by state, for the metrics."""
    states = {"verified": 0, "refused": 0, "unattestable": 0, "unanswered": 0}
    for each in report.chutes.values():
        states["verified"] += each.verified
        for reason, number in each.refused:
            state = "unanswered" if reason == "unauthorized" else reason
            states[state if state in states else "refused"] += number
    return states


def refusal_words(reason: str) -> Formatted:
    """Return the words for why a key is not verified."""
    return escaped(_WORDS.get(reason, reason))


def private(now: PrivateNow | None) -> Markup:
    """Render the section, which is hidden while private mode is off."""
    children = None if now is None else _shown(now)
    return optional_section("private", children)


def _shown(now: PrivateNow) -> list[Child]:
    names = sorted(now.models)
    rows = [_row(name, now.models[name]) for name in names[:MAX_ROWS]]
    return [
        el("h2", "Private mode ", el("small", _title(now)), id="private-title"),
        el("p", _about(now)),
        None
        if now.attestable
        else el("p", f"Nothing is attestable: {now.why_not or 'not known yet'}.", class_="advice"),
        el("div", el("dl", _tiles(now)), class_="numbers"),
        _TABLE.render(rows, _SHOWN, "models", len(names) - len(rows))
        if rows
        else el("p", "No key is known yet: keys are verified when a private request needs them."),
    ]


def _title(now: PrivateNow) -> str:
    return f"PRIVATE={now.mode}" + (f", {TEST_ROOTS}" if now.roots == TEST_ROOTS else "")


def _about(now: PrivateNow) -> str:
    who = "Every request is" if now.mode == "always" else "A request that asks for it is"
    told = f"{who} sealed to the key of an instance whose evidence was verified here. "
    if now.roots == TEST_ROOTS:
        return (
            f"{told}PRIVATE_TEST_ROOTS replaces the roots of Intel and NVIDIA: nothing on this "
            "page is attested."
        )
    return (
        f"{told}Verified means: a genuine virtual machine of the platform vouches for the key. "
        "The model and the code that runs in it are not verified."
    )


def _tiles(now: PrivateNow) -> list[Child]:
    keys = now.models.values()
    known, verified = sum(each.known for each in keys), sum(each.verified for each in keys)
    return [
        tile(
            "Verified keys",
            count(verified),
            f"of {count(known)} known",
            None if verified or not known else "stale",
        ),
        _collateral(now.collateral, now.collateral_ends_in),
        _measurements(now.measurements),
    ]


def _collateral(known: CollateralReport, ends_in: float | None) -> Markup:
    name = "Intel's data"
    if ends_in is None:
        return tile(name, "none yet", "fetched for the first evidence")
    note: list[Child] = [plural(known.platforms, "platform")]
    if known.evaluation is not None:
        note.append(f", evaluation {known.evaluation}")
    if known.age is not None:
        note += [el("br"), f"fetched {age(known.age)} ago"]
    if ends_in <= 0:
        return tile(name, "out of date", [*note, el("br"), _CLOCK], "stale")
    return tile(name, f"valid {age(ends_in)}", note, "fresh")


_CLOCK = el("span", "also if this machine's clock is wrong", class_="error")


def _measurements(known: MeasurementsReport) -> Markup:
    name = "Measurements"
    note: list[Child] = ["published by the platform" if known.source == "published" else "pinned"]
    if known.age is not None:
        note += [el("br"), f"fetched {age(known.age)} ago"]
    if known.missing:
        note += [
            el("br"),
            "seen, but not listed: ",
            ", ".join(known.missing[:_LISTED]),
            " and others" if len(known.missing) > _LISTED else None,
        ]
    return tile(name, plural(known.rows, "row"), note, "fresh" if known.rows else "stale")


def _row(name: str, keys: ChuteReport) -> tuple[Cell, ...]:
    refused = [
        Formatted(f"{count(number)} {refusal_words(reason)}") for reason, number in keys.refused
    ]
    return (
        model_name(name),
        count(keys.known),
        count(keys.verified),
        _listed(refused),
        DASH if keys.age is None else age(keys.age),
        _listed([*map(escaped, keys.tcb)]),
        _listed([*map(escaped, keys.measurements)]),
        count(keys.nonces),
        DASH if keys.discovered is None else Formatted(f"{age(keys.discovered)} ago"),
    )


def _listed(items: list[Formatted]) -> Cell:
    shown = items[:_LISTED]
    if len(items) > _LISTED:
        shown.append(Formatted(f"{len(items) - _LISTED} more"))
    return _LIST.fill([(_ITEM.fill([(each,) for each in shown]),)]) if shown else DASH
