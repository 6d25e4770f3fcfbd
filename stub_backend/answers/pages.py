"""The HTML error pages of the platform's edge, in the stub's own words."""

from __future__ import annotations


def nginx_page(title: str) -> bytes:
    """Return an error page of the ingress, recognizable by its last line."""
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1>"
        "</center>\r\n<p>The stub's ingress speaking.</p>\r\n<hr><center>nginx</center>\r\n"
        "</body>\r\n</html>\r\n"
    ).encode()


def front_end_page(status: int, title: str, sentence: str) -> bytes:
    """Return an error page of the load balancer in front of the ingress."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{status} {title}</title>\n<p><b>{status}.</b> {sentence}\n"
        "<p>The stub's front end speaking.\n</html>\n"
    ).encode()
