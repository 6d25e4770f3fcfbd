"""The HTML of the page at ``/``: this router's addresses, and the first lines for each client.

Everything is in one document, because the port of the API has no other files of the page. The
policy allows its style and its script by their hashes, and nothing else.
"""

from __future__ import annotations

import json
import shlex
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from markupsafe import Markup

from autopilot.web.status.formatting import Formatted, escaped
from autopilot.web.status.markup import SLOT, Cell, Child, Template, el

NAME: Final = "chutes-autopilot"
_WITHOUT_ALIAS: Final = "org/model"
"""Stands for a model's name where the router has no alias."""

_OPENAI, _ANTHROPIC = "\N{WHITE SQUARE}", "\N{BLACK SQUARE}"
"""Stand for the base URLs in the examples."""

_PROMPT: Final = "Hello!"


def examples(alias: str) -> Iterator[tuple[str, str]]:
    """Return titles and code, with placeholders for the base URLs; ``alias`` is ASCII text."""
    model = json.dumps(alias)
    messages = f'[{{"role": "user", "content": "{_PROMPT}"}}]'
    body = shlex.quote(f'{{"model": {model}, "messages": {messages}}}')
    yield (
        "openai for Python",
        (
            "import openai, os\n"
            f'client = openai.OpenAI(base_url="{_OPENAI}", api_key=os.environ["CHUTES_API_KEY"])\n'
            f"print(client.chat.completions.create(model={model}, "
            f"messages={messages}).choices[0].message.content)"
        ),
    )
    yield (
        "openai for Node",
        (
            'import OpenAI from "openai";\n'
            f'const client = new OpenAI({{ baseURL: "{_OPENAI}", '
            "apiKey: process.env.CHUTES_API_KEY });\n"
            f"console.log((await client.chat.completions.create({{ model: {model}, "
            f'messages: [{{ role: "user", content: "{_PROMPT}" }}] }}))'
            ".choices[0].message.content);"
        ),
    )
    yield (
        "anthropic for Python",
        (
            "import anthropic, os\n"
            f'client = anthropic.Anthropic(base_url="{_ANTHROPIC}", '
            'auth_token=os.environ["CHUTES_API_KEY"])\n'
            f"print(client.messages.create(model={model}, max_tokens=1024, "
            f"messages={messages}).content[0].text)"
        ),
    )
    yield (
        "curl",
        (
            f"curl {_OPENAI}/chat/completions \\\n"
            '  -H "Authorization: Bearer $CHUTES_API_KEY" -H "Content-Type: application/json" \\\n'
            f"  -d {body}"
        ),
    )
    yield (
        "Tools that read the environment",
        (
            f'export OPENAI_BASE_URL={_OPENAI} OPENAI_API_KEY="$CHUTES_API_KEY"\n'
            f'export ANTHROPIC_BASE_URL={_ANTHROPIC} ANTHROPIC_AUTH_TOKEN="$CHUTES_API_KEY"'
        ),
    )


class _Page(NamedTuple):
    """The page for one alias; ``places`` says which base URL each of its slots is for."""

    alias: str | None
    template: Template
    places: tuple[str, ...]


class StartDocument:
    """The document, of which everything but the addresses is built once for each alias."""

    def __init__(self, version: str) -> None:
        folder = Path(__file__).parent
        self._version = version
        self._style = (folder / "start_page.css").read_text("utf-8")
        self._script = (folder / "start_page.js").read_text("utf-8")
        self._latest: _Page | None = None
        self._without = Template(self._page(el("p", _NO_ADDRESS), SLOT))
        self.policy: Final = (
            f"default-src 'none'; style-src {_source(self._style)}; "
            f"script-src {_source(self._script)}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ).encode("ascii")
        """The Content-Security-Policy."""

    def render(self, facts: Mapping[str, str], alias: str | None) -> bytes:
        """Return the page for people; without an address in ``facts`` it has no examples."""
        status = facts.get("status")
        link: Cell = _STATUS.fill([(escaped(status),)]) if status else _NO_STATUS
        base = facts.get("openai_base_url")
        if base is None:
            document = self._without.fill([(link,)])
        else:
            bases = {_OPENAI: escaped(base), _ANTHROPIC: escaped(facts["anthropic_base_url"])}
            page = self._latest
            if page is None or page.alias != alias:
                page = self._latest = self._with_examples(alias)
            document = page.template.fill([(link, *[bases[each] for each in page.places])])
        return b"<!doctype html>\n" + document.encode("utf-8")

    def _with_examples(self, alias: str | None) -> _Page:
        """Build the page with slots for the link to the status page and for the base URLs."""
        model = alias or _WITHOUT_ALIAS
        bases = el(
            "dl",
            el("dt", "Base URL for OpenAI's API"),
            el("dd", el("code", _OPENAI)),
            el("dt", "Base URL for Anthropic's API"),
            el("dd", el("code", _ANTHROPIC)),
            el("dt", "Model"),
            el("dd", el("code", model), ", a name, or names with commas between them"),
        )
        page = str(self._page([bases, list(map(_example, examples(model)))], SLOT))
        places = tuple(each for each in page if each in (_OPENAI, _ANTHROPIC))
        slots = page.replace(_OPENAI, SLOT).replace(_ANTHROPIC, SLOT)
        return _Page(alias, Template(Markup(slots)), places)  # noqa: S704  escaped by `el`

    def _page(self, content: Child, link: Child) -> Markup:
        return el(
            "html",
            el(
                "head",
                el("meta", charset="utf-8"),
                el("meta", name="viewport", content="width=device-width, initial-scale=1"),
                el("meta", name="color-scheme", content="light dark"),
                el("title", NAME),
                el("style", Markup(self._style)),  # noqa: S704  our own file
            ),
            el(
                "body",
                el(
                    "main",
                    el("h1", NAME, " ", el("small", f"version {self._version}")),
                    link,
                    content,
                ),
                el("script", Markup(self._script)),  # noqa: S704  our own file
            ),
            lang="en",
        )


_NO_ADDRESS = "This request has no valid Host field, so the page cannot tell the router's address."
_STATUS = Template(el("p", el("a", "Status of this router", href=SLOT)))
_NO_STATUS = Formatted(
    "<p>The status page of this router is on its operators&#x27; port, which the setting "
    "<code>ADMIN_LISTEN_ADDR</code> names: by default <code>127.0.0.1:8081</code>.</p>"
)


def _example(given: tuple[str, str]) -> Markup:
    title, code = given
    return el("section", el("h2", title), el("pre", el("code", code)))


def _source(text: str) -> str:
    """Return the source expression for inline text in a policy."""
    return f"'sha256-{b64encode(sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
