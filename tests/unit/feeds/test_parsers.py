"""Tests of parsing both feeds in the platform's format, with its gaps."""

from __future__ import annotations

from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.parsers import parse_catalog, parse_utilization
from autopilot.http.fetch_error import SHAPE, FetchError
from autopilot.routing.pricing import NO_PRICES, Prices
from tests.unit.feeds.records import MEASURED, catalog_body, entry, record, utilization_body


class CatalogTests(SynchronousTestCase):
    """The catalog feed."""

    def test_fields(self) -> None:
        """An entry's fields are mapped to the router's names."""
        (model,) = parse_catalog(catalog_body(entry())).models
        self.assertEqual(model.name, "acme/Model-1")
        self.assertEqual(model.chute_id, "chute-of-acme/Model-1")
        self.assertIs(model.tee, True)
        self.assertEqual(model.context_length, 96000)
        self.assertEqual(model.max_output_length, 65536)
        self.assertEqual(model.input_modalities, frozenset({"text", "image"}))
        self.assertEqual(model.features, frozenset({"json_mode", "tools"}))

    def test_order(self) -> None:
        """The feed's order, by popularity, is kept."""
        names = ["b", "a", "c"]
        parsed = parse_catalog(catalog_body(*map(entry, names)))
        self.assertEqual([model.name for model in parsed.models], names)

    def test_own_bytes(self) -> None:
        """Each model keeps its entry's JSON exactly: blanks, number formats, unknown keys."""
        first = b'{ "id" : "a", "price": 1.0, "big":1e400, "new":{"x":[1,  2]} }'
        second = b'{"id":"b\\u00e9","max_model_len":131072}'
        parsed = parse_catalog(b'{"data":[' + first + b" ,\n" + second + b"]}")
        self.assertEqual([model.raw for model in parsed.models], [first, second])
        self.assertEqual(parsed.models[1].name, "bé")

    def test_only_id(self) -> None:
        """An entry with little but an id, of an external backend, has unknown facts only."""
        (model,) = parse_catalog(b'{"data":[{"id":"a"}]}').models
        known = (
            model.chute_id,
            model.tee,
            model.context_length,
            model.max_output_length,
            model.input_modalities,
            model.features,
        )
        self.assertEqual(known, (None,) * 6)

    def test_context_length(self) -> None:
        """The advertised context precedes the engine's; an invalid one counts as absent."""
        for advertised, engine, expected in (
            (96000, 131072, 96000),
            (..., 131072, 131072),
            (None, 131072, 131072),
            ("96000", 131072, 131072),
            (0, 131072, 131072),
            (-1, 131072, 131072),
            (True, 131072, 131072),
            (2**70, 131072, 2**70),
            (96000, "x", 96000),
            (..., ..., None),
            (None, [], None),
        ):
            body = catalog_body(entry(context_length=advertised, max_model_len=engine))
            (model,) = parse_catalog(body).models
            self.assertEqual(model.context_length, expected, (advertised, engine))

    def test_wrong_optional_types(self) -> None:
        """An optional field of the wrong type is unknown, and does not cost the entry."""
        for key, values in {
            "chute_id": (5, "", None, ["a"]),
            "confidential_compute": ("true", 1, 0, None, []),
            "max_output_length": ("1", 1.5, 0, -5, True, {}),
            "input_modalities": ("text", [1], {"text": True}, None),
            "supported_features": ("tools", [None], {}, 3),
        }.items():
            for value in values:
                parsed = parse_catalog(catalog_body(entry(**{key: value})))
                (model,) = parsed.models
                attribute = {"confidential_compute": "tee", "supported_features": "features"}
                self.assertIsNone(getattr(model, attribute.get(key, key)), (key, value))
                self.assertEqual(parsed.rejected, 0)

    def check_prices(self, expected: Prices, **changes: object) -> None:
        """Check the prices of an entry."""
        (model,) = parse_catalog(catalog_body(entry(**changes))).models
        self.assertEqual(model.prices, expected, changes)

    def test_prices(self) -> None:
        """Prices are exact: those of ``pricing``, each else the one in dollars of ``price``."""
        price = {
            "input": {"usd": 0.3, "tao": 7},
            "output": {"usd": 1.2},
            "input_cache_read": {"usd": 0.03},
        }
        pricing = {"prompt": 0.1, "completion": 2, "input_cache_read": 0.045000000000000005}
        stated = Prices(Decimal("0.3"), Decimal("1.2"), Decimal("0.03"))
        self.check_prices(stated, price=price)
        self.check_prices(stated, price=price, pricing={"prompt": None})
        self.check_prices(
            Prices(Decimal("0.1"), Decimal(2), Decimal("0.045000000000000005")),
            price=price,
            pricing=pricing,
        )
        self.check_prices(
            Prices(Decimal("0.1"), Decimal("1.2"), Decimal("0.03")),
            price=price,
            pricing={"prompt": 0.1},
        )
        self.check_prices(Prices(prompt=Decimal(5)), price=..., pricing={"prompt": 5})
        self.check_prices(Prices(completion=Decimal(6)), price={"output": {"usd": 6}})
        self.check_prices(NO_PRICES, price=...)
        self.check_prices(NO_PRICES, price={"input": {"tao": 1}})
        unreadable: object
        for unreadable in (1.0, "free", [], {"input": 1}, None):
            self.check_prices(NO_PRICES, price=unreadable, pricing=[5])

    def test_amounts(self) -> None:
        """A price is a plain number that can be one; any other is unknown, and costs no entry."""
        for text, expected in (
            ("0", "0"),
            ("-0.0", "0"),
            ("0e-99", "0"),
            ("1e-9", "1e-9"),
            ("1e-10", None),
            ("1000000", "1000000"),
            ("1000000.1", None),
            ("-0.1", None),
            ("1e400", None),
            ("1e-99999999999999999999", None),
            ("1.5e0", "1.5"),
            ("0." + "1" * 22, "0." + "1" * 22),
            ("0." + "1" * 23, None),
            ('"0.1"', None),
            ("true", None),
            ("null", None),
            ("{}", None),
        ):
            body = b'{"data":[{"id":"a","pricing":{"prompt":%b}}]}' % text.encode()
            (model,) = parse_catalog(body).models
            price = None if expected is None else Decimal(expected)
            self.assertEqual(model.prices, Prices(prompt=price), text)
            if price == 0:
                self.assertEqual(str(model.prices.prompt), "0")

    def test_ids(self) -> None:
        """Entries without a usable id are counted as rejected; any printable id is usable."""
        good = ["acme/A", "no-slash", "with, comma", "with space", "ünï", "x" * 256]
        bad: list[object] = ["", "a\nb", "a\x00", "a\u2028b", "x" * 257, 5, None, ["a"]]
        body = catalog_body(*(entry(id=name) for name in good * 2), *(entry(id=b) for b in bad))
        parsed = parse_catalog(body)
        self.assertEqual([model.name for model in parsed.models], good)
        self.assertEqual(parsed.rejected, len(bad))

    def test_not_objects(self) -> None:
        """Entries that are not objects are counted as rejected."""
        parsed = parse_catalog(catalog_body(entry("a"), 5, entry("b"), None))
        self.assertEqual([model.name for model in parsed.models], ["a", "b"])
        self.assertEqual(parsed.rejected, 2)

    def test_duplicates(self) -> None:
        """Of two entries with one id the first counts; the other is not counted as rejected."""
        body = catalog_body(entry("a", chute_id="1"), entry("b"), entry("a", chute_id="2"))
        parsed = parse_catalog(body)
        self.assertEqual([model.chute_id for model in parsed.models], ["1", "chute-of-b"])
        self.assertEqual(parsed.rejected, 0)

    def test_empty(self) -> None:
        """An empty list is a valid catalog."""
        parsed = parse_catalog(b'{"object":"list","data":[]}')
        self.assertEqual((parsed.models, parsed.rejected), ((), 0))

    def test_mostly_unreadable(self) -> None:
        """Up to half of the entries may be unreadable."""
        self.assertEqual(parse_catalog(catalog_body(entry("a"), 1)).rejected, 1)
        error = self.assertRaises(FetchError, parse_catalog, catalog_body(entry("a"), 1, 2))
        self.assertEqual((error.outcome, str(error)), (SHAPE, "2 of 3 records unreadable"))
        self.assertRaises(FetchError, parse_catalog, catalog_body({}))


class UtilizationTests(SynchronousTestCase):
    """The utilization feed."""

    def test_fields(self) -> None:
        """A record's numbers are taken unchanged."""
        (load,) = parse_utilization(utilization_body(record())).loads
        self.assertEqual(load.name, "acme/Model-1")
        self.assertEqual(load.chute_id, "chute-of-acme/Model-1")
        self.assertEqual(load.active_instance_count, 4)
        self.assertEqual(load.utilization_current, 0.41)
        self.assertEqual(load.utilization_5m, 0.39)
        self.assertEqual(load.utilization_15m, 0.37)
        self.assertEqual(load.utilization_1h, 0.35)
        self.assertEqual(load.rate_limit_ratio_5m, 0.0)
        self.assertEqual(load.rate_limit_ratio_15m, 0.01)
        self.assertEqual(load.rate_limit_ratio_1h, 0.02)
        self.assertIs(load.scalable, True)
        self.assertEqual(load.scale_allowance, 1)

    def test_nulls_and_gaps(self) -> None:
        """Nullable numbers may be null or absent."""
        numbers = [key for key in record() if key.startswith(("utilization_", "rate_limit_"))]
        for gap in (None, ...):
            changes = dict.fromkeys([*numbers, "chute_id", "scalable", "scale_allowance"], gap)
            (load,) = parse_utilization(utilization_body(record(**changes))).loads
            self.assertEqual([getattr(load, key) for key in numbers], [None] * 7)
            self.assertEqual(
                (load.chute_id, load.scalable, load.scale_allowance), (None, False, None)
            )

    def test_more_than_full(self) -> None:
        """A utilization above 1 is valid, as the platform does not clamp it."""
        (load,) = parse_utilization(utilization_body(record(utilization_5m=1.7))).loads
        self.assertEqual(load.utilization_5m, 1.7)

    def test_whole_numbers(self) -> None:
        """An integer is valid for a ratio, because JSON encoders may drop the fraction."""
        (load,) = parse_utilization(utilization_body(record(utilization_1h=1))).loads
        self.assertEqual(load.utilization_1h, 1.0)

    def test_unreadable_records(self) -> None:
        """A record with a wrong type or an impossible number is rejected, without the others."""
        changes: tuple[dict[str, object], ...] = (
            {"name": 5},
            {"name": None},
            {"name": ...},
            {"name": ""},
            {"name": "a\nb"},
            {"chute_id": 7},
            {"active_instance_count": ...},
            {"active_instance_count": None},
            {"active_instance_count": -1},
            {"active_instance_count": 1.5},
            {"active_instance_count": "4"},
            {"active_instance_count": True},
            {"active_instance_count": 10**400},
            {"utilization_current": "0.4"},
            {"utilization_5m": -0.1},
            {"utilization_15m": [0.4]},
            {"utilization_1h": 1e308},
            {"rate_limit_ratio_5m": -1},
            {"rate_limit_ratio_15m": False},
            {"rate_limit_ratio_1h": {}},
            {"scalable": 1},
            {"scale_allowance": -1},
            {"scale_allowance": 0.5},
        )
        for change in changes:
            body = utilization_body(record("a"), record("odd", **change))
            parsed = parse_utilization(body)
            self.assertEqual([load.name for load in parsed.loads], ["a"], change)
            self.assertEqual(parsed.rejected, 1)

    def test_beyond_float(self) -> None:
        """A number beyond the range of a float rejects its own record only."""
        body = b'[{"name":"a","active_instance_count":1},{"name":"b","active_instance_count":1,'
        parsed = parse_utilization(body + b'"utilization_5m":1e400}]')
        self.assertEqual(([load.name for load in parsed.loads], parsed.rejected), (["a"], 1))

    def test_times(self) -> None:
        """The newest time of a readable record is that of the feed; without a zone it is UTC."""
        day = "2026-02-18T"
        for times, newest in (
            ([...], None),
            ([None, 5, "yesterday", "", "0001-01-01T00:00:00+14:00x"], None),
            ([f"{day}05:48:08.568123"], MEASURED),
            ([f"{day}05:48:08.568123Z", f"{day}05:00:00", "soon"], MEASURED),
            ([f"{day}05:48:08.568123", f"{day}07:00:00+02:00"], MEASURED),
        ):
            records = [record(str(place), timestamp=time) for place, time in enumerate(times)]
            unreadable = record("bad", active_instance_count=-1, timestamp="2030-01-01T00:00:00")
            parsed = parse_utilization(utilization_body(*records, unreadable))
            self.assertEqual((len(parsed.loads), parsed.measured_at), (len(times), newest), times)

    def test_duplicates(self) -> None:
        """A chute counts once; private chutes share a name but are different chutes."""
        body = utilization_body(
            record("[private chute]", chute_id="1"),
            record("[private chute]", chute_id="2", active_instance_count=9),
            record("[private chute]", chute_id="1", active_instance_count=8),
        )
        parsed = parse_utilization(body)
        counts = [(load.chute_id, load.active_instance_count) for load in parsed.loads]
        self.assertEqual(counts, [("1", 4), ("2", 9)])
        self.assertEqual(parsed.rejected, 0)

    def test_empty(self) -> None:
        """A feed without records is a failed refresh: the platform always has some."""
        error = self.assertRaises(FetchError, parse_utilization, b" [ ] ")
        self.assertEqual((error.outcome, str(error)), (SHAPE, "no records"))

    def test_mostly_unreadable(self) -> None:
        """Up to half of the records may be unreadable."""
        self.assertEqual(parse_utilization(utilization_body(record("a"), {})).rejected, 1)
        self.assertRaises(FetchError, parse_utilization, utilization_body(record("a"), {}, 4))
        error = self.assertRaises(FetchError, parse_utilization, utilization_body({}))
        self.assertEqual(error.outcome, SHAPE)
