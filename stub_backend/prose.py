"""Readable answers, for a person who watches the stub: the demo's, and one for any question."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stub_backend.generation import Kind, Piece

CHOOSING = "What do you do with my request?"
FAILING = "And if the model I want is down?"
NAMING = "Can I insist on one model?"
BREAKING = "Tell me a story about a lighthouse."
READING = "Who can read this question?"
FALLING_BACK = "And if my instance is full?"
REFUSING = "And if an instance cannot be trusted?"

_ANSWERS: Mapping[str, str] = {
    CHOOSING: "I was simply free. The router looked at how busy every model is right now, saw that"
    " I had the most room, and sent you here before you could finish a sip of coffee.",
    FAILING: "Then the next one on your list answers, and that is me. You noticed nothing, because"
    " not one word of the first model had reached you yet.",
    NAMING: "Yes: write its name, and only that model hears your question. If it cannot answer, you"
    " get its own error as it came, and never another model in its place.",
    BREAKING: "Every evening the keeper of the northern lighthouse wrote one line to the ships that"
    " passed, and one night a ship wrote back. The letter was short, and it said only this: we"
    " see you too.",
    READING: "I can, as can all software in my virtual machine, and the router, which sealed it for"
    " me. The platform between us passes on bytes, and does not see what they say.",
    FALLING_BACK: "Then I answer, who run the same model on another machine. My key was verified"
    " like the first one, and what you asked was sealed again, for me alone.",
    REFUSING: "Then it hears nothing. The router looks at the evidence first, and only then seals"
    " your question, for the next model on your list.",
}


def answer(model: str, question: str) -> tuple[Piece, ...]:
    """Return the answer to a question, word by word."""
    text = _ANSWERS.get(question) or (
        f"Hello from {model}, or rather from its understudy: I have read your question, all"
        f" {len(question)} characters of it, but I only know how to stream. Real models answer as"
        " soon as the router runs against the real platform."
    )
    return tuple(Piece(Kind.TEXT, word) for word in re.findall(r"\s*\S+", text))
