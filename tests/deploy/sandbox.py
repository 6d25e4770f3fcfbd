"""What a unit forbids, forbidden to a router here: system calls, and memory both written and run.

As a program it takes what it has to know as JSON, shuts itself in, and becomes the rest of its
command line. systemd does the same between fork and exec, with the same library.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys

_EPERM = 0x00050001
_ALLOW = 0x7FFF0000
_UNKNOWN = -1
_PR_SET_MDWE, _REFUSE_EXEC_GAIN = 65, 1


def allowed(filters: list[str]) -> set[str]:
    """The system calls that ``SystemCallFilter=`` lines leave, in their order."""
    calls: set[str] = set()
    for line in filters:
        names = {call for name in line.lstrip("~").split() for call in _members(name)}
        calls = calls - names if line.startswith("~") else calls | names
    return calls


def _members(name: str) -> set[str]:
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", name],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    lines = [line.strip() for line in listed.splitlines()[1:]]
    inner = (line for line in lines if line and not line.startswith("#"))
    return {call for each in inner for call in _members(each)}


def shut_in(calls: list[str], *, no_new_code: bool) -> None:
    """Allow this process and what it becomes only these system calls."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(_EPERM)))
    for name in calls:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number != _UNKNOWN:
            seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(_ALLOW), number, 0, None)
    if no_new_code and ctypes.CDLL(None).prctl(_PR_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0):
        raise SystemExit("this kernel cannot refuse memory that is both written and run")
    if seccomp.seccomp_load(context):
        raise SystemExit("the filter of system calls could not be loaded")


def main() -> None:
    """Shut in, and become the command."""
    given = json.loads(sys.argv[1])
    shut_in(given["calls"], no_new_code=given["no_new_code"])
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  the point of it


if __name__ == "__main__":
    main()
