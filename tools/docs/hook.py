"""Hooks for mkdocs: generated parts of pages, and the findings of `research` as pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.docs.labels import labelled
from tools.docs.pages import filled

_ROOT = Path(__file__).resolve().parents[2]
_FINDINGS = ("research/RELIABILITY.md", "research/COVERAGE_MATRIX.md")


def on_config(config: Any) -> Any:
    """Remove pages from the navigation that do not exist."""
    docs = Path(config.docs_dir)
    there = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    config.nav = _written(config.nav, there | set(_FINDINGS))
    return config


def _written(nav: list[Any], there: set[str]) -> list[Any]:
    """Return the entries of a navigation whose pages exist."""
    kept: list[Any] = []
    for entry in nav:
        ((title, what),) = entry.items()
        if isinstance(what, list):
            kept.append({title: _written(what, there)})
        elif what in there:
            kept.append(entry)
    return kept


def on_files(files: Any, config: Any) -> Any:
    """Add the findings to the site."""
    from mkdocs.structure.files import File

    for path in _FINDINGS:
        files.append(File.generated(config, path, abs_src_path=str(_ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in a page, and adapt its links to the findings' place in the site."""
    if page.file.src_uri in _FINDINGS:
        return markdown
    return filled(markdown).replace("](../research/", "](research/")


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Label the cells of all tables."""
    return labelled(html)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Name the dialog of the search, which has none in the theme."""
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"', 1)
