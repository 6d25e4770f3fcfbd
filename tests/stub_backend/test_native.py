"""Tests of the platform's interpretation of `model`: names, suffixes, lists."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.stub_backend.exchange import Answer, Exchange


def asked(model: str) -> Answer:
    """Return the response to one call."""
    answer = Exchange().ask(model)
    assert answer is not None
    return answer


class NamesTests(SynchronousTestCase):
    """Selectors with one name."""

    def test_rewritten(self) -> None:
        """The old name of some TEE models is replaced, but only as the whole selector."""
        chat = Exchange().stub.population.chat
        tee = [each.name for each in chat if each.name.endswith("-TEE")]
        old = tee[0].removesuffix("-TEE")
        self.assertEqual(asked(old).json()["model"], tee[0])
        self.assertEqual(asked(f"{old},stub/ok").json()["model"], "stub/ok")
        self.assertEqual(asked(tee[-1].removesuffix("-TEE")).status, 404)

    def test_organisation(self) -> None:
        """An organisation's old name is replaced by its new one."""
        chat = Exchange().stub.population.chat
        new = next(each.name for each in chat if each.name.startswith("northwind-ai/"))
        answer = asked(new.replace("northwind-ai/", "northwind/"))
        self.assertEqual(answer.json()["model"], new)

    def test_thinking(self) -> None:
        """The suffix :THINKING enables reasoning; in lower case it has no effect."""
        message = asked("stub/ok:THINKING").json()["choices"][0]["message"]
        self.assertIn("thought1", message["reasoning_content"])
        self.assertEqual(asked("stub/ok:thinking").status, 404)

    def test_no_model(self) -> None:
        """Suffixes and aliases of other platforms are unknown."""
        for model in ("default", "stub/ok:premium", "stub/ok:latency:latency"):
            self.assertEqual(asked(model).json(), {"detail": f"model not found: {model}"})


class ListTests(SynchronousTestCase):
    """Selectors with several names."""

    def test_order(self) -> None:
        """The first free model is chosen, and unknown names are skipped."""
        for model, chosen in (
            ("stub/ok-vllm,stub/ok", "stub/ok-vllm"),
            ("unknown, stub/ok,,", "stub/ok"),
            ("stub/503-cold,stub/ok", "stub/ok"),
            ("stub/429-capacity,stub/ok:throughput", "stub/ok"),
            ("stub/ok:latency,stub/ok-vllm", "stub/ok-vllm"),
        ):
            self.assertEqual(asked(model).json()["model"], chosen, model)

    def test_all_full(self) -> None:
        """If all models are full, the first is chosen."""
        answer = asked("stub/429-capacity,stub/429-capacity-short")
        self.assertEqual(answer.header("x-stub-model"), "stub/429-capacity")

    def test_all_cold(self) -> None:
        """A list of cold models is 404 with the whole list; a single cold model is 503."""
        answer = asked("stub/503-cold,unknown")
        self.assertEqual(answer.status, 404)
        self.assertEqual(answer.json(), {"detail": "model not found: stub/503-cold,unknown"})
        self.assertEqual(asked("stub/503-cold").status, 503)
