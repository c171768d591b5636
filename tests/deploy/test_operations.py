"""docs/operations.md: every setting with its default, every metric, every check of readiness."""

from __future__ import annotations

import ast
import importlib
import re
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from voltbus_backbone import bounds
from voltbus_backbone.settings import KafkaSettings, ServiceSettings, StoreSettings

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text()
SERVICES = ("gateway", "auth", "config", "agreements")
METRICS = {"Counter", "Gauge", "Histogram"}
ROWS = dict(re.findall(r"^\| `(VOLTBUS_\w+)` \| ([^|]*) \|", PAGE, re.MULTILINE))

# Shared by services that set it differently.
BY_SERVICE = {"VOLTBUS_MONGO_DATABASE"}


def fields(settings: type[BaseModel], prefix: str = "VOLTBUS_") -> dict[str, FieldInfo]:
    return {
        prefix + name.upper(): field
        for name, field in settings.model_fields.items()
        if name != "kafka"
    }


def everything() -> dict[str, FieldInfo]:
    """Every variable of every service."""
    found = fields(ServiceSettings) | fields(StoreSettings)
    found |= fields(KafkaSettings, "VOLTBUS_KAFKA_")
    for service in SERVICES:
        found |= fields(importlib.import_module(f"voltbus_{service}.settings").Settings)
    return found


def shown(field: FieldInfo) -> str:
    """A default as the page writes it."""
    if field.is_required():
        return "required"
    default: Any = field.default
    if isinstance(default, Enum):
        default = default.value
    if default is None or field.default_factory is dict:
        return "-"
    return "made" if field.default_factory is not None else f"`{default}`"


@cache
def metrics() -> set[str]:
    """The names under which our processes register metrics."""
    found = set()
    for path in [*ROOT.glob("libs/*/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]:
        text = path.read_text()
        if not any(kind in text for kind in METRICS):
            continue  # parsing is slow
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "").removesuffix("MetricFamily") in METRICS
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(str(node.args[0].value))
    return found


def test_every_setting_is_explained() -> None:
    """A variable that a service reads has a row, and a row is of a variable that is read."""
    assert ROWS.keys() == everything().keys()


@pytest.mark.parametrize("variable", sorted(ROWS.keys() - BY_SERVICE))
def test_a_default_is_the_one_that_holds(variable: str) -> None:
    """What the page says happens when a variable is not set."""
    assert ROWS[variable] == shown(everything()[variable])


def test_every_metric_is_explained() -> None:
    """A metric that is counted has a row, and a row is of a metric that is counted."""
    explained = set(re.findall(r"^\| `(voltbus_\w+)` \| [^|]*\|$", PAGE, re.MULTILINE))
    assert explained == metrics()


def test_the_bounds_are_those_that_hold() -> None:
    """Every constant of what one edge may send the next has a row with its value (ADR 0011)."""
    written = dict(re.findall(r"^\| `([A-Z_]+_(?:BYTES|LENGTH))` \| (\d+) \|", PAGE, re.MULTILINE))
    framing = {"BATCH_HEADER_BYTES"}  # Kafka's own
    held = {
        name: str(value)
        for name, value in vars(bounds).items()
        if type(value) is int and not name.startswith("_") and name not in framing
    }
    assert written == held


def checks(place: str) -> set[str]:
    """The names in a dictionary called ``checks``: assigned, or handed to ``Parts``."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / place).read_text())):
        targets = node.targets if isinstance(node, ast.Assign) else ()
        names = {getattr(target, "id", "") for target in targets}
        names.add(getattr(node, "arg", "") or "")
        value = getattr(node, "value", None)
        if "checks" in names and isinstance(value, ast.Dict):
            found |= {str(key.value) for key in value.keys if isinstance(key, ast.Constant)}
    return found


def names_of_many() -> set[str]:
    """How the names begin of which a service has several: those that are made with a prefix."""
    tree = ast.parse((ROOT / "libs/backbone/src/voltbus_backbone/service.py").read_text())
    made = [node.values for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    first = [str(parts[0].value) for parts in made if isinstance(parts[0], ast.Constant)]
    found = {text for text in first if re.fullmatch("[a-z]+-", text)}
    return found - {"voltbus-"}  # before the name of a process


@pytest.mark.parametrize("service", SERVICES)
def test_every_check_of_readiness_is_explained(service: str) -> None:
    """What /readyz may name has a row for the service, and a row names what it may name."""
    rows = re.findall(r"^\| `([a-z_-]+)(?:<\w+>)?` \| ([a-z, ]+) \|", PAGE, re.MULTILINE)
    explained = {name for name, of in rows if of == "every service" or service in of.split(", ")}
    own = checks(f"services/{service}/src/voltbus_{service}/__main__.py")
    shared = checks("libs/backbone/src/voltbus_backbone/service.py") | {"inbox"}
    assert own
    assert "kafka" in shared
    several = names_of_many()
    assert several == {"consuming-", "committing-", "working-"}
    if service == "gateway":  # it answers, and asks
        several = {"working-"}
    assert explained == own | shared | several


def test_every_background_job_is_named() -> None:
    """The row of `working-<job>` lists the jobs of all services."""
    jobs = set()
    for service in SERVICES:
        main = ROOT / f"services/{service}/src/voltbus_{service}/__main__.py"
        for node in ast.walk(ast.parse(main.read_text())):
            if isinstance(node, ast.Dict):
                jobs |= {
                    str(key.value)
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant)
                    and getattr(value, "attr", "") in {"run", "watch_certificates"}
                }
    (row,) = re.findall(r"^\| `working-<job>` .*$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`([a-z-]+)`", row)) == jobs


def test_alerts_ask_for_metrics_that_exist() -> None:
    """An alert on a name that nobody counts never rings."""
    alerts = PAGE.partition("## Alerts")[2]
    asked = {name.removesuffix("_bucket") for name in re.findall(r"\bvoltbus_[a-z_]+", alerts)}
    assert asked <= metrics()


def test_groups_that_the_page_names_exist() -> None:
    """The consumer groups to reset are ones that a service joins."""
    sources = "".join(path.read_text() for path in ROOT.glob("services/*/src/*/__main__.py"))
    for group in re.findall(r"`voltbus\.((?:auth|config|agreements)-\w+)`", PAGE):
        assert f'"{group}"' in sources
