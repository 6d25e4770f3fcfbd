"""Intel's signed data about a platform: what to fetch for a quote, and its form for the library.

Any cache of Intel's service (PCCS) has the same four resources. It learns which families of
processors are verified, and when, and nothing of requests.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from re import fullmatch
from typing import Final
from urllib.parse import unquote

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder, encode
from twisted.internet.defer import Deferred

from autopilot.http.fetch import FetchedResponse

INTEL: Final = "https://api.trustedservices.intel.com"
MAX_BYTES: Final = 1024 * 1024
_TCB_CHAINS: Final = ("TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain")
_IDENTITY_CHAINS: Final = ("SGX-Enclave-Identity-Issuer-Chain",)
_CRL_CHAINS: Final = ("SGX-PCK-CRL-Issuer-Chain",)


class CollateralError(ValueError):
    """An answer that is no collateral. Its text names the resource, never what was received."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What identifies the collateral of a quote: the processor family and its authority."""

    fmspc: str
    ca: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """Collateral as it was fetched. After ``until``, in Unix time, it counts no more."""

    text: str
    until: float = inf


@dataclass(frozen=True, slots=True)
class CollateralURLs:
    """The four resources for a platform."""

    pck_crl: str
    tcb_info: str
    qe_identity: str
    root_crl: str


class _TcbInfo(Struct):
    tcbInfo: Raw  # noqa: N815 - Intel's name
    signature: str


class _Identity(Struct):
    enclaveIdentity: Raw  # noqa: N815 - Intel's name
    signature: str


_tcb_info = Decoder(_TcbInfo)
_identity = Decoder(_Identity)


def collateral_urls(base: str, platform: Platform, evaluation: int | None = None) -> CollateralURLs:
    """Return the URLs below the base URL of Intel's service, or of a cache of it.

    ``evaluation`` is the number of Intel's data, None for the present one.
    """
    sgx, tdx = (f"{base}/{kind}/certification/v4" for kind in ("sgx", "tdx"))
    which = "update=standard" if evaluation is None else f"tcbEvaluationDataNumber={evaluation}"
    return CollateralURLs(
        pck_crl=f"{sgx}/pckcrl?ca={platform.ca}&encoding=der",
        tcb_info=f"{tdx}/tcb?fmspc={platform.fmspc}&{which}",
        qe_identity=identity_url(base, which),
        root_crl=f"{sgx}/rootcacrl",
    )


def identity_url(base: str, which: str = "update=standard") -> str:
    """Return the URL of the one resource beside the root's list that is the same for platforms."""
    return f"{base}/tdx/certification/v4/qe/identity?{which}"


async def fetch_collateral(
    ask: Callable[[str], Deferred[FetchedResponse]],
    base: str,
    platform: Platform,
    evaluation: int | None = None,
) -> str:
    """Fetch the four resources, one after the other, and return them as the library reads them.

    Raises `CollateralError`, and whatever ``ask`` fails with.
    """
    urls = collateral_urls(base, platform, evaluation)
    pck_crl = _good(await ask(urls.pck_crl), "PCK CRL")
    tcb_info = _good(await ask(urls.tcb_info), "TCB info")
    qe_identity = _good(await ask(urls.qe_identity), "QE identity")
    root_crl = _good(await ask(urls.root_crl), "root CRL")
    return assemble(pck_crl, tcb_info, qe_identity, root_crl)


def _good(answer: FetchedResponse, name: str) -> FetchedResponse:
    if answer.status != 200:
        raise CollateralError(f"{name}: status {answer.status}")
    return answer


def assemble(
    pck_crl: FetchedResponse,
    tcb_info: FetchedResponse,
    qe_identity: FetchedResponse,
    root_crl: FetchedResponse,
) -> str:
    """Return collateral from the four answers. Raises `CollateralError`.

    Signed texts keep their exact bytes. Nothing is verified here.
    """
    try:
        tcb = _tcb_info.decode(tcb_info.body)
        identity = _identity.decode(qe_identity.body)
        tcb_text, identity_text = (
            bytes(tcb.tcbInfo).decode(),
            bytes(identity.enclaveIdentity).decode(),
        )
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise CollateralError("TCB info or QE identity: not the expected JSON") from None
    return encode(
        {
            "pck_crl_issuer_chain": _chain(pck_crl, "PCK CRL", *_CRL_CHAINS),
            "root_ca_crl": _hex(root_crl.body),
            "pck_crl": _hex(pck_crl.body),
            "tcb_info_issuer_chain": _chain(tcb_info, "TCB info", *_TCB_CHAINS),
            "tcb_info": tcb_text,
            "tcb_info_signature": tcb.signature,
            "qe_identity_issuer_chain": _chain(qe_identity, "QE identity", *_IDENTITY_CHAINS),
            "qe_identity": identity_text,
            "qe_identity_signature": identity.signature,
        }
    ).decode()


def _chain(answer: FetchedResponse, resource: str, *names: str) -> str:
    for name in names:
        for value in answer.headers.getRawHeaders(name, ()):
            return unquote(value)
    raise CollateralError(f"{resource}: the header {names[0]} is missing")


def _hex(body: bytes) -> str:
    """Return a CRL in hexadecimal; some services write it so, and others as DER."""
    text = body.strip()
    if fullmatch(rb"(?:[0-9A-Fa-f]{2})+", text):
        return text.decode("ascii").lower()
    return hexlify(body).decode("ascii")
