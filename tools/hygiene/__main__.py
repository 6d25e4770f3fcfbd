"""`make secrets`: searches the working tree, the history and its messages for secrets.

Exit status: 0 nothing new, 1 a possible secret, 2 the scan failed. With --record the scan and its
results are written to logs/secrets.md.
"""

from __future__ import annotations

import sys

from tools.hygiene.findings import Baseline, BaselineError, Finding
from tools.hygiene.record import record
from tools.hygiene.scan import GITLEAKS, ROOT, ScanError, Scanned, Scanner, is_repository

_ADVICE = """\
A secret that was committed is known: revoke it first, then take it out. What is none goes to
tools/hygiene/baseline.json with rule, file, digest and reason."""


def main(arguments: list[str]) -> int:
    """Scan and report, without the secrets themselves; return the exit status."""
    try:
        scanner, baseline = Scanner(GITLEAKS), Baseline()
        done = _scan(scanner)
    except (ScanError, BaselineError) as error:
        print(f"secrets: {error}", file=sys.stderr)
        return 2
    new = [each for scanned in done for each in scanned.findings if not baseline.knows(each)]
    lines = [_line(scanned, new) for scanned in done]
    print("\n".join([f"secrets, by gitleaks {scanner.version()}:", *lines]))
    if "--record" in arguments:
        record(scanner.version(), GITLEAKS, lines)
    for finding in new:
        print(f"secrets: {finding}", file=sys.stderr)
    if new:
        print(_ADVICE, file=sys.stderr)
    return 1 if new else 0


def _scan(scanner: Scanner) -> list[Scanned]:
    done = [scanner.tree(ROOT)]
    if is_repository(ROOT):
        return [*done, scanner.history(ROOT), scanner.messages(ROOT)]
    return [*done, Scanned("no history: this is no git repository", ())]


def _line(scanned: Scanned, new: list[Finding]) -> str:
    count = sum(each in new for each in scanned.findings)
    known = len(scanned.findings) - count
    return f"  {scanned.what}: {count or 'nothing'} new" + (f", {known} known" if known else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
