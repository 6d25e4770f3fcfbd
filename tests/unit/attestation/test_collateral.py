"""Tests of Intel's data: what is fetched for a platform, and its form for the library."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.collateral import (
    INTEL,
    CollateralError,
    Platform,
    assemble,
    collateral_urls,
    fetch_collateral,
)
from autopilot.http.fetch import FetchedResponse
from tests.unit.attestation import world
from tests.unit.attestation.platform import fetched, intel

COLLATERAL: dict[str, str] = world.world()["collateral"]["fixed_30_days"]
PLATFORM = Platform("B0C06F000000", "platform")
PATHS = ("/pckcrl", "/tcb", "/qe/identity", "/rootcacrl")


def answers() -> list[FetchedResponse]:
    """Return Intel's four answers."""
    return [fetched(intel(path, COLLATERAL)) for path in PATHS]


class CollateralTests(SynchronousTestCase):
    """Four answers, and one text."""

    def test_urls(self) -> None:
        """The URLs are those of Intel's service, in version 4."""
        urls = collateral_urls(INTEL, PLATFORM)
        base = "https://api.trustedservices.intel.com"
        self.assertEqual(
            urls.pck_crl, f"{base}/sgx/certification/v4/pckcrl?ca=platform&encoding=der"
        )
        self.assertEqual(
            urls.tcb_info, f"{base}/tdx/certification/v4/tcb?fmspc=B0C06F000000&update=standard"
        )
        self.assertEqual(
            urls.qe_identity, f"{base}/tdx/certification/v4/qe/identity?update=standard"
        )
        self.assertEqual(urls.root_crl, f"{base}/sgx/certification/v4/rootcacrl")

    def test_former(self) -> None:
        """Intel's former data is asked for by its number."""
        urls = collateral_urls(INTEL, PLATFORM, 19)
        self.assertTrue(urls.tcb_info.endswith("fmspc=B0C06F000000&tcbEvaluationDataNumber=19"))
        self.assertTrue(urls.qe_identity.endswith("identity?tcbEvaluationDataNumber=19"))

    def test_assembled(self) -> None:
        """The text has every signed byte, so that it verifies."""
        self.assertEqual(json.loads(assemble(*answers())), COLLATERAL)

    def test_fetched(self) -> None:
        """The resources are fetched one after the other."""
        log: list[str] = []

        def ask(url: str) -> Deferred[FetchedResponse]:
            log.append(url)
            return succeed(fetched(intel(url.partition("?")[0], COLLATERAL)))

        fetching = Deferred.fromCoroutine(fetch_collateral(ask, "http://pccs.test", PLATFORM))
        self.assertEqual(json.loads(self.successResultOf(fetching)), COLLATERAL)
        self.assertEqual(len(log), 4)
        self.assertTrue(all(url.startswith("http://pccs.test/") for url in log))

    def test_spellings(self) -> None:
        """A CRL may be DER or hexadecimal, and the chain have its older header."""
        crl, tcb, identity, _root = answers()
        der = FetchedResponse(200, bytes.fromhex(COLLATERAL["root_ca_crl"]))
        crl_hex = FetchedResponse(200, COLLATERAL["pck_crl"].encode() + b"\n", crl.headers)
        older = FetchedResponse(200, tcb.body)
        (value,) = tcb.headers.getRawHeaders("TCB-Info-Issuer-Chain", ())
        older.headers.addRawHeader("SGX-TCB-Info-Issuer-Chain", value)
        self.assertEqual(json.loads(assemble(crl_hex, older, identity, der)), COLLATERAL)

    def test_faults(self) -> None:
        """An answer of another form is an error that names the resource, and quotes nothing."""
        names = ("PCK CRL", "TCB info", "QE identity")
        for place, name in enumerate(names):
            given = answers()
            given[place] = FetchedResponse(200, given[place].body)
            with self.assertRaisesRegex(CollateralError, f"^{name}: the header .* is missing$"):
                assemble(*given)
        for place in (1, 2):
            for body in (b"", b"[]", b'{"signature":"canary"}', b"\xff", b"[" * 5000):
                given = answers()
                given[place] = FetchedResponse(200, body, given[place].headers)
                with self.assertRaises(CollateralError) as caught:
                    assemble(*given)
                self.assertNotIn("canary", str(caught.exception))

    def test_statuses(self) -> None:
        """Another status ends the fetch, whichever resource has it."""
        for place, name in enumerate(("PCK CRL", "TCB info", "QE identity", "root CRL")):
            log: list[str] = []

            def ask(
                url: str, place: int = place, log: list[str] = log
            ) -> Deferred[FetchedResponse]:
                log.append(url)
                if len(log) == place + 1:
                    return succeed(FetchedResponse(404, b"canary"))
                return succeed(fetched(intel(url.partition("?")[0], COLLATERAL)))

            fetching = Deferred.fromCoroutine(fetch_collateral(ask, INTEL, PLATFORM))
            error = self.failureResultOf(fetching, CollateralError).value
            self.assertEqual(str(error), f"{name}: status 404")
            self.assertEqual(len(log), place + 1)
