"""What holds for every source file; import directions are in .importlinter."""

from __future__ import annotations

import ast
import configparser
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PARTS = ("libs", "services", "tools", "tests", "benchmarks", "deploy", "docs", ".ci")
NOT_OURS = {"__pycache__", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".git"}
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
SERVICES = ("gateway", "auth", "config", "agreements")

# The kernel does not tell when a file's lock is free with a deadline; no event loop runs there.
WAIT_FOR_A_FILE_LOCK = {"tools/voltbus/src/voltbus/embedded/folders.py"}

# Names that say nothing of what a module owns.
VAGUE = re.compile(r"(^|_)(utils?|common|managers?|base|helpers?|misc|shared)($|_)")

# Built from pieces, so that this file holds none of them.
REGISTRIES = tuple(
    ".".join(pieces)
    for pieces in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("yarnpkg", "com"),
        ("crates", "io"),
        ("golang", "org"),
        ("repo1", "maven"),
        ("maven", "apache"),
        ("maven", "org"),
        ("deb", "debian"),
        ("conda", "anaconda"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("gcr", "io"),
    )
)


@cache
def files() -> tuple[Path, ...]:
    """Every file that is ours, below the parts and at the top."""
    # In a worktree .git is a file, which names another folder.
    found = [path for path in ROOT.iterdir() if path.is_file() and path.name not in NOT_OURS]
    for part in PARTS:
        for folder, below, names in os.walk(ROOT / part):
            below[:] = [name for name in below if name not in NOT_OURS]
            found += [Path(folder, name) for name in names if not name.endswith(".pyc")]
    return tuple(sorted(found))


@cache
def texts() -> dict[str, str]:
    """The text files by their path in the repository."""
    found = {}
    for path in files():
        try:
            found[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


@cache
def trees() -> dict[str, ast.Module]:
    """The Python files, parsed."""
    return {name: ast.parse(text) for name, text in texts().items() if name.endswith(".py")}


def sources() -> dict[str, ast.Module]:
    """What is installed: the files of the src trees."""
    return {name: tree for name, tree in trees().items() if "/src/" in name}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function's body, without its docstring and the functions inside it.

    A command's options and a router's routes are lists: each entry is looked at by itself.
    """
    body = function.body[1:] if ast.get_docstring(function) else function.body
    inner: set[int] = set()
    for node in (node for statement in body for node in functions(statement)):
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        inner.update(range(first, (node.end_lineno or first) + 1))
    lines = {
        line
        for statement in body
        for line in range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    }
    return len(lines - inner)


def is_called(tree: ast.AST, dotted: str) -> bool:
    """Whether ``module.name(...)`` is called, or ``name`` is imported from the module."""
    module, _, name = dotted.rpartition(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == dotted:
            return True
        if isinstance(node, ast.ImportFrom) and node.module == module:
            return any(alias.name == name for alias in node.names)
    return False


def test_all_parts_are_looked_at() -> None:
    """This file would pass over an empty tree: it sees each service, the tools and the tests."""
    names = sources().keys()
    for service in SERVICES:
        assert f"services/{service}/src/voltbus_{service}/__main__.py" in names
    assert "tools/voltbus/src/voltbus/__main__.py" in names
    assert "tests/architecture/test_sources.py" in trees()


def test_no_file_is_too_long() -> None:
    """A module that outgrows its page becomes a package of the same name."""
    too_long = {
        name: lines for name in sources() if (lines := texts()[name].count("\n")) > LONGEST_FILE
    }
    assert too_long == {}


def test_no_function_is_too_long() -> None:
    """A function fits on a screen."""
    too_long = {
        f"{name}:{node.lineno} {node.name}": length
        for name, tree in sources().items()
        for node in functions(tree)
        if (length := own_lines(node)) > LONGEST_FUNCTION
    }
    assert too_long == {}


def test_modules_are_named_after_what_they_own() -> None:
    """No utils, common, manager, base or helper."""
    assert [name for name in sources() if VAGUE.search(Path(name).stem)] == []


def modules_in(folder: Path) -> set[str]:
    """The modules and packages of a package, by name."""
    return {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_shape(service: str) -> None:
    """Knowing one service is knowing all; where there are rooms, these have the shape."""
    folder = ROOT / "services" / service / "src" / f"voltbus_{service}"
    shape = {
        "gateway": {"api", "domain", "calls", "commands", "door", "sockets"},
        "auth": {"database", "dispatch", "tokens", "decisions", "transactions"},
    }.get(service, {"api", "domain", "handlers", "store"})
    assert {"__main__", "settings"} | shape <= modules_in(folder)


def test_every_room_of_auth_has_the_shape_of_a_service() -> None:
    """A room has nothing but layers, and of each at most one."""
    folder = ROOT / "services/auth/src/voltbus_auth"
    rooms = [path.parent for path in folder.glob("*/__init__.py")]
    assert len(rooms) == 10
    layers = {"__init__", "__pycache__", "api", "handlers", "store", "clients", "domain"}
    assert {
        room.name: modules_in(room) - layers for room in rooms if modules_in(room) - layers
    } == {}


def contract_modules(contract: str, key: str) -> set[str]:
    """The modules that a contract of .importlinter names under a key."""
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    return set(contracts[contract][key].split())


def test_every_service_is_under_the_import_contracts() -> None:
    """A new service or room that .importlinter does not name would be free to import anything."""
    packages = {path.name for path in ROOT.glob("*/*/src/*") if path.is_dir()}
    assert contract_modules("importlinter", "root_packages") == packages
    services = {path.name for path in ROOT.glob("services/*/src/*") if path.is_dir()}
    assert contract_modules("importlinter:contract:services-apart", "modules") == services
    inside = contract_modules("importlinter:contract:inside-a-service", "containers")
    rooms = contract_modules("importlinter:contract:inside-a-room-of-auth", "containers")
    assert inside == services - {"voltbus_auth"}
    folder = ROOT / "services/auth/src/voltbus_auth"
    assert rooms == {f"voltbus_auth.{path.parent.name}" for path in folder.glob("*/__init__.py")}


def test_nothing_points_out_of_the_repository() -> None:
    """No path to a folder that only its makers' machine has."""
    outside = re.compile(r"\.\./" + r"shared|/tmp/" + r"briefs|/work/" + r"(main|shared)")
    assert [name for name, text in texts().items() if outside.search(text)] == []


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the installing machine's affair."""
    hosts = re.compile("|".join(re.escape(host) for host in REGISTRIES))
    assert [name for name, text in texts().items() if hosts.search(text)] == []


def test_nothing_sleeps_in_a_thread() -> None:
    """It would hold up an event loop; and a test that sleeps is slow or unsure, and often both."""
    sleepers = {
        name
        for name, tree in trees().items()
        if "sleep" in texts()[name] and is_called(tree, "time.sleep")
    }
    assert sleepers <= WAIT_FOR_A_FILE_LOCK


def test_every_test_says_what_it_proves() -> None:
    """Each test function has a docstring of a sentence."""
    silent = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in trees().items()
        if name.startswith("tests/")
        for node in functions(tree)
        if node.name.startswith("test_") and not (ast.get_docstring(node) or "").strip()
    ]
    assert silent == []


def test_no_test_is_skipped_or_mocked() -> None:
    """A skipped test proves nothing, and a patched one proves the patch."""
    forbidden = re.compile(
        r"pytest\.(mark\.)?" + r"(skip|skipif|xfail|importorskip)\b"
        r"|unittest\." + r"mock|from unittest import " + r"mock|\bmock" + r"\.patch"
    )
    assert [
        name
        for name, text in texts().items()
        if name.startswith("tests/") and name.endswith(".py") and forbidden.search(text)
    ] == []


def test_tests_are_found_by_name() -> None:
    """A file of tests that pytest does not collect would never run."""
    lost = [
        name
        for name, tree in trees().items()
        if name.startswith("tests/")
        and not Path(name).name.startswith("test_")
        and any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test_")
            for node in tree.body
        )
    ]
    assert lost == []
