"""Makes ``twistd autopilot`` and its reactor exist. Every ``twistd`` reads it, so keep it small."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

autopilot = ServiceMaker(
    "autopilot",
    "autopilot.tap",
    "Streaming, OpenAI-compatible router with failover for Chutes.ai models.",
    "autopilot",
)

reactor = Reactor(
    "autopilot",
    "autopilot.process.reactor",
    "epoll(7) based reactor with less work per event.",
)
