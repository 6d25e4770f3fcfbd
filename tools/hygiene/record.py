"""logs/secrets.md: the time, the tool and the result of a scan."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tools.hygiene.scan import ROOT

FILE = ROOT / "logs" / "secrets.md"
_TEXT = """\
# Scans for secrets

`make secrets ARGS=--record` writes this page; `make lint` scans each time, and CI with it.

- When: {when}, at commit {commit}
- With: gitleaks {version}, a repackaged binary locked in `locks/development.txt`, SHA-256
  `{digest}`
- Rules: `.gitleaks.toml`, which are gitleaks' own and one for keys of the platform
- Commands, each with `--config .gitleaks.toml --ignore-gitleaks-allow`: `gitleaks dir` on a copy
  of the files that git tracks or does not ignore, `gitleaks git --log-opts=--all`, and `gitleaks
  stdin` on what commits and tags say
- Known exceptions: `tools/hygiene/baseline.json`

Result:

```
{lines}
```

That the scan can fail is tested (`tests/tools/test_scan.py`): keys of the platform and of others,
made up during the test, in a file, in an untracked file, in a commit taken back, and in a message.
"""


def record(version: str, gitleaks: Path, lines: Sequence[str]) -> None:
    """Write the page."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    FILE.write_text(
        _TEXT.format(
            when=datetime.now(UTC).strftime("%Y-%m-%d"),
            commit=commit.stdout.strip(),
            version=version,
            digest=hashlib.sha256(gitleaks.read_bytes()).hexdigest(),
            lines="\n".join(line.strip() for line in lines),
        )
    )
