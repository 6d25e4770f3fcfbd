"""A row of measurements, in JSON and as it is read, and rows with a fault each."""

from __future__ import annotations

import json
from typing import Any

from autopilot.measurement import Measurement

ROW: dict[str, Any] = {
    "version": "1.4.1",
    "name": "8xh200 [a/b]",
    "mrtd": "0a" * 48,
    "boot_rtmrs": {"RTMR0": "00" * 48},
    "runtime_rtmrs": {f"RTMR{place}": f"{place + 1:02X}" * 48 for place in range(4)},
    "expected_gpus": ["h200"],
    "gpu_count": 8,
}
MEASUREMENT = Measurement(
    "1.4.1", "8xh200 [a/b]", b"\x0a" * 48, tuple(bytes((n,)) * 48 for n in range(1, 5)), 8
)
FAULTS: tuple[tuple[Any, str], ...] = (
    (1, "not an object"),
    ({**ROW, "runtime_rtmrs": None}, "runtime_rtmrs is not an object"),
    ({**ROW, "runtime_rtmrs": {}}, "RTMR0 is not 96 hexadecimal digits"),
    (
        {**ROW, "runtime_rtmrs": {**ROW["runtime_rtmrs"], "RTMR3": "00" * 47}},
        "RTMR3 is not 96 hexadecimal digits",
    ),
    ({**ROW, "mrtd": "0g" * 48}, "mrtd is not 96 hexadecimal digits"),
    ({**ROW, "mrtd": "00" * 48 + "\n"}, "mrtd is not 96 hexadecimal digits"),
    ({**ROW, "mrtd": 5}, "mrtd is not 96 hexadecimal digits"),
    ({**ROW, "gpu_count": True}, "gpu_count is not a number up to 64"),
    ({**ROW, "gpu_count": -1}, "gpu_count is not a number up to 64"),
    ({**ROW, "gpu_count": 65}, "gpu_count is not a number up to 64"),
    ({**ROW, "gpu_count": None}, "gpu_count is not a number up to 64"),
    ({**ROW, "name": ""}, "name is not a text of up to 100 printable ASCII characters"),
    ({**ROW, "name": "x" * 101}, "name is not a text of up to 100 printable ASCII characters"),
    ({**ROW, "name": 'a"b'}, "name is not a text of up to 100 printable ASCII characters"),
    ({**ROW, "name": "a\\b"}, "name is not a text of up to 100 printable ASCII characters"),
    ({**ROW, "name": "a\r\nb"}, "name is not a text of up to 100 printable ASCII characters"),
    ({**ROW, "version": 1}, "version is not a text of up to 100 printable ASCII characters"),
)


def body(*rows: object) -> bytes:
    """Return a list of rows as JSON."""
    return json.dumps(rows).encode()
