"""Tests of the file of routes: its values, and one line for each of its faults."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import Settings, SettingsError
from autopilot.settings.files.routes import PriceLimit, RouteEntry, RoutesFile, RoutesSetting
from autopilot.settings.reload import change

_ALL = """
[routes.coder]
models = ["acme/A", "*-TEE", " acme/B ", "acme/A", "chutesai/AutoPilot"]
commit = "complete"
failover_after_ms = 1
plain_failover_after_ms = 86400000
tee = true
max_price = { prompt = 0.1, completion = 2 }
needs = ["tools", "images", "tools", "response_format"]
min_context = 1
private = true

[routes."team/a.b_C-9"]
models = ["x"]
"""


class FileTestCase(SynchronousTestCase):
    """A file in a directory of its own."""

    def setUp(self) -> None:
        """Make the directory."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "routes.toml"

    def read(self, text: str | bytes) -> tuple[RouteEntry, ...]:
        """Return the routes in this text."""
        self.path.write_bytes(text.encode() if isinstance(text, str) else text)
        file = RoutesSetting().check(str(self.path))
        assert isinstance(file, RoutesFile)
        self.assertEqual(file.path, str(self.path))
        return file.routes

    def faults(self, text: str | bytes) -> list[str]:
        """Return the lines of this text's faults, without the file's name."""
        lines = str(self.assertRaises(ValueError, self.read, text)).split("\n")
        for line in lines:
            self.assertTrue(line.startswith("'"), line)
            self.assertTrue(line.isascii() and line.isprintable(), line)
        return [line.partition("routes.toml': ")[2] for line in lines]

    def of_member(self, line: str) -> list[str]:
        """Return the faults of a route with this line, without their place."""
        found = self.faults(f'[routes.r]\nmodels = ["a"]\n{line}')
        name = line.partition(" ")[0]
        for each in found:
            self.assertTrue(each.startswith(f"routes.r.{name}: "), each)
        return [each.partition(": ")[2] for each in found]


class ValuesTests(FileTestCase):
    """What a valid file says."""

    def test_every_member(self) -> None:
        """Blanks around names and repetitions do not count; prices are exact."""
        self.assertEqual(
            self.read(_ALL),
            (
                RouteEntry(
                    "coder",
                    ("acme/A", "*-TEE", "acme/B", "chutesai/AutoPilot"),
                    commit="complete",
                    failover_after_ms=1,
                    plain_failover_after_ms=86400000,
                    tee=True,
                    max_price=PriceLimit(Decimal("0.1"), Decimal(2)),
                    needs=("tools", "images", "response_format"),
                    min_context=1,
                    private=True,
                ),
                RouteEntry("team/a.b_C-9", ("x",)),
            ),
        )

    def test_absent(self) -> None:
        """Nothing but the models is required."""
        (route,) = self.read('[routes.r]\nmodels = ["a"]\n')
        self.assertEqual(
            route,
            RouteEntry(
                "r", ("a",), None, None, None, False, PriceLimit(None, None), (), None, False
            ),
        )

    def test_one_price(self) -> None:
        """A limit may concern one kind of tokens."""
        (route,) = self.read('[routes.r]\nmodels = ["a"]\nmax_price = { completion = 0 }\n')
        self.assertEqual(route.max_price, PriceLimit(completion=Decimal(0)))
        (route,) = self.read('[routes.r]\nmodels = ["a"]\nmax_price = { prompt = 0e-999999 }\n')
        self.assertEqual(str(route.max_price.prompt), "0")  # a page shows it
        (route,) = self.read('[routes.r]\nmodels = ["a"]\nmax_price = { prompt = 1e-9 }\n')
        self.assertEqual(route.max_price, PriceLimit(prompt=Decimal("1e-9")))
        (route,) = self.read('[routes.r]\nmodels = ["a"]\nmax_price = { prompt = 1000000 }\n')
        self.assertEqual(route.max_price, PriceLimit(prompt=Decimal(1_000_000)))

    def test_no_routes(self) -> None:
        """A file without routes is valid; so is one that begins with a byte order mark."""
        self.assertEqual(len(self.read('\ufeff[routes.r]\nmodels = ["a"]\n')), 1)
        for text in ("", "# later\n", "[routes]\n"):
            self.assertEqual(self.read(text), ())

    def test_over_a_model(self) -> None:
        """A route may list the model of its own name, and then others may list it, too."""
        text = '[routes."acme/A"]\nmodels = ["acme/A", "*"]\n[routes.r]\nmodels = ["acme/A"]\n'
        self.assertEqual([route.name for route in self.read(text)], ["acme/A", "r"])


class FaultsTests(FileTestCase):
    """Each fault is a line with the file, the route and its member."""

    def test_all_at_once(self) -> None:
        """The file is checked as a whole, in its order."""
        self.assertEqual(
            self.faults(
                """
                title = "routes"
                [routes.one]
                models = []
                commit = "soon"
                [routes."two words"]
                models = ["a"]
                [routes.three]
                tea = true
                """
            ),
            [
                "title: not known; the file has a table [routes.NAME] for each route",
                "routes.one.models: [] is no list of names; give at least one",
                "routes.one.commit: 'soon' is not known; give byte, content or complete",
                "routes.'two words': not a name; give letters, digits and ._/- (256 at most)",
                "routes.three.tea: not known; did you mean tee?",
                "routes.three.models: missing; give a list of names",
            ],
        )

    def test_names(self) -> None:
        """A name must be fit for a header, a path and a list."""
        for name in ("", "a,b", "a:latency", "ä", "a b", "a*", "x" * 257):
            (fault,) = self.faults(f'[routes."{name}"]\nmodels = ["a"]\n')
            self.assertIn(": not a name; give letters, digits", fault)
        self.assertEqual(len(self.read(f'[routes.{"x" * 256}]\nmodels = ["a"]\n')), 1)

    def test_models(self) -> None:
        """Each item that is no name has its own line."""
        self.assertEqual(
            self.faults('[routes.r]\nmodels = ["a", 5, " ", "a,b", "a\\u0007"]'),
            [
                "routes.r.models: 5 is not the name of a model",
                "routes.r.models: ' ' is not the name of a model",
                "routes.r.models: 'a,b' has a comma; give each name as an item",
                r"routes.r.models: 'a\x07' is not the name of a model",
            ],
        )
        self.assertEqual(len(self.faults(f'[routes.r]\nmodels = ["{"x" * 257}"]')), 1)
        self.assertEqual(len(self.read(f'[routes.r]\nmodels = ["{"x" * 256}"]')), 1)
        for models in ('"a"', "{ a = 1 }", "true"):
            (fault,) = self.faults(f"[routes.r]\nmodels = {models}")
            self.assertIn("is no list of names; give at least one", fault)

    def test_numbers(self) -> None:
        """Whole numbers have limits, and quote what is written."""
        for name, unit, most in (
            ("failover_after_ms", "ms", 86400000),
            ("plain_failover_after_ms", "ms", 86400000),
            ("min_context", "tokens", 1000000000),
        ):
            limits = f"give 1 to {most} {unit}"
            for value, problem in (
                ("0", f"0 is out of range; {limits}"),
                (str(most + 1), f"{most + 1} is out of range; {limits}"),
                ("1.5", f"'1.5' is not a whole number; {limits}"),
                ('"5"', f"'5' is not a whole number; {limits}"),
                ("true", f"True is not a whole number; {limits}"),
            ):
                self.assertEqual(self.of_member(f"{name} = {value}"), [problem])
            self.assertEqual(len(self.read(f'[routes.r]\nmodels = ["a"]\n{name} = {most}')), 1)

    def test_switches(self) -> None:
        """A switch is true or false."""
        for name in ("tee", "private"):
            expected = ["'yes' is neither yes nor no; give true or false"]
            self.assertEqual(self.of_member(f'{name} = "yes"'), expected)

    def test_commit(self) -> None:
        """A commit point is one of three words."""
        for value in ("5", "[]", '"Byte"'):
            (problem,) = self.of_member(f"commit = {value}")
            self.assertTrue(problem.endswith("is not known; give byte, content or complete"))
        for value in ("byte", "content", "complete"):
            (route,) = self.read(f'[routes.r]\nmodels = ["a"]\ncommit = "{value}"')
            self.assertEqual(route.commit, value)

    def test_prices(self) -> None:
        """Limits are numbers of dollars of two kinds."""
        most = "is no price; give dollars, 0 to 1000000"
        self.assertEqual(
            self.of_member('max_price = { prompt = -0.1, completion = "2", input = 1 }'),
            [
                f"prompt: '-0.1' {most}",
                f"completion: '2' {most}",
                "'input' is not known; give prompt and completion",
            ],
        )
        for value in ("1000000.01", "nan", "inf", "-inf", "true", "[1]", "1e-10", "1e-999999999"):
            (problem,) = self.of_member(f"max_price = {{ prompt = {value} }}")
            self.assertTrue(problem.endswith(most), problem)
        for value in ("5", "{}", "1.5"):
            (problem,) = self.of_member(f"max_price = {value}")
            expected = "is no price; give { prompt = 0.5, completion = 2 }"
            self.assertTrue(problem.endswith(expected), problem)

    def test_needs(self) -> None:
        """Needs are words of a set."""
        known = "give any of tools, images, response_format"
        self.assertEqual(self.of_member('needs = "tools"'), [f"'tools' is not a list; {known}"])
        self.assertEqual(
            self.of_member('needs = ["tools", "audio", 5]'),
            [f"'audio' is not known; {known}", f"5 is not known; {known}"],
        )

    def test_unknown_members(self) -> None:
        """A member that does not exist has the one that was meant, or all of them."""
        (fault,) = self.faults('[routes.r]\nmodels = ["a"]\nfailover_after = 5\n')
        self.assertEqual(
            fault, "routes.r.failover_after: not known; did you mean failover_after_ms?"
        )
        (fault,) = self.faults('[routes.r]\nmodels = ["a"]\nzzz = 5\n')
        self.assertTrue(fault.startswith("routes.r.zzz: not known; give models, commit, "))
        self.assertTrue(fault.endswith(", private"))
        (fault,) = self.faults('[routes.r]\nmodels = ["a"]\n"zz\\n" = 5\n')
        self.assertTrue(fault.startswith(r"routes.r.'zz\n': not known"))

    def test_dots(self) -> None:
        """A name with a dot and without quotes is two, which is said."""
        fault, missing = self.faults('[routes.glm-5.1]\nmodels = ["a"]\n')
        hint = "a name with a dot needs quotes: [routes.'name.name']"
        self.assertEqual(fault, f"routes.glm-5.1: not known; {hint}")
        self.assertEqual(missing, "routes.glm-5.models: missing; give a list of names")

    def test_nested(self) -> None:
        """A route in a route is a fault, whichever comes first; so is one in itself by another."""
        text = '[routes.one]\nmodels = ["two"]\n[routes.two]\nmodels = ["a", "one"]\n'
        problem = "is a route, and routes hold no routes; list its models"
        self.assertEqual(
            self.faults(text),
            [f"routes.one.models: 'two' {problem}", f"routes.two.models: 'one' {problem}"],
        )

    def test_nested_beside_other_faults(self) -> None:
        """A fault of either route hides nothing of that."""
        text = '[routes.one]\nmodels = [" two ", 5, "two"]\n[routes.two]\nmodels = ["a"]\ntea = 1\n'
        self.assertEqual(
            self.faults(text),
            [
                "routes.one.models: 5 is not the name of a model",
                "routes.two.tea: not known; did you mean tee?",
                "routes.one.models: 'two' is a route, and routes hold no routes; list its models",
            ],
        )

    def test_long_numbers(self) -> None:
        """A number that Python would not write in decimal is named by its member."""
        number = "0x" + "f" * 5000
        for line in (
            f"min_context = {number}",
            f"max_price = {{ prompt = {number} }}",
            f"needs = [{number}]",
            f"tee = {number}",
        ):
            self.assertEqual(self.of_member(line), ["a number is too long"])
        (fault,) = self.faults(f"[routes.r]\nmodels = [[{number}]]\n")
        self.assertEqual(fault, "routes.r.models: a number is too long")

    def test_not_tables(self) -> None:
        """Routes are tables in a table."""
        self.assertEqual(
            self.faults("routes = 5\n"), ["routes: not a table; write [routes.NAME] for each route"]
        )
        self.assertEqual(
            self.faults("[routes]\nr = 5\n"), ["routes.r: not a table; write [routes.r]"]
        )

    def test_not_toml(self) -> None:
        """What cannot be read at all is one line."""
        for text, problem in (
            ("[routes.r\n", "not TOML: Expected ']' at the end of a table declaration (at line 1"),
            ('[routes.r]\nmodels = ["a"]\n[routes.r]\n', "not TOML: Cannot declare"),
            (b"\xff", "not UTF-8 text"),
            ("x = " + "9" * 5000, "a number is too long"),
            ("x = 1e" + "9" * 30, "a number is too long"),
            ("x = " + "[" * 100_000, "nested too deeply"),
            ("#" * (1 << 20) + "\n", "longer than 1048576 bytes"),
        ):
            (fault,) = self.faults(text)
            self.assertTrue(fault.startswith(problem), fault)
        self.assertEqual(self.read("#" * (1 << 20)), ())

    def test_no_file(self) -> None:
        """A path must lead to a file that can be read."""
        for path in ("/no/such", str(self.folder)):
            error = self.assertRaises(ValueError, RoutesSetting().check, path)
            self.assertIn("is not a file; give the path of a readable file", str(error))
        error = self.assertRaises(ValueError, RoutesSetting().parse, 5)
        self.assertIn("5 is not a file", str(error))


class SettingTests(FileTestCase):
    """The variable, beside other ones."""

    def problems(self, text: str, **others: str) -> tuple[str, ...]:
        """Return the lines with which settings with this file are refused."""
        self.path.write_text(text)
        options = {"ROUTES_FILE": str(self.path), **others}
        error = self.assertRaises(SettingsError, Settings.load, options, environ={})
        return tuple(each.replace(str(self.folder), "") for each in error.problems)

    def test_values(self) -> None:
        """The value is the file as it was read; its text is the path."""
        self.assertIsNone(RoutesSetting().check(None))
        self.assertEqual(RoutesSetting().show(None), "")
        self.path.write_text(_ALL)
        settings = Settings(routes_file=str(self.path))
        file = settings.routes_file
        assert isinstance(file, RoutesFile)
        self.assertEqual(len(file.routes), 2)
        self.assertEqual(RoutesSetting().show(file), str(self.path))
        self.path.unlink()
        self.assertEqual(Settings(routes_file=file), settings)

    def test_lines(self) -> None:
        """Every fault is a line, beside those of other variables."""
        self.assertEqual(
            self.problems("[routes.r]\nmodels = []\ntea = 1\n", COMMIT="x"),
            (
                (
                    "ROUTES_FILE: '/routes.toml': routes.r.models: [] is no list of names; give at"
                    " least one"
                ),
                "ROUTES_FILE: '/routes.toml': routes.r.tea: not known; did you mean tee?",
                "COMMIT: 'x' is not known; give byte, content or complete",
            ),
        )

    def test_aliases(self) -> None:
        """No alias may be a route, nor stand before the last item, in any case."""
        text = (
            '[routes.best]\nmodels = ["a"]\n[routes.r]\nmodels = ["AUTO", "b", "Auto"]\n'
            '[routes.s]\nmodels = ["auto"]\n'
        )
        expected = (
            (
                "ROUTES_FILE: '/routes.toml': routes.best: 'best' is an alias (ALIASES); rename one"
                " of the two"
            ),
            (
                "ROUTES_FILE: '/routes.toml': routes.r.models: the alias 'AUTO' can only be the"
                " last item"
            ),
        )
        self.assertEqual(self.problems(text, ALIASES="Best,auto"), expected)
        # Aliases that are refused themselves are one mistake, not two.
        (problem,) = self.problems(text, ALIASES="best,a b")
        self.assertTrue(problem.startswith("ALIASES: "))

    def test_patterns(self) -> None:
        """A pattern in ALIASES is no alias that a route could hold: there it stands for models."""
        self.path.write_text('[routes.r]\nmodels = ["gpt-*", "a"]\n')
        options = {"ROUTES_FILE": str(self.path), "ALIASES": "auto,gpt-*"}
        file = Settings.load(options, environ={}).routes_file
        assert isinstance(file, RoutesFile)
        self.assertEqual(file.routes[0].models, ("gpt-*", "a"))

    def test_change(self) -> None:
        """Another content under the same path is a change, another layout is none."""
        path = str(self.path)
        self.path.write_text('[routes.r]\nmodels = ["a"]\n')
        before = Settings(routes_file=path)
        self.path.write_text('# The same.\n[routes.r]\nmodels = [ "a" ]\n')
        self.assertEqual(change(before, Settings(routes_file=path)).changed, ())
        self.path.write_text('[routes.r]\nmodels = ["b"]\n')
        found = change(before, Settings(routes_file=path))
        self.assertEqual((found.changed, found.waiting), (("ROUTES_FILE",), ()))
        file = found.settings.routes_file
        assert isinstance(file, RoutesFile)
        self.assertEqual(file.routes[0].models, ("b",))
