"""Queries an OSV service for known vulnerabilities of the packages in a lock.

Exit status: 0 none is known; 1 some are; 2 the command or the lock is invalid; 3 the answer was
incomplete, so there is no verdict. `make audit` shows the status in its last line ("Error 3") and
exits with 2 itself.
"""

import argparse
import http.client
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from packaging.utils import canonicalize_name

from tools.locked import Pin, pins

CLEAN, VULNERABLE, NOT_ASKED = 0, 1, 3
_ANSWER_AT_MOST = 16 << 20


class NotAskedError(Exception):
    """The OSV service gave no usable answer."""


def call(url: str, patience: float, question: object = None) -> Any:
    """Return the JSON at a URL, or the response to a posted query."""
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
    until = time.monotonic() + patience
    content = b""
    try:
        with urllib.request.urlopen(request, timeout=patience) as answer:  # noqa: S310
            while part := answer.read1(65536):
                content += part
                if len(content) > _ANSWER_AT_MOST or time.monotonic() > until:
                    raise NotAskedError("its answer is endless, or too slow")
    except urllib.error.HTTPError as refused:
        refused.close()
        raise NotAskedError(f"it answered with status {refused.code}") from None
    except (OSError, http.client.HTTPException) as failed:
        why = getattr(failed, "reason", None) or str(failed) or type(failed).__name__
        raise NotAskedError(f"no connection: {why}") from None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise NotAskedError("its answer is not JSON") from None


def known(locked: tuple[Pin, ...], answer: object) -> Iterator[tuple[Pin, list[str], bool]]:
    """Return the known identifiers of each package; raise if the answer is incomplete."""
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or len(results) != len(locked):
        raise NotAskedError(f"its answer is not one result for each of {len(locked)} packages")
    for pin, result in zip(locked, results, strict=True):
        try:
            identifiers = sorted({str(each["id"]) for each in result.get("vulns", ())})
            unread = result.get("next_page_token")
        except (AttributeError, KeyError, TypeError):
            raise NotAskedError(f"its result for {pin.name} has another shape") from None
        yield pin, identifiers, bool(unread)


def advice(pin: Pin, identifier: str, told: object) -> str | None:
    """Return a vulnerability as one line with its fix; None if it was withdrawn."""
    if not isinstance(told, dict):
        told = {}
    if told.get("withdrawn"):
        return None
    fixed = {
        event["fixed"]
        for affected in told.get("affected", ())
        if canonicalize_name(str(affected.get("package", {}).get("name", ""))) == pin.name
        for each in affected.get("ranges", ())
        if each.get("type") == "ECOSYSTEM"
        for event in each.get("events", ())
        if "fixed" in event
    }
    remedy = f"; fixed in {', '.join(sorted(fixed))}" if fixed else ""
    summary = str(told.get("summary", "")).partition("\n")[0]
    return f"{pin.name} {pin.version}: {identifier}{remedy}{': ' if summary else ''}{summary}"


def audit(url: str, locked: tuple[Pin, ...], patience: float) -> list[str]:
    """Query all packages at once, and then each vulnerability."""
    queries = [
        {"package": {"name": pin.name, "ecosystem": "PyPI"}, "version": pin.version}
        for pin in locked
    ]
    answer = call(f"{url}/v1/querybatch", patience, {"queries": queries})
    found = []
    for pin, identifiers, unread in known(locked, answer):
        lines = [_line(url, pin, each, patience) for each in identifiers]
        valid = [line for line in lines if line is not None]
        if unread and not valid:
            raise NotAskedError(f"its result for {pin.name} goes on elsewhere")
        found += valid
    return found


def _line(url: str, pin: Pin, identifier: str, patience: float) -> str | None:
    try:
        told = call(f"{url}/v1/vulns/{quote(identifier, safe='')}", patience)
        return advice(pin, identifier, told)
    except (NotAskedError, AttributeError, TypeError):
        # The identifier suffices for the verdict; a person can look up the details.
        return advice(pin, identifier, None)


def main(arguments: list[str]) -> int:
    """Run the audit; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lock", type=Path, help="a requirements lock")
    parser.add_argument("--osv-url", default="https://api.osv.dev", help="where OSV's API is")
    parser.add_argument("--timeout", type=float, default=30.0, help="patience in seconds")
    asked = parser.parse_args(arguments)
    try:
        service = urlsplit(asked.osv_url)
        if service.scheme not in ("http", "https") or not service.hostname:
            parser.error("--osv-url: an http or https URL is needed")
        locked = pins(asked.lock)
    except (OSError, ValueError) as why:
        parser.error(str(why))
    if not 0 < asked.timeout < 3600:
        parser.error("--timeout: more than no second and less than an hour is needed")
    try:
        found = audit(asked.osv_url.rstrip("/"), locked, asked.timeout)
    except NotAskedError as why:
        print(
            f"NOT CHECKED: {service.hostname} gave no verdict on {asked.lock.name}: {why}",
            file=sys.stderr,
        )
        return NOT_ASKED
    for line in found:
        print(line)
    verdict = f"{len(found)} known vulnerabilities" if found else "no known vulnerability"
    print(f"{asked.lock.name}: {len(locked)} packages, {verdict}, says {service.hostname}")
    return VULNERABLE if found else CLEAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
