"""Check of a built site: links have targets, and no resource is loaded from another site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_FETCHED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}
# Attributes with URLs that browsers do not fetch.
_NAMES = frozenset({"canonical", "next", "prev"})
_IN_STYLES = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s;]+)""")


class Page(HTMLParser):
    """The links, anchors and resources of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.parts: list[str] = []
        self.anchors: set[str] = {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        given = {name: value or "" for name, value in attrs}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in _FETCHED and given.get("rel") not in _NAMES and given.get(_FETCHED[tag]):
            self.parts.append(given[_FETCHED[tag]])
        self.parts += _IN_STYLES.findall(given.get("style", ""))


def problems(folder: Path) -> Iterator[str]:
    """Yield a line for each problem of the site in this folder."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(folder)
        if name.name == "404.html":  # its links are relative to the server's root
            continue
        for link in page.links:
            if not _is_outside(link) and not _leads_somewhere(link, path, pages):
                yield f"{name}: {link} leads nowhere"
        for part in page.parts:
            if not _is_there(part, path):
                yield f"{name}: {part} is not part of the site"
    for path in sorted(folder.rglob("*.css")):
        for part in _IN_STYLES.findall(path.read_text("utf-8")):
            if not part.startswith(("data:", "#")) and not _is_there(part, path):
                yield f"{path.relative_to(folder)}: {part} is not part of the site"


def _is_outside(link: str) -> bool:
    return bool(urlsplit(link).scheme or urlsplit(link).netloc)


def _target(link: str, path: Path) -> Path:
    """Return the file that a relative link refers to."""
    named = unquote(urlsplit(link).path)
    return (path.parent / named).resolve() if named else path.resolve()


def _leads_somewhere(link: str, path: Path, pages: dict[Path, Page]) -> bool:
    target = _target(link, path)
    known = {each.resolve(): page for each, page in pages.items()}
    if target not in known:
        return target.is_file()
    return unquote(urlsplit(link).fragment) in known[target].anchors


def _is_there(part: str, path: Path) -> bool:
    return not _is_outside(part) and _target(part, path).is_file()
