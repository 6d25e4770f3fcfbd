"""The picture of the status page: ``python -m tools.picture`` writes docs/images/status.png.

Chromium photographs the page of a router that has served the stub backend's models for a few
seconds. Some requests fail over and some fail, so that the page has something to show.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from io import BytesIO
from pathlib import Path

from stub_backend.demo.processes import HOST, DemoError, ending, router, stub, wait_until_ready

PATH = Path(__file__).resolve().parents[1] / "docs" / "images" / "status.png"
MAX_BYTES = 150_000
"""The most that a README's picture may weigh."""

_ALIAS = "chutesai/AutoPilot"
_COLD = "stub/503-cold"
_TRAFFIC = (
    *[_ALIAS] * 6,
    f"{_COLD},{_ALIAS}",
    f"stub/503-cold,stub/429-capacity,{_ALIAS}",
    _COLD,
    "gpt-4o",
    *[_ALIAS] * 3,
)
_WIDTH, _HEIGHT = 1300, 1280
_PATIENCE = 20.0
_QUIET_MS = 1500
"""Until the page shows the last request: a rendering is shared for a second."""


def traffic(port: int) -> None:
    """Send the requests that the page shall show, one after the other."""
    for model in _TRAFFIC:
        body = {"model": model, "messages": [{"role": "user", "content": model}]}
        connection = HTTPConnection(HOST, port, timeout=_PATIENCE)
        try:
            connection.request(
                "POST",
                "/v1/chat/completions",
                json.dumps(body | {"stream": True}).encode(),
                {"Content-Type": "application/json", "Authorization": "Bearer picture"},
            )
            connection.getresponse().read()
        except HTTPException:
            pass  # a stream that the stub breaks
        finally:
            connection.close()


def photograph(port: int, path: Path) -> None:
    """Write a picture of the page in the light colours."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise DemoError("there is no chromium here; on Debian: apt-get install chromium")
    # Chromium's sandbox does not work for root.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with import_module("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=sandbox)
        page = browser.new_page(
            viewport={"width": _WIDTH, "height": _HEIGHT},
            color_scheme="light",
            reduced_motion="reduce",
        )
        page.goto(f"http://{HOST}:{port}/status")
        page.wait_for_selector("#live[data-state=live]")
        page.wait_for_timeout(_QUIET_MS)
        png = page.screenshot()
        browser.close()
    # Pillow comes with matplotlib. A palette halves the size, and the page has few colours; the
    # method of maximum coverage keeps also those of a few pixels.
    image = import_module("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = image.open(BytesIO(png)).convert("RGB")
    picture.quantize(method=image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def main(path: Path = PATH) -> int:
    """Make the picture; return an exit status. Raises DemoError."""
    with tempfile.TemporaryDirectory(prefix="autopilot-picture-") as folder:
        platform = stub(Path(folder))
        with ending(platform):
            platform.start()
            served = router(Path(folder), platform.port)
            with ending(served):
                served.start()
                wait_until_ready(served, (platform, served))
                traffic(served.port)
                photograph(served.port, path)
    weight = path.stat().st_size
    print(f"{path}: {weight:,} bytes")
    return 0 if weight <= MAX_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
