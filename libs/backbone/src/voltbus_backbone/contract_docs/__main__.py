"""``python -m voltbus_backbone.contract_docs``: write the documents into ``docs``.

``--check`` writes nothing and exits 2 when they are stale. ``--record-baseline`` keeps the schemas
of types that have none yet in ``docs/contract/baseline``: what is there may gain optional fields
only (``compatibility``). Run it with each release.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from voltbus_backbone.contract.registry import TYPES
from voltbus_backbone.contract_docs.asyncapi import asyncapi
from voltbus_backbone.contract_docs.page import page
from voltbus_backbone.contract_docs.schemas import Schema, schema_of
from voltbus_backbone.contract_docs.yaml import to_yaml

SCHEMAS = Path("contract/schemas")
BASELINE = Path("contract/baseline")


def documents() -> dict[Path, str]:
    """Every generated file's content, by its path below ``docs``."""
    made = {SCHEMAS / f"{row.name}.json": _text(schema_of(row)) for row in TYPES.values()}
    made[Path("contract/asyncapi.yaml")] = "# Written by `make contract`. Do not edit.\n" + to_yaml(
        asyncapi()
    )
    made[Path("events.md")] = page()
    return made


def stale(docs: Path) -> list[Path]:
    """The files that are missing, outdated, or of a type that is no more."""
    wanted = documents()
    found = {path.relative_to(docs) for path in (docs / SCHEMAS).glob("*.json")}
    outdated = [path for path, text in wanted.items() if _read(docs / path) != text]
    return sorted([*outdated, *(found - wanted.keys())])


def write(docs: Path) -> list[Path]:
    """Bring the files up to date; returns those that changed."""
    changed = stale(docs)
    wanted = documents()
    for path in changed:
        target = docs / path
        if path in wanted:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(wanted[path], encoding="utf-8")
        else:
            target.unlink()
    return changed


def record_baseline(docs: Path) -> list[Path]:
    """Keep the schemas of types that the baseline does not have; never changes one that it has."""
    made = []
    (docs / BASELINE).mkdir(parents=True, exist_ok=True)
    for row in TYPES.values():
        path = docs / BASELINE / f"{row.name}.json"
        if not path.exists():
            path.write_text(_text(schema_of(row)), encoding="utf-8")
            made.append(path.relative_to(docs))
    return made


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m voltbus_backbone.contract_docs",
        description="Write JSON Schemas, AsyncAPI and events.md from the contract.",
    )
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where (default: docs)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 2 when stale")
    parser.add_argument("--record-baseline", action="store_true", help="keep new types' schemas")
    options = parser.parse_args(arguments)
    docs: Path = options.docs
    if not docs.is_dir():
        return _refuse(f"there is no folder {docs}: run it at the top of the repository")
    if options.check:
        outdated = stale(docs)
        if outdated:
            return _refuse(
                f"stale: {outdated[0]} and {len(outdated) - 1} more; run 'make contract'"
            )
        return 0
    changed = write(docs)
    if options.record_baseline:
        changed += record_baseline(docs)
    sys.stdout.writelines(f"{docs / path}\n" for path in changed)
    return 0


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"contract_docs: {sentence}\n")
    return 2


def _text(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
