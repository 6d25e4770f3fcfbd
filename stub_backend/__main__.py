"""The stub as a process: it prints one line when it is ready, and stops on SIGTERM or SIGINT."""

from __future__ import annotations

import sys
from typing import Any

from stub_backend.command import host_and_port, parse
from stub_backend.options import StubOptions
from stub_backend.stub import site


def serve(reactor: Any, options: StubOptions) -> None:
    """Listen, and print the address."""
    host, port = host_and_port(options.listen)
    listening = reactor.listenTCP(port, site(reactor, options).site, backlog=1024, interface=host)
    shown = f"[{host}]" if ":" in host else host
    print(f"stub backend listening on http://{shown}:{listening.getHost().port}", flush=True)


def main(arguments: list[str]) -> int:
    """Run until a signal arrives, and return the exit status."""
    options = parse(arguments)
    from twisted.internet import reactor
    from twisted.internet.error import CannotListenError

    try:
        serve(reactor, options)
    except CannotListenError as error:
        print(f"stub backend: {error}", file=sys.stderr)
        return 1
    reactor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
