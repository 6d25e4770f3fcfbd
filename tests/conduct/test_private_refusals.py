"""Evidence that does not hold: no request is sealed, and none goes another way."""

from __future__ import annotations

import json

from stub_backend.sealed.flaws import FLAWS
from tests.conduct.asking import body, code
from tests.conduct.private import MINUTE, VECTORS, PrivateServed, PrivateTestCase, model
from tests.conduct.seen import Seen

CASES = {case["name"]: case for case in VECTORS["cases"]}
# The faults of collateral, time and measurements, by the stub's setting of each.
COLLATERAL = {
    "tcb_expired": "collateral",
    "qe_identity_expired": "collateral",
    "tcb_info_edited": "collateral",
    "pck_revoked": "collateral",
    "out_of_date": "tcb_status",
    "sw_hardening": "tcb_status",
    "revoked_level": "tcb_status",
    "qe_out_of_date": "tcb_status",
}


class RefusalTests(PrivateTestCase):
    """Every case of refused evidence, through the router and back."""

    def refused(self, served: PrivateServed, name: str, reason: str) -> Seen:
        """Assert that a request for a model is refused for this reason, and sent nowhere."""
        answer = served.post(body(name))
        self.assertEqual((answer.status, code(answer)), (503, "private_unavailable"), name)
        message = json.loads(answer.body)["error"]["message"]
        self.assertIn(f"({reason}", message, name)
        self.assertEqual((served.invokes(), served.plain()), ([], []), name)
        self.assertNotIn("x-chutes-autopilot-private", answer.headers)
        self.assertNotIn("x-chutes-autopilot-instance", answer.headers)
        return answer

    def test_flaws(self) -> None:
        """Each flaw of the evidence is refused for its own reason."""
        served = self.serve()
        for flaw in FLAWS:
            served.network.pass_time(MINUTE)
            name = model(f"evidence-{flaw.replace('_', '-')}")
            self.refused(served, name, CASES[flaw]["verdict"])
        self.assertEqual(served.left_behind(), [])

    def test_collateral(self) -> None:
        """So is genuine evidence whose platform's state is not proved, or not accepted."""
        for collateral, reason in COLLATERAL.items():
            self.network = None
            served = self.serve()
            served.stub.attestation.behave(collateral=collateral)
            self.refused(served, model("ok"), reason)
            self.assertEqual(served.left_behind(), [])

    def test_no_measurements(self) -> None:
        """Without measurements that vouch for any machine, nothing is verified."""
        served = self.serve(before=lambda stub: stub.attestation.behave(measurements=False))
        answer = served.post(body(model("ok")))
        self.assertEqual((answer.status, code(answer)), (503, "private_unavailable"))
        self.assertEqual((served.invokes(), served.plain()), ([], []))

    def test_no_evidence(self) -> None:
        """An instance without evidence gets nothing, whatever the reason."""
        served = self.serve()
        for scenario in ("400-unverified", "400-outdated", "403", "404", "429", "502"):
            served.network.pass_time(MINUTE)
            answer = served.post(body(model(f"evidence-{scenario}")))
            self.assertEqual((answer.status, code(answer)), (503, "private_unavailable"), scenario)
        self.assertEqual((served.invokes(), served.plain()), ([], []))

    def test_all_reasons(self) -> None:
        """The cases here are all that there are of evidence."""
        elsewhere = {"measurement_feed_empty", "collateral_before_issue"}
        elsewhere |= {"collateral_after_next_update", "tcb_out_of_date_accept_listed"}
        for name, case in CASES.items():
            if case["verdict"] != "ok" and name not in FLAWS and name not in elsewhere:
                self.assertIn(case["verdict"], COLLATERAL.values(), name)
        self.assertEqual(
            {case["verdict"] for case in CASES.values()},
            {"ok", *COLLATERAL.values(), *(CASES[flaw]["verdict"] for flaw in FLAWS)},
        )
