"""What leaves a store is plain Python, whatever was written and by whichever way it is read.

MongoDB keeps an integer above 2^31-1 as 64 bits, and bson reads that as a type of its own, which
neither msgspec nor a JSON encoder takes: such a record would answer 500 for ever.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bson
import msgspec
import orjson
import pytest
import pytest_asyncio
from pydantic import SecretStr
from pymongo import ReturnDocument

from voltbus_backbone.mongo.store import PLAIN, open_database
from voltbus_backbone.settings import StoreSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from voltbus_backbone.mongo.store import Database

LARGE = 4_296_944_685  # above 2^31-1: a meter of 4.3 GWh, an id that counts on
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
STORING = ("voltbus_auth", "voltbus_config", "voltbus_agreements")
PLAIN_TYPES = {dict, list, str, int, float, bool, bytes, datetime, type(None)}
DOCUMENT: dict[str, Any] = {
    "_id": "any",
    "number": LARGE,
    "small": 5,
    "list": [LARGE, {"deep": LARGE}],
    "at": NOW,
    "data": b"bytes",
    "half": 0.5,
    "nothing": None,
}


def odd_values(value: Any) -> list[type]:
    """Types within a value that are not plain Python."""
    if type(value) is dict:
        return [kind for inner in value.values() for kind in odd_values(inner)]
    if type(value) is list:
        return [kind for inner in value for kind in odd_values(inner)]
    if type(value) is datetime and value.tzinfo is not UTC:
        return [type(value.tzinfo)]
    return [] if type(value) in PLAIN_TYPES else [type(value)]


def made(kind: msgspec.inspect.Type) -> Any:  # noqa: C901, PLR0911, PLR0912 - a line a kind
    """A value of this type whose integers are large."""
    match kind:
        case msgspec.inspect.IntType():
            return LARGE if kind.le is None else min(LARGE, kind.le)
        case msgspec.inspect.FloatType():
            return 0.5
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.StrType() | msgspec.inspect.AnyType():
            return "x"
        case msgspec.inspect.BytesType():
            return b"x"
        case msgspec.inspect.DateTimeType():
            return NOW
        case msgspec.inspect.TimeDeltaType():
            return "PT1S"
        case msgspec.inspect.EnumType():
            return next(iter(kind.cls)).value
        case msgspec.inspect.LiteralType():
            return kind.values[0]
        case msgspec.inspect.DictType():
            return {made(kind.key_type): made(kind.value_type)}
        case msgspec.inspect.TupleType():
            return [made(item) for item in kind.item_types]
        case (
            msgspec.inspect.VarTupleType()
            | msgspec.inspect.ListType()
            | msgspec.inspect.SetType()
            | msgspec.inspect.FrozenSetType()
        ):
            return [made(kind.item_type)]
        case msgspec.inspect.UnionType():
            return made(
                next(one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType))
            )
        case msgspec.inspect.StructType() | msgspec.inspect.DataclassType():
            return {field.encode_name: made(field.type) for field in kind.fields}
    raise AssertionError(kind)


def structs_with_integers() -> Iterator[type[msgspec.Struct]]:
    """Every struct with an integer in the domains, stores and contract of all services."""
    seen = set()
    for package in (*STORING, "voltbus_backbone.contract"):
        root = importlib.import_module(package)
        for found in pkgutil.walk_packages(root.__path__, f"{package}."):
            # A convenience shape is read from a request and never stored as itself.
            if found.name.endswith("__main__") or ".domain.shapes" in found.name:
                continue
            for value in vars(importlib.import_module(found.name)).values():
                if isinstance(value, type) and issubclass(value, msgspec.Struct):
                    seen.add(value)
    for kind in sorted(seen, key=lambda kind: f"{kind.__module__}.{kind.__name__}"):
        try:
            fields = made(msgspec.inspect.type_info(kind))
        except NameError:  # annotated for the type checker only: no document is read as one
            continue
        if str(LARGE) in str(fields):
            yield kind


@pytest.mark.parametrize("kind", list(structs_with_integers()), ids=lambda kind: kind.__name__)
def test_every_document_type_survives_with_large_integers(kind: type[msgspec.Struct]) -> None:
    """Written as BSON and read as our stores read, it is the same value and can be encoded."""
    fields = made(msgspec.inspect.type_info(kind))
    value = msgspec.convert(fields, kind, strict=False)
    document = msgspec.to_builtins(value, builtin_types=(datetime, bytes), str_keys=True)
    read = bson.decode(bson.encode(document), PLAIN)
    assert odd_values(read) == []
    assert msgspec.convert(read, kind, strict=False) == value
    assert msgspec.json.encode(read)
    assert orjson.dumps(read, default=bytes.hex)


def test_only_one_place_says_how_documents_are_read() -> None:
    """No service opens a client, names codec options or runs a raw command of its own.

    What is read past a collection of `open_database` would have bson's types again.
    """
    found = set()
    for path in sorted((ROOT / "services").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                words = {keyword.arg for keyword in node.keywords}
                if name in {"AsyncIOMotorClient", "CodecOptions", "command", "get_database"}:
                    owner = getattr(getattr(node.func, "value", None), "id", "")
                    if owner not in {"app", "views"}:  # no databases
                        found.add(f"{path.name}: {name}")
                if "codec_options" in words:
                    found.add(f"{path.name}: codec_options")
    assert found == set()


@pytest_asyncio.fixture(loop_scope="session")
async def database(mongo_uri: str, database_name: str) -> AsyncIterator[Database]:
    """A database of this test's own."""
    settings = StoreSettings(
        http_port=0, mongo_uri=SecretStr(mongo_uri), mongo_database=database_name
    )
    opened = await open_database(settings)
    yield opened
    await opened.client.drop_database(database_name)
    opened.client.close()


@pytest.mark.stack
async def test_whichever_way_it_is_read(database: Database) -> None:
    """Found, aggregated, changed, deleted, with other concerns: the values are plain each time."""
    things = database["things"]
    await things.insert_one(dict(DOCUMENT))
    other = things.with_options(read_concern=things.read_concern)
    read = [
        await things.find_one({"_id": "any"}),
        *await things.find({}).to_list(None),
        *await other.find({}).to_list(None),
        *await things.aggregate([{"$match": {}}]).to_list(None),
        await things.find_one_and_update(
            {"_id": "any"}, {"$inc": {"number": 1}}, return_document=ReturnDocument.AFTER
        ),
        *await things.distinct("list"),
        await things.find_one_and_delete({"_id": "any"}),
    ]
    assert len(read) == 8
    assert [odd_values(document) for document in read] == [[]] * 8
