"""Reads YAML and checks it against published schemas, in a process of its own.

It prints, as JSON, what is in each file and what is wrong with it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

_COMPOSE = Path(__file__).with_name("schema") / "compose-spec.json"
NO_SCHEMA = "no schema"


def main(paths: list[str]) -> None:
    """Check the files."""
    print(json.dumps({path: _checked(Path(path)) for path in paths}))


def _checked(path: Path) -> dict[str, Any]:
    documents = [each for each in yaml.safe_load_all(path.read_text()) if each is not None]
    problems = [problem for each in documents for problem in _problems(each)]
    return {"documents": documents, "problems": problems}


def _problems(document: Any) -> Iterator[str]:
    if "kind" in document:
        return _of_kubernetes(document)
    return _of_compose(document) if "services" in document else iter((NO_SCHEMA,))


def _of_compose(document: Any) -> Iterator[str]:
    validator = jsonschema.Draft7Validator(json.loads(_COMPOSE.read_text()))
    for error in validator.iter_errors(document):
        yield f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"


def _of_kubernetes(document: Any) -> Iterator[str]:
    newest = kubernetes_validate.latest_version()
    try:
        kubernetes_validate.validate(document, newest, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        yield NO_SCHEMA
    except kubernetes_validate.ValidationError as wrong:
        yield f"{'.'.join(map(str, wrong.path))}: {wrong.message[:200]}"


if __name__ == "__main__":
    main(sys.argv[1:])
