"""Makes ``twistd autopilot`` exist. Every ``twistd`` reads it, so it imports little."""

from twisted.application.service import ServiceMaker

autopilot = ServiceMaker(
    "autopilot",
    "autopilot.tap",
    "Streaming, OpenAI-compatible router with failover for Chutes.ai models.",
    "autopilot",
)
