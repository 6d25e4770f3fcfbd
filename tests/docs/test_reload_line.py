"""The command of the documentation that reloads every router of a host, with two of them."""

from __future__ import annotations

import shutil
import subprocess
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tools.docs.blocks import ROOT, blocks_of

_PAGE = ROOT / "docs" / "operating.md"
# The first process of a PID namespace, in which there is nothing else to signal. It reads this from
# standard input, so that its own command line does not match.
_SCRIPT = """\
(exec -a '/venv/bin/python /venv/bin/twistd --nodaemon --pidfile= autopilot' sleep 60) & first=$!
(exec -a '/venv/bin/python /venv/bin/autopilot run --log-level=warn' sleep 60) & second=$!
(exec -a '/venv/bin/python /venv/bin/autopilot rank' sleep 60) & other=$!
until [ "$(pgrep -c -x sleep)" = 3 ]; do read -r -t 0.05 <> <(:); done
sh -c "$LINE; echo here"; echo $?
kill $other
for each in $first $second $other; do wait $each; echo $?; done
"""
_HUP = "129"  # 128 + 1
_TERM = "143"


class ReloadLineTests(SynchronousTestCase):
    """`pkill`, as the page has it."""

    def test_two_routers(self) -> None:
        """Both routers get the signal; other commands and the shell of the line do not."""
        (line,) = (
            each.text.removeprefix("$ ").strip()
            for each in blocks_of(_PAGE, "console")
            if "pkill" in each.text
        )
        for program in ("bash", "pgrep", "pkill", "unshare"):
            if shutil.which(program) is None:
                raise SkipTest(f"{program} is not installed")
        alone = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc")
        if subprocess.run((*alone, "true"), capture_output=True, check=False).returncode != 0:
            raise SkipTest("this system does not allow a PID namespace")
        done = subprocess.run(
            (*alone, "--kill-child", "env", f"LINE={line}", "bash", "-s"),
            input=_SCRIPT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = done.stdout.split()
        self.assertEqual(said, ["here", "0", _HUP, _HUP, _TERM], done.stderr)
