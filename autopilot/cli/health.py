"""Check whether a router is ready; meant for container health checks, where there is no curl.

It requests /readyz at LISTEN_ADDR, as set in the environment, in .env or in --env-file, over TLS
if TLS_CERT_FILE is set; the certificate is not verified, because its name is not that of the
address. Without arguments, or with --env-file=FILE alone, it imports neither a reactor nor the rest
of the router, because containers run it every few seconds.

With --json it prints {"ready": bool, "reason": null, the router's error code, or what failed}.
Exit status: 0 ready, 1 not ready or not reachable, 2 invalid input.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any, Final

from autopilot.settings.network import split_address

if TYPE_CHECKING:
    from http.client import HTTPResponse

NAME: Final = "health"
HELP: Final = "check whether a router is ready"

READY: Final = 0
UNREADY: Final = 1
BAD: Final = 2

EXAMPLES = """\
  autopilot health
  autopilot health --address 127.0.0.1:9000 --json
  autopilot health --env-file=/etc/chutes-autopilot/env
  autopilot health --address http://127.0.0.1:8081   the operators' port, which never speaks TLS
"""

_VARIABLE: Final = "LISTEN_ADDR"
_CERTIFICATE: Final = "TLS_CERT_FILE"
_DEFAULT: Final = "0.0.0.0:8080"
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_PATH: Final = "/readyz"
_MAX_BYTES: Final = 64 * 1024
_SECONDS: Final = 3.0
_MAX_SECONDS: Final = 3600
_OK: Final = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the address, the timeout and the output format."""
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help=f"the router's address [default: {_VARIABLE}, else {_DEFAULT}]; http:// or https:// in"
        f" front of it overrides {_CERTIFICATE}",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=_SECONDS,
        metavar="SECONDS",
        help="time limit of the request [default: %(default)s]",
    )
    parser.add_argument(
        "--env-file",
        metavar="FILE",
        help="read the settings from this file instead of .env; it must exist",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _MAX_SECONDS:
        raise ValueError(text)
    return seconds


async def run(_reactor: Any, given: argparse.Namespace) -> int:
    """Run as a sub-command of the full command line, and return the exit status."""
    return ask(given.address, given.timeout, in_json=given.json, env_file=given.env_file)


def ask(
    address: str | None = None,
    timeout: float = _SECONDS,
    *,
    in_json: bool = False,
    env_file: str | None = None,
) -> int:
    """Request ``/readyz`` once, print the answer in one line, and return the exit status."""
    wrong = None if env_file is None else _unreadable(env_file)
    if wrong is not None:
        print(f"autopilot: --env-file: {env_file!a} {wrong}", file=sys.stderr)  # noqa: T201
        return BAD
    path = env_file or ".env"
    given = address or _configured(os.environ, _VARIABLE, path) or _DEFAULT
    scheme, separator, text = given.rpartition("://") if address else ("", "", given)
    try:
        if bool(scheme) != bool(separator) or scheme not in ("", "http", "https"):
            raise ValueError(scheme)
        host, port = split_address(text)
    except ValueError:
        where = "--address" if address else _VARIABLE
        print(f"autopilot: {where}: {given!a} is not HOST:PORT", file=sys.stderr)  # noqa: T201
        return BAD
    secure = scheme == "https" or (not scheme and bool(_configured(os.environ, _CERTIFICATE, path)))
    reason = _failure(_ANY.get(host, host), port, timeout, secure=secure)
    if in_json:
        print(json.dumps({"ready": reason is None, "reason": reason}))  # noqa: T201
    elif reason is None:
        print("ready")  # noqa: T201
    else:
        print(f"not ready: {reason}", file=sys.stderr)  # noqa: T201
    return READY if reason is None else UNREADY


def _unreadable(path: str) -> str | None:
    """Return why no settings can be read from a named file, if so."""
    if not os.path.exists(path):
        return "does not exist"
    if os.path.isdir(path):
        return "is a directory"
    return None if os.access(path, os.R_OK) else "cannot be read"


def _configured(environ: Mapping[str, str], name: str, path: str) -> str | None:
    text = environ.get(name, "").strip()
    if text:
        return text
    from dotenv import dotenv_values

    try:
        return (dotenv_values(path, interpolate=False).get(name) or "").strip() or None
    except (OSError, ValueError):
        return None


def _failure(host: str, port: int, seconds: float, *, secure: bool) -> str | None:
    connection = HTTPConnection(host, port, timeout=seconds)
    if secure:
        connection = HTTPSConnection(host, port, timeout=seconds, context=_unverified())
    try:
        connection.request("GET", _PATH, headers={"Connection": "close"})
        response = connection.getresponse()
        return None if response.status == _OK else _reason(response)
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except (OSError, HTTPException) as error:
        return getattr(error, "strerror", None) or type(error).__name__
    finally:
        connection.close()


def _unverified() -> ssl.SSLContext:
    """Return a context for a request without a secret, to this host, about whether it responds."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _reason(response: HTTPResponse) -> str:
    """Return the router's error code, else the status.

    Whatever listens there may not be a router, so no other text of its response is printed.
    """
    try:
        code = json.loads(response.read(_MAX_BYTES))["error"]["code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        code = None
    plain = isinstance(code, str) and code.isidentifier() and code.isascii()
    return str(code) if plain else f"status {response.status}"
