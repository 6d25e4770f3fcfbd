"""Files of `deploy` that a page shows whole."""

from __future__ import annotations

from typing import Final

from tools.docs.blocks import ROOT

_DEPLOY: Final = ROOT / "deploy"


def nginx_configuration() -> str:
    """Return the configuration of nginx."""
    return _shown("nginx", "nginx/chutes-autopilot.conf")


def ingress() -> str:
    """Return the Ingress for Kubernetes."""
    return _shown("yaml", "kubernetes/ingress.yaml")


def _shown(language: str, path: str) -> str:
    text = (_DEPLOY / path).read_text("utf-8")
    return f"`deploy/{path}`:\n\n```{language}\n{text}```"
