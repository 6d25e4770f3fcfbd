"""Tests of ``autopilot explain``: the router's own plan, and the reasons of its exclusions."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.web.resource import Resource

from autopilot.routing.steps import result_of
from autopilot.settings import Settings
from autopilot.wiring.parts import Parts
from tests.unit.cli.asked import ALIAS, CommandTestCase
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body

PICTURE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}


class ExplainTestCase(CommandTestCase):
    """Three ranked models: C before B before A-TEE."""

    def setUp(self) -> None:
        """Save both feeds."""
        super().setUp()
        self.files = self.saved(
            catalog_body(
                entry("acme/A-TEE", chute_id="a", input_modalities=["text"], max_output_length=10),
                entry("acme/B", chute_id="b", confidential_compute=False, supported_features=[]),
                entry("acme/C", chute_id="c", input_modalities=["text"]),
            ),
            utilization_body(
                record("acme/A-TEE", chute_id="a", active_instance_count=2),
                record("acme/B", chute_id="b", active_instance_count=9),
                record("acme/C", chute_id="c", active_instance_count=12),
                record("[private chute]", chute_id="p"),
            ),
        )

    def body(self, **members: object) -> list[str]:
        """Save a body, and return its argument."""
        Path("body.json").write_text(json.dumps({"model": ALIAS, **members}))
        return ["--body", "body.json"]

    def names(self, *arguments: str) -> list[str]:
        """Return the candidates in order."""
        got = self.ask_json("explain", *arguments, *self.files)
        return [each["name"] for each in got["candidates"]]


class PlanTests(ExplainTestCase):
    """Candidates and excluded models."""

    def test_words(self) -> None:
        """The text has the order with scores, the limits and the excluded models."""
        status, said = self.ask("explain", ALIAS, *self.files)
        self.assertEqual(status, 0)
        lines = said.splitlines()
        self.assertEqual(lines[0], "mode      alias")
        self.assertEqual(lines[1], "sticks    by its client alone")
        names = [line.split()[1] for line in lines[3:6]]
        self.assertEqual(names, ["acme/C", "acme/B", "acme/A-TEE"])
        self.assertEqual({line.split()[2] for line in lines[3:6]}, {"best"})
        self.assertIn("attempts  at most 3 (MAX_ATTEMPTS 8), by the standard policy", said)
        self.assertIn("commit    content: at the first content", said)
        self.assertIn("failover  after 12 s", said)
        self.assertIn("not eligible: 1 private", said)

    def test_needs(self) -> None:
        """The router's parser reads the body's needs; each excluded model has a reason."""
        body = self.body(messages=[PICTURE], tools=[{}], max_tokens=100)
        got = self.ask_json("explain", *body, *self.files)
        self.assertEqual(got["needs"], {"images": True, "tools": True, "completion_tokens": 100})
        self.assertEqual(
            got["dropped"],
            [
                {"name": "acme/C", "cause": "lacks", "lacks": ["images"]},
                {"name": "acme/B", "cause": "lacks", "lacks": ["tools"]},
                {"name": "acme/A-TEE", "cause": "lacks", "lacks": ["images", "completion_tokens"]},
            ],
        )
        self.assertEqual((got["outcome"], got["error"]["code"]), ("refused", "no_capable_model"))
        status, said = self.ask("explain", *body, *self.files)
        self.assertEqual(status, 1)
        self.assertIn("needs     images, tools, completion_tokens 100", said)
        self.assertIn("refused with 400 no_capable_model", said)
        self.assertIn("left out  acme/A-TEE: no images, completion_tokens up to 10", said)

    def test_tee(self) -> None:
        """TEE only, by header and by setting."""
        header = ["--header", "x-tee-only: true"]
        self.assertEqual(self.names(ALIAS, *header), ["acme/C", "acme/A-TEE"])
        self.environ["REQUIRE_TEE"] = "true"
        got = self.ask_json("explain", ALIAS, *self.files)
        self.assertEqual(
            got["dropped"], [{"name": "acme/B", "cause": "not_confidential", "lacks": []}]
        )
        self.assertTrue(got["tee_only"])
        _, said = self.ask("explain", "acme/B", *self.files)
        self.assertIn("refused with 400 tee_required", said)
        self.assertIn("left out  acme/B: not marked as running in a TEE", said)
        self.assertIn("TEE only  by REQUIRE_TEE", said)

    def test_private(self) -> None:
        """Private mode by header, alias and setting: only confidential models, and what asks."""
        self.environ["PRIVATE"] = "ask"
        for arguments, by, words in (
            ([ALIAS, "--header", "X-Autopilot-Private: require"], "header", "X-Autopilot-Private"),
            (["chutesai/AutoPilot-Private"], "model", "the model that it names"),
        ):
            got = self.ask_json("explain", *arguments, *self.files)
            self.assertEqual([each["name"] for each in got["candidates"]], ["acme/C", "acme/A-TEE"])
            self.assertEqual((got["private"], got["tee_only"]), (by, True))
            _, said = self.ask("explain", *arguments, *self.files)
            self.assertIn(f"private   by {words}: encrypted to at most 3 instances", said)
            self.assertNotIn("TEE only", said)
        self.assertIsNone(self.ask_json("explain", ALIAS, *self.files)["private"])
        self.environ["PRIVATE"] = "always"
        got = self.ask_json("explain", "acme/b", *self.files)
        self.assertEqual((got["private"], got["error"]["code"]), ("setting", "tee_required"))
        self.assertEqual(self.names("acme/a:THINKING"), ["acme/A-TEE"])
        self.environ["PRIVATE"] = "off"
        status, said = self.ask("explain", "chutesai/AutoPilot-Private", *self.files)
        self.assertEqual(status, 1)
        self.assertIn("refused with 400 private_unsupported", said)

    def test_selectors(self) -> None:
        """Lists keep their order, a direct name is one candidate, an unknown name is an error."""
        self.assertEqual(self.names("acme/B, acme/C"), ["acme/B", "acme/C"])
        self.assertEqual(self.names("acme/B"), ["acme/B"])
        for selector, whys in (
            (f"acme/B,{ALIAS}", ["listed", "best", "best"]),
            ("acme/B", ["direct"]),
        ):
            got = self.ask_json("explain", selector, *self.files)
            self.assertEqual([each["why"] for each in got["candidates"]], whys, selector)
        got = self.ask_json("explain", "acme/B,acme/CC", *self.files)
        self.assertEqual(got["dropped"], [{"name": "acme/CC", "cause": "unknown", "lacks": []}])
        self.assertIn("did you mean 'acme/C'", got["error"]["message"])
        self.environ["UNKNOWN_MODELS"] = "forward"
        self.assertEqual(self.names("acme/B,acme/CC"), ["acme/B", "acme/CC"])
        self.environ["ALIASES"] = "best"
        self.assertEqual(len(self.names("best")), 3)
        got = self.ask_json("explain", ",", *self.files)
        self.assertEqual((got["mode"], got["error"]["code"]), (None, "invalid_model_list"))

    def test_unlisted_names(self) -> None:
        """A name that is left to the router's choice is explained as the alias, by a setting."""
        for name, value in (("ALIASES", f"{ALIAS},gpt-*"), ("UNKNOWN_MODELS", "alias")):
            self.environ[name] = value
            got = self.ask_json("explain", "gpt-4o", *self.files)
            self.assertEqual(
                (got["mode"], got["alias_by"], len(got["candidates"])), ("alias", name, 3)
            )
            self.assertIsNone(self.ask_json("explain", "acme/c", *self.files)["alias_by"])
            self.assertIsNone(self.ask_json("explain", ALIAS, *self.files)["alias_by"])
            _, said = self.ask("explain", "gpt-4o", *self.files)
            by = {"ALIASES": "a pattern in ALIASES"}.get(name, name)
            line = f"name      'gpt-4o' is not in the catalog: by {by} the router chooses"
            self.assertEqual(said.splitlines()[:2], ["mode      alias", line])
            del self.environ[name]

    def sticks(self, *arguments: str) -> tuple[object, str]:
        """Return the conversation in the object, and its line in the text."""
        got = self.ask_json("explain", *arguments, *self.files)["conversation"]
        _, said = self.ask("explain", *arguments, *self.files)
        lines = [line for line in said.splitlines() if line.startswith("sticks ")]
        return got and tuple(got.values()), "".join(lines).removeprefix("sticks").strip()

    def test_conversation(self) -> None:
        """A header, the body, its opening or the client tells it; or it is not to stick."""
        session = ["--header", "X-Session-Id: 7f"]
        for arguments, told, words in (
            ([ALIAS], "client", "by its client alone"),
            ([ALIAS, *session], "header x-session-id", "by its conversation (header x-session-id)"),
            (
                self.body(prompt_cache_key="k", session_id="s"),
                "body prompt_cache_key",
                "by its conversation (body prompt_cache_key)",
            ),
        ):
            self.assertEqual(self.sticks(*arguments), ((told, None, None), words))
        for body, told in (
            ({"session_id": "s", "prompt_cache_key": ""}, "body session_id"),
            ({"messages": [{"role": "user", "content": "hi"}]}, "opening"),
            ({"messages": []}, "client"),
        ):
            self.assertEqual(self.sticks(*self.body(**body))[0], (told, None, None))
        self.assertEqual(self.sticks("acme/B", *session), (None, ""))
        off = "X-Autopilot-Affinity: off"
        said = self.sticks(ALIAS, "--header", off)
        self.assertEqual(said, ((None, None, "off"), "not: X-Autopilot-Affinity is off"))
        self.environ["STICKY_SCOPE"] = "client"
        self.assertEqual(self.sticks(ALIAS, *session)[1], "by its client alone")
        self.environ["STICKY_TTL_SECS"] = "0"
        said = self.sticks(ALIAS, *session)
        self.assertEqual(said, ((None, None, "off"), "not: STICKY_TTL_SECS is 0"))

    def test_remembered(self) -> None:
        """With the model that the conversation had it is shown whether it stays, and why not."""
        for selector, model, known, words in (
            (ALIAS, "acme/b", ("hit", None), "hit"),
            (
                *(ALIAS, "acme/Z", ("miss", "gone")),
                "miss, because the remembered model is no candidate",
            ),
            (
                *("acme/B,acme/C", "acme/C", ("moved", "listed")),
                "moved, because its list or route names another model first",
            ),
        ):
            said = self.sticks(selector, "--remembered", model)
            self.assertEqual(said, (("client", *known), f"by its client alone: {words}"))
        got = self.ask_json("explain", ALIAS, "--remembered", "acme/b", *self.files)
        self.assertEqual(
            [(each["name"], each["why"]) for each in got["candidates"]],
            [("acme/B", "sticky"), ("acme/C", "best"), ("acme/A-TEE", "best")],
        )

    def test_limits(self) -> None:
        """Candidates beyond MAX_ATTEMPTS are marked in the object and counted in the text."""
        self.environ["MAX_ATTEMPTS"] = "2"
        got = self.ask_json("explain", ALIAS, *self.files)
        self.assertEqual([each["tried"] for each in got["candidates"]], [True, True, False])
        header = ["--header", "X-Autopilot-Commit: byte"]
        got = self.ask_json("explain", ALIAS, *header, *self.files)
        self.assertEqual(
            got["limits"],
            {
                "max_attempts": 2,
                "commit": "byte",
                "failover_policy": "standard",
                "failover_after_ms": 12000,
                "plain_failover_after_ms": 180000,
            },
        )
        _, said = self.ask("explain", ALIAS, *header, *self.files)
        self.assertIn("and 1 more that are not reached (--all)", said)
        self.assertIn("commit    byte: at the first byte", said)
        self.assertNotIn("A-TEE", said)
        self.assertRegex(self.ask("explain", ALIAS, "--all", *self.files)[1], "A-TEE.*not reached")

    def test_shape(self) -> None:
        """The object has the same keys with and without candidates."""
        for selector in (ALIAS, "nobody", ","):
            got = self.ask_json("explain", selector, *self.files)
            self.assertEqual(
                set(got),
                {
                    *("outcome", "mode", "order", "needs", "tee_only", "candidates", "dropped"),
                    *("limits", "error", "not_eligible", "alias_by", "conversation", "route"),
                    *("private", "last_resort"),
                },
            )

    def test_bodies(self) -> None:
        """The selector replaces the body's model; an invalid body gets the router's error."""
        self.assertEqual(self.names("acme/B", *self.body(n=1e300)), ["acme/B"])
        Path("body.json").write_text('{"seed": 1e400, "max_tokens": 5, "model": null}')
        self.assertEqual(len(self.names(ALIAS, "--body", "body.json")), 3)
        for text, code in (("{", "invalid_json"), ("[]", "invalid_body"), ("{}", "missing_model")):
            Path("body.json").write_text(text)
            got = self.ask_json("explain", "--body", "body.json", *self.files)
            self.assertEqual(got["error"]["code"], code)
        got = self.ask_json("explain", ALIAS, "--header", "X-Autopilot-Commit: x", *self.files)
        self.assertEqual(got["error"]["code"], "invalid_commit")

    def test_bad_input(self) -> None:
        """Invalid input gives one error line."""
        self.assertIn("MODEL_SELECTOR", self.refused("explain", *self.files))
        self.assertIn("Unicode", self.refused("explain", "\udcff", *self.files))
        for header in ("x", ": y", "é: y", "x: \u20ac"):
            said = self.refused("explain", ALIAS, "--header", header)
            self.assertTrue(said.startswith("--header: "), said)
        self.assertIn("No such file", self.refused("explain", ALIAS, "--body", "nowhere"))
        self.assertIn("--router: ", self.refused("explain", ALIAS, "--router", "ftp://x"))
        said = self.refused("explain", ALIAS, "--router", "http://x", *self.files)
        self.assertEqual(said, "--router excludes --models and --utilization")


class RouterTests(ExplainTestCase):
    """Plans with the state of a running router, from its real pages."""

    def setUp(self) -> None:
        """Start a router with both feeds and some measurements."""
        super().setUp()
        self.clock = MemoryReactorClock()  # the status is rendered in several turns
        self.parts = Parts(Settings(), self.clock)
        result_of(self.parts.control.read("catalog", Path("models.json").read_bytes()))
        result_of(self.parts.control.read("utilization", Path("load.json").read_bytes()))
        for client in (b"x", b"y", b"z"):
            self.parts.tables.breaker.failed(client, "acme/C", 0.0, 0.0)
        self.parts.tables.latency.started("acme/A-TEE", 0.25, 0.0)
        self.parts.tables.latency.record_rate("acme/A-TEE", 80.0, 0.0)
        self.join(self.parts.tree())

    def test_known(self) -> None:
        """Cooling models rank last and measured ones by their measurements; aliases are skipped."""
        got = self.ask_json("explain", ALIAS, "--router", "http://router.test/")
        found = [(each["name"], each["cooling"]) for each in got["candidates"]]
        self.assertEqual(found, [("acme/B", False), ("acme/A-TEE", False), ("acme/C", True)])
        got = self.ask_json("explain", f"{ALIAS}:latency", "--router", "http://router.test")
        first = got["candidates"][0]
        self.assertEqual((first["name"], first["first_content_seconds"]), ("acme/A-TEE", 0.25))
        self.assertEqual(first["tokens_per_second"], 80.0)
        self.assertEqual(got["order"], "latency")
        status, said = self.ask("explain", ALIAS, "--router", "http://router.test")
        self.assertEqual(status, 0)
        self.assertRegex(said, r"acme/C .*cooling")
        self.assertRegex(said, r"acme/A-TEE +best +\d+\.\d\d +0\.25 s +80")
        got = self.ask_json(
            "explain", ALIAS, "--remembered", "acme/C", "--router", "http://router.test"
        )
        self.assertEqual(
            got["conversation"],
            {"told_by": "client", "affinity": "moved", "affinity_why": "cooling"},
        )
        body = self.body(tools=[{}])
        got = self.ask_json("explain", *body, "--router", "http://router.test")
        self.assertEqual([each["name"] for each in got["dropped"]], ["acme/B"])

    def test_status_apart(self) -> None:
        """If the address serves no models, the catalog comes from MODELS_URL."""
        self.join(self.parts.tree(clients=False))
        ended, _ = self.begun("explain", ALIAS, "--router", "http://admin.test")
        # There is nothing at MODELS_URL either, in this test.
        said = str(self.failureResultOf(ended).value)
        self.assertEqual(said, "the router's list of models could not be read: status 404")

    def test_no_router(self) -> None:
        """Another kind of server is an error."""
        self.join(self.stub.resource)
        said = self.refused("explain", ALIAS, "--router", "http://router.test")
        self.assertEqual(
            said,
            "the router's /status.json could not be read: status 404; --router takes the address of"
            " its /status page (ADMIN_LISTEN_ADDR)",
        )
        page = Resource()
        page.putChild(b"status.json", _Says(b"[]"))
        self.join(page)
        said = self.refused("explain", ALIAS, "--router", "http://router.test")
        self.assertEqual(said, "the router's /status.json is not a JSON object")

    def test_another_version(self) -> None:
        """Missing or malformed members count as absent."""
        page, models = Resource(), Resource()
        page.putChild(b"status.json", _Says(b'{"ranking": [{"name": 7}], "cooling": 1}'))
        page.putChild(b"v1", models)
        models.putChild(b"models", _Says(Path("models.json").read_bytes()))
        self.join(page)
        got = self.ask_json("explain", ALIAS, "--router", "http://router.test")
        self.assertEqual((got["candidates"], got["error"]["code"]), ([], "no_candidates"))
        status, said = self.ask("explain", ALIAS, "--router", "http://router.test")
        self.assertEqual(status, 1)
        self.assertIn("retry after the next feed refresh", said)


class _Says(Resource):
    """A resource with a fixed body."""

    isLeaf = True

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    def render_GET(self, request: object) -> bytes:
        """See `Resource`."""
        return self._body


class RouteTests(ExplainTestCase):
    """Routes of this environment's file."""

    def setUp(self) -> None:
        """Write the file."""
        super().setUp()
        Path("routes.toml").write_text(
            '[routes.tee]\nmodels = ["acme/C", "acme/gone", "*"]\ntee = true\ncommit = "complete"\n'
            "failover_after_ms = 2500\nmax_price = { completion = 5 }\n"
            f'[routes.best]\nmodels = ["{ALIAS}"]\nmin_context = 96001\n'
        )
        Path(".env").write_text("ROUTES_FILE=routes.toml\n")

    def test_words(self) -> None:
        """The text names the route with its filters, its own limits, and what fails them."""
        status, said = self.ask("explain", "tee", *self.files)
        self.assertEqual(status, 0)
        self.assertIn("mode      route\n", said)
        self.assertIn("route     tee: tee, completion up to $5\n", said)
        self.assertIn("commit    complete: when the response is complete", said)
        self.assertIn("after 2.5 s of a silent stream or 180 s without a whole answer", said)
        self.assertIn("left out  acme/gone: not in the catalog\n", said)
        self.assertIn("left out  acme/B: fails tee\n", said)

    def test_json(self) -> None:
        """The object has the route, and the filters that a model fails."""
        got = self.ask_json("explain", "tee", *self.files)
        self.assertEqual((got["mode"], got["outcome"]), ("route", "candidates"))
        expected = {"name": "tee", "filters": ["tee", "completion up to $5"]}
        self.assertEqual(got["route"], expected)
        whys = [(each["name"], each["why"]) for each in got["candidates"]]
        self.assertEqual(whys, [("acme/C", "route"), ("acme/A-TEE", "route")])
        limits = got["limits"]
        self.assertEqual(
            (limits["commit"], limits["failover_after_ms"], limits["plain_failover_after_ms"]),
            ("complete", 2500, 180000),
        )
        self.assertEqual(
            got["dropped"],
            [
                {"name": "acme/gone", "cause": "unknown", "lacks": []},
                {"name": "acme/B", "cause": "filtered", "lacks": ["tee"]},
            ],
        )
        self.assertIsNone(self.ask_json("explain", ALIAS, *self.files)["route"])

    def test_refused(self) -> None:
        """Where no model passes, the error and every reason are there."""
        status, said = self.ask("explain", "best", *self.files)
        self.assertEqual(status, 1)
        self.assertIn("refused with 400 no_capable_model", said)
        self.assertIn("filter: min_context.", said)
        self.assertIn("left out  acme/C: fails min_context\n", said)

    def test_faults(self) -> None:
        """A file with faults is an error of the command."""
        Path("routes.toml").write_text("[routes.r]\n")
        said = self.refused("explain", ALIAS, *self.files)
        self.assertIn("ROUTES_FILE: 'routes.toml': routes.r.models: missing", said)


class FallbackTests(ExplainTestCase):
    """Models of other services."""

    def setUp(self) -> None:
        """Write the file of one."""
        super().setUp()
        Path("key").write_text("sk-canary")
        Path("others.toml").write_text(
            '[fallbacks.x]\nbase_url = "https://x.test/v1"\nkey_file = "key"\n'
            'models = ["m", "n"]\ndefault_model = "n"\n'
        )
        Path(".env").write_text("FALLBACKS_FILE=others.toml\n")

    def test_named(self) -> None:
        """One in a list stands where the list has it, and the last resort behind all."""
        self.assertEqual(self.names("@x/m,acme/C"), ["@x/m", "acme/C"])
        got = self.ask_json("explain", ALIAS, *self.files)
        self.assertEqual(got["last_resort"], ["@x/n"])
        status, said = self.ask("explain", "acme/C,acme/B", *self.files)
        self.assertEqual(status, 0)
        self.assertIn("resort    @x/n, behind all others\n", said)
        self.assertIn("attempts  at most 3 ", said)
        self.assertNotIn("canary", said)

    def test_none(self) -> None:
        """A direct name has no last resort, and an unknown one is refused."""
        got = self.ask_json("explain", "@x/m", *self.files)
        self.assertEqual((got["last_resort"], got["candidates"][0]["name"]), ([], "@x/m"))
        status, said = self.ask("explain", "@x/gone", *self.files)
        self.assertEqual(status, 1)
        self.assertIn("unknown_model", said)
