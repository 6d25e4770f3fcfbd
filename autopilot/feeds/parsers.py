"""Parsers of the two feeds' bodies into the values that routing works on.

The platform owns these formats and changes them without notice. The parsers therefore read only the
fields that the router needs, ignore unknown ones, and never let one malformed record cost the
others. They know nothing of HTTP, clocks or the use of the result.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from math import inf
from typing import Annotated, Final, TypeVar

from msgspec import DecodeError, Meta, Raw, Struct, ValidationError
from msgspec.json import Decoder

from autopilot.http.fetch_error import JSON, SHAPE, TOO_LARGE, FetchError
from autopilot.routing.catalog import Model
from autopilot.routing.pricing import NO_PRICES, Prices
from autopilot.routing.ranking import Load
from autopilot.routing.steps import Steps, in_steps, result_of

MAX_RECORDS: Final = 20_000
"""A feed with more records is a failed refresh; the platform has some hundreds."""

_MAX_NAME_CHARS: Final = 256
_MAX_RECORD_BYTES: Final = 1 << 18
_MAX_PRICE_CHARS: Final = 24
# Dollars for a million tokens. What is written as 1e-999999 would have as many digits in a cost.
_LEAST_PRICE: Final = Decimal("1e-9")
_MOST_PRICE: Final = Decimal(1_000_000)
_STEP_BYTES: Final = 1 << 20
"""Bytes of a feed that are handled in one step."""
_LOOK_BYTES: Final = 1 << 18
"""Bytes of a feed that are looked at in one step: each may be one that is counted."""
# Far above what records have; bounds what the first look at a feed may cost.
_OBJECTS_PER_RECORD: Final = 10
_COMMAS_PER_OBJECT: Final = 100
_BYTES_PER_OBJECT: Final = 1 << 16

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ParsedCatalog:
    """The catalog's models in the feed's order, and the number of unreadable entries."""

    models: tuple[Model, ...]
    rejected: int


@dataclass(frozen=True, slots=True)
class ParsedUtilization:
    """The load records in the feed's order, and the number of unreadable records.

    ``measured_at`` is the newest time that a record gives, in seconds since 1970; None without any.
    """

    loads: tuple[Load, ...]
    rejected: int
    measured_at: float | None = None


class _Envelope(Struct):
    data: list[Raw]


class _CatalogEntry(Struct):
    """One catalog entry. Only a bad `id` makes it unreadable; the other fields are optional."""

    id: str
    chute_id: Raw = Raw()
    confidential_compute: Raw = Raw()
    context_length: Raw = Raw()
    max_model_len: Raw = Raw()
    max_output_length: Raw = Raw()
    input_modalities: Raw = Raw()
    supported_features: Raw = Raw()
    pricing: Raw = Raw()
    price: Raw = Raw()


class _Pricing(Struct):
    """An entry's ``pricing``: dollars for a million tokens."""

    prompt: Raw = Raw()
    completion: Raw = Raw()
    input_cache_read: Raw = Raw()


class _Amount(Struct, frozen=True):
    usd: Raw = Raw()


_NOTHING = _Amount()


class _Price(Struct):
    """An entry's ``price``: the same amounts, each in several currencies."""

    input: _Amount = _NOTHING
    output: _Amount = _NOTHING
    input_cache_read: _Amount = _NOTHING


# The upper bounds are far above real values. They keep the computed scores finite, which a value
# such as 1e308 (itself finite) would not.
_Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
_Ratio = Annotated[float, Meta(ge=0, le=1e9)]


class _UtilizationRecord(Struct):
    """One utilization record; a field may be null where the platform's column is nullable."""

    name: str
    active_instance_count: _Count
    chute_id: str | None = None
    utilization_current: _Ratio | None = None
    utilization_5m: _Ratio | None = None
    utilization_15m: _Ratio | None = None
    utilization_1h: _Ratio | None = None
    rate_limit_ratio_5m: _Ratio | None = None
    rate_limit_ratio_15m: _Ratio | None = None
    rate_limit_ratio_1h: _Ratio | None = None
    scalable: bool | None = None
    scale_allowance: _Count | None = None
    timestamp: Raw = Raw()


_utf8 = getincrementaldecoder("utf-8")
_envelope = Decoder(_Envelope)
_array = Decoder(list[Raw])
_entry = Decoder(_CatalogEntry)
_record = Decoder(_UtilizationRecord)
_text = Decoder(str)
_flag = Decoder(bool)
_size = Decoder(Annotated[int, Meta(ge=1)])
_words = Decoder(list[str])
_pricing = Decoder(_Pricing)
_price = Decoder(_Price)
_number = Decoder(Decimal)


def parse_catalog(body: bytes) -> ParsedCatalog:
    """Parse the body of the catalog feed at once, see `catalog_steps`."""
    return result_of(catalog_steps(body))


def parse_utilization(body: bytes) -> ParsedUtilization:
    """Parse the body of the utilization feed at once, see `utilization_steps`."""
    return result_of(utilization_steps(body))


def catalog_steps(body: bytes) -> Steps[ParsedCatalog]:
    """Parse the body of the catalog feed, `{"data": [entry, ...]}`.

    An entry needs a usable `id`; of several entries with one id the first counts. An optional field
    of the wrong type counts as absent, that is, unknown. An empty list is a valid, empty catalog.

    :raises FetchError: the body is not JSON of that shape, or most entries are unreadable.
    """
    yield from _check(body)
    entries = _decode(_envelope, body).data
    models: dict[str, Model] = {}
    rejected = 0
    _reject_if_too_many(len(entries))
    if len(body) > _STEP_BYTES:
        yield
    for raw in _in_steps(entries):
        if raw is None:
            yield
            continue
        model = _model(raw)
        if model is None:
            rejected += 1
        else:
            models.setdefault(model.name, model)
    _reject_if_mostly_unreadable(len(entries), rejected)
    return ParsedCatalog(tuple(models.values()), rejected)


def utilization_steps(body: bytes) -> Steps[ParsedUtilization]:
    """Parse the body of the utilization feed, a bare `[record, ...]`.

    A record is unreadable if it lacks a name or an active instance count, or has a field of the
    wrong type or a negative or non-finite number. Of several records of one chute the first counts.

    :raises FetchError: the body is not JSON of that shape, has no records, or most of them are
        unreadable.
    """
    yield from _check(body)
    records = _decode(_array, body)
    # The feed lists every chute of the platform, so an empty list is a fault of the feed. Believed,
    # it would leave every alias without candidates (contract §4).
    if not records:
        raise FetchError(SHAPE, "no records")
    _reject_if_too_many(len(records))
    loads: dict[str, Load] = {}
    rejected, newest = 0, -inf
    if len(body) > _STEP_BYTES:
        yield
    for raw in _in_steps(records):
        if raw is None:
            yield
            continue
        record = _readable(raw)
        if record is None:
            rejected += 1
        else:
            load = _load(record)
            # A chute that the platform no longer measures keeps its old time.
            newest = max(newest, _time(record.timestamp))
            # Private chutes share one placeholder name, so the chute id identifies a record if it
            # has one.
            loads.setdefault(load.chute_id or load.name, load)
    _reject_if_mostly_unreadable(len(records), rejected)
    return ParsedUtilization(tuple(loads.values()), rejected, None if newest == -inf else newest)


def _check(body: bytes) -> Iterator[None]:
    """Check what `_decode` does not, and that no flood of tiny records nor a giant one holds it up.

    A large body is looked at in slices, and leaves the first step to its caller, who has just
    received its end.
    """
    large = len(body) > _STEP_BYTES
    objects = commas = 0
    utf8 = _utf8()
    view = memoryview(body)
    for start in range(0, len(body), _LOOK_BYTES):
        if large:
            yield
        stop = start + _LOOK_BYTES
        objects += body.count(b"{", start, stop)
        commas += body.count(b",", start, stop)
        # `Raw` records are passed on as bytes that the decoder has not validated.
        try:
            utf8.decode(view[start:stop], stop >= len(body))
        except UnicodeDecodeError:
            raise FetchError(JSON, "not UTF-8") from None
    if objects > _OBJECTS_PER_RECORD * MAX_RECORDS:
        _reject_if_too_many(objects)
    most = _STEP_BYTES + _BYTES_PER_OBJECT * objects
    if commas > MAX_RECORDS + _COMMAS_PER_OBJECT * objects or (
        len(body) > most and len(body.strip()) > most
    ):
        raise FetchError(SHAPE, "not a list of records")
    if large:
        yield


def _in_steps(records: Iterable[Raw]) -> Iterator[Raw | None]:
    """Yield the records, and None where a step ends: after many of them, or many bytes."""
    handled = 0
    for raw in in_steps(records):
        yield raw
        handled = 0 if raw is None else handled + len(raw)
        if handled > _STEP_BYTES:
            handled = 0
            yield None


def _reject_if_too_many(records: int) -> None:
    if records > MAX_RECORDS:
        raise FetchError(TOO_LARGE, f"more than {MAX_RECORDS} records")


def _decode(decoder: Decoder[_T], body: bytes) -> _T:
    """Decode a feed's envelope."""
    try:
        return decoder.decode(body)
    except ValidationError:
        raise FetchError(SHAPE, "not a list of records") from None
    except (DecodeError, RecursionError):
        raise FetchError(JSON, "not JSON") from None


def _reject_if_mostly_unreadable(total: int, rejected: int) -> None:
    """Raise if most records are unreadable: a new format must not pass for an empty feed."""
    if rejected > total - rejected:
        raise FetchError(SHAPE, f"{rejected} of {total} records unreadable")


def _model(raw: Raw) -> Model | None:
    """Return the model of a catalog entry, or None if the entry is unreadable."""
    if len(raw) > _MAX_RECORD_BYTES:
        return None
    try:
        entry = _entry.decode(raw)
    except DecodeError:
        return None
    # Names reach logs, metric labels and response headers, where control characters would do harm.
    if not _is_name(entry.id):
        return None
    context = _optional(_size, entry.context_length)
    return Model(
        name=entry.id,
        chute_id=_optional(_text, entry.chute_id) or None,
        tee=_optional(_flag, entry.confidential_compute),
        context_length=_optional(_size, entry.max_model_len) if context is None else context,
        max_output_length=_optional(_size, entry.max_output_length),
        input_modalities=_optional_set(entry.input_modalities),
        features=_optional_set(entry.supported_features),
        prices=_prices(entry),
        raw=bytes(raw),
    )


def _prices(entry: _CatalogEntry) -> Prices:
    """Return the prices of an entry: those in ``pricing``, else those in ``price``."""
    pricing, price = _optional(_pricing, entry.pricing), _optional(_price, entry.price)
    if pricing is None and price is None:
        return NO_PRICES
    pricing, price = pricing or _Pricing(), price or _Price()
    return Prices(
        _dollars(pricing.prompt, price.input.usd),
        _dollars(pricing.completion, price.output.usd),
        _dollars(pricing.input_cache_read, price.input_cache_read.usd),
    )


def _dollars(*amounts: Raw) -> Decimal | None:
    """Return the first amount that can be a price: a number of few digits, not negative."""
    for raw in amounts:
        # A text may be a price for one token, as in other platforms' catalogs.
        if raw and len(raw) <= _MAX_PRICE_CHARS and not bytes(raw).startswith(b'"'):
            dollars = _optional(_number, raw)
            if dollars == 0:
                return Decimal(0)  # whatever its exponent
            if dollars is not None and _LEAST_PRICE <= dollars <= _MOST_PRICE:
                return dollars
    return None


def _readable(raw: Raw) -> _UtilizationRecord | None:
    """Return a utilization record, or None if it is unreadable."""
    if len(raw) > _MAX_RECORD_BYTES:
        return None
    try:
        record = _record.decode(raw)
    except DecodeError:
        return None
    return record if _is_name(record.name) else None


def _load(record: _UtilizationRecord) -> Load:
    """Return the load of a utilization record."""
    return Load(
        name=record.name,
        chute_id=record.chute_id or None,
        active_instance_count=record.active_instance_count,
        utilization_current=record.utilization_current,
        utilization_5m=record.utilization_5m,
        utilization_15m=record.utilization_15m,
        utilization_1h=record.utilization_1h,
        rate_limit_ratio_5m=record.rate_limit_ratio_5m,
        rate_limit_ratio_15m=record.rate_limit_ratio_15m,
        rate_limit_ratio_1h=record.rate_limit_ratio_1h,
        scalable=record.scalable is True,
        scale_allowance=record.scale_allowance,
    )


def _time(raw: Raw) -> float:
    """Return a record's time in seconds since 1970; minus infinity if it gives none.

    The platform's times have no zone; they are in UTC.
    """
    text = _optional(_text, raw)
    if text is None:
        return -inf
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return -inf


def _is_name(text: str) -> bool:
    """Return whether a name is fit for display, logs and labels: printable, not too long."""
    return 0 < len(text) <= _MAX_NAME_CHARS and text.isprintable()


def _optional(decoder: Decoder[_T], raw: Raw) -> _T | None:
    """Return the value of an optional field; None if absent, null or of the wrong type."""
    try:
        return decoder.decode(raw)
    except DecodeError:
        return None


def _optional_set(raw: Raw) -> frozenset[str] | None:
    """Return an optional list of strings as a set; None as for `_optional`."""
    words = _optional(_words, raw)
    return None if words is None else frozenset(words)
