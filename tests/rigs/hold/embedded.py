"""A site with Twisted's own channel and the router's resource, as an application embeds it.

`python -m tests.rigs.hold.embedded` takes the router's settings from the environment.
"""

from __future__ import annotations

import os
import sys

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger, globalLogPublisher, textFileLogObserver
from twisted.web.server import Site

from autopilot import AutopilotService, autopilot_resource
from autopilot.service.lifecycle import use_monotonic_clock
from autopilot.settings import load_settings, split_address


def main() -> None:
    """Serve until SIGTERM."""
    globalLogPublisher.addObserver(textFileLogObserver(sys.stdout))
    use_monotonic_clock()
    settings = load_settings({}, os.environ, {})
    service = AutopilotService(settings, listen=False)
    host, port = split_address(settings.listen_addr)
    endpoint = serverFromString(reactor, f"tcp:{port}:interface={host}:backlog=4096")
    everything = MultiService()
    service.setServiceParent(everything)
    site = Site(autopilot_resource(service))
    StreamServerEndpointService(endpoint, site).setServiceParent(everything)
    everything.startService()
    reactor.addSystemEventTrigger("before", "shutdown", everything.stopService)
    Logger().info("The site listens on {host}:{port}", host=host, port=port)
    reactor.run()


if __name__ == "__main__":
    main()
