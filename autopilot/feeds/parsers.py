"""Reads the two feeds' bodies into the values that routing works on.

The platform owns these formats and changes them without notice, so a reader here takes what it
needs, ignores what it does not know and never lets one odd record cost the others. It knows
nothing of HTTP, clocks or what becomes of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from msgspec import DecodeError, Meta, Raw, Struct, ValidationError
from msgspec.json import Decoder

from autopilot.http.fetch_error import JSON, SHAPE, FetchError
from autopilot.routing.catalog import Model
from autopilot.routing.ranking import Load

_LONGEST_NAME: Final = 256

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ParsedCatalog:
    """The catalog's models in the feed's order, and how many entries could not be read."""

    models: tuple[Model, ...]
    rejected: int


@dataclass(frozen=True, slots=True)
class ParsedUtilization:
    """The readable load records in the feed's order, and how many could not be read."""

    loads: tuple[Load, ...]
    rejected: int


class _Envelope(Struct):
    data: list[Raw]


class _Entry(Struct):
    """One catalog entry. Only `id` can cost an entry its place; the rest is read one by one."""

    id: str
    chute_id: Raw = Raw()
    confidential_compute: Raw = Raw()
    context_length: Raw = Raw()
    max_model_len: Raw = Raw()
    max_output_length: Raw = Raw()
    input_modalities: Raw = Raw()
    supported_features: Raw = Raw()


# The upper bounds are far beyond anything real. They keep the scores computed from these numbers
# finite, which a value of 1e308 (finite by itself) would not.
_Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
_Share = Annotated[float, Meta(ge=0, le=1e9)]


class _Record(Struct):
    """One utilization record; null stands where the platform's columns are nullable."""

    name: str
    active_instance_count: _Count
    chute_id: str | None = None
    utilization_current: _Share | None = None
    utilization_5m: _Share | None = None
    utilization_15m: _Share | None = None
    utilization_1h: _Share | None = None
    rate_limit_ratio_5m: _Share | None = None
    rate_limit_ratio_15m: _Share | None = None
    rate_limit_ratio_1h: _Share | None = None
    scalable: bool | None = None
    scale_allowance: _Count | None = None


_envelope = Decoder(_Envelope)
_array = Decoder(list[Raw])
_entry = Decoder(_Entry)
_record = Decoder(_Record)
_text = Decoder(str)
_flag = Decoder(bool)
_size = Decoder(Annotated[int, Meta(ge=1)])
_words = Decoder(list[str])


def parse_catalog(body: bytes) -> ParsedCatalog:
    """Read the body of the catalog feed, `{"data": [entry, ...]}`.

    An entry needs a usable `id`; a further entry with an id already seen is left out. An optional
    field of the wrong type means the same as an absent one: not known. An empty list is an empty
    catalog, which is an answer and not an error.

    Raises `FetchError` when this is not JSON of that shape or most entries are unreadable.
    """
    entries = _decode(_envelope, body).data
    models: dict[str, Model] = {}
    rejected = 0
    for raw in entries:
        model = _model(raw)
        if model is None:
            rejected += 1
        else:
            models.setdefault(model.name, model)
    _refuse_nonsense(len(entries), rejected)
    return ParsedCatalog(tuple(models.values()), rejected)


def parse_utilization(body: bytes) -> ParsedUtilization:
    """Read the body of the utilization feed, a bare `[record, ...]`.

    A record is unreadable with a field of the wrong type, a negative or non-finite number, or
    without name or active instance count. A further record for a chute already seen is left out.

    Raises `FetchError` when this is not JSON of that shape or most records are unreadable.
    """
    records = _decode(_array, body)
    loads: dict[str, Load] = {}
    rejected = 0
    for raw in records:
        load = _load(raw)
        if load is None:
            rejected += 1
        else:
            loads.setdefault(load.chute_id or load.name, load)
    _refuse_nonsense(len(records), rejected)
    return ParsedUtilization(tuple(loads.values()), rejected)


def _decode(decoder: Decoder[_T], body: bytes) -> _T:
    try:
        body.decode()  # the decoder does not look inside the records, whose bytes are passed on
        return decoder.decode(body)
    except UnicodeDecodeError:
        raise FetchError(JSON, "not UTF-8") from None
    except ValidationError:
        raise FetchError(SHAPE, "not a list of records") from None
    except (DecodeError, RecursionError):
        raise FetchError(JSON, "not JSON") from None


def _refuse_nonsense(total: int, rejected: int) -> None:
    """Raise when most of a feed is unreadable: a new format must not look like an empty feed."""
    if rejected > total - rejected:
        raise FetchError(SHAPE, f"{rejected} of {total} records unreadable")


def _model(raw: Raw) -> Model | None:
    try:
        entry = _entry.decode(raw)
    except DecodeError:
        return None
    if not _is_name(entry.id):
        return None
    context = _known(_size, entry.context_length)
    return Model(
        name=entry.id,
        chute_id=_known(_text, entry.chute_id) or None,
        tee=_known(_flag, entry.confidential_compute),
        context_length=_known(_size, entry.max_model_len) if context is None else context,
        max_output_length=_known(_size, entry.max_output_length),
        input_modalities=_known_set(entry.input_modalities),
        features=_known_set(entry.supported_features),
        raw=bytes(raw),
    )


def _load(raw: Raw) -> Load | None:
    try:
        record = _record.decode(raw)
    except DecodeError:
        return None
    if not _is_name(record.name):
        return None
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


def _is_name(text: str) -> bool:
    """Whether a name can be shown, logged and used as a label: printable and of sane length."""
    return 0 < len(text) <= _LONGEST_NAME and text.isprintable()


def _known(decoder: Decoder[_T], raw: Raw) -> _T | None:
    """The value of an optional field, or None when it is absent, null or of another type."""
    try:
        return decoder.decode(raw)
    except DecodeError:
        return None


def _known_set(raw: Raw) -> frozenset[str] | None:
    words = _known(_words, raw)
    return None if words is None else frozenset(words)
