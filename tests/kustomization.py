"""Reads a kustomization as `kubectl kustomize` does, as far as ours go.

Where kubectl is missing, the manifests are still checked, in this reading of them, against a record
of what kubectl made of them; where it is there, a test compares the two. A field that is not known
here is an error, never passed over. Run as a module, it records anew what kubectl makes.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

K8S = Path(__file__).parents[1] / "deploy/k8s"
RECORDED = Path(__file__).parent / "deploy/rendered.json"

KNOWN = frozenset(
    {
        "apiVersion",
        "configMapGenerator",
        "images",
        "kind",
        "namespace",
        "patches",
        "replicas",
        "resources",
    }
)


def render(folder: Path) -> list[Manifest]:
    """The manifests of a kustomization; the names of generated ConfigMaps carry no hash."""
    plan = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := plan.keys() - KNOWN:
        raise ValueError(f"{folder}: tests/kustomization.py does not know {sorted(unknown)}")
    manifests: list[Manifest] = []
    for name in plan.get("resources", []):
        path = folder / name
        manifests += render(path.resolve()) if path.is_dir() else load(path)
    for generator in plan.get("configMapGenerator", []):
        _generate(manifests, folder, generator)
    for patch in plan.get("patches", []):
        manifests = _patched(manifests, patch)
    for manifest in manifests:
        _transform(manifest, plan)
    return manifests


def read_all(text: str) -> list[Any]:
    """The documents of a YAML text, by libyaml: PyYAML's own reader is many times slower."""
    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))


def load(path: Path) -> list[Manifest]:
    """The documents of one file, each with containers of its own (YAML anchors share them)."""
    return [copy.deepcopy(_unshared(document)) for document in read_all(path.read_text())]


def kubectl_renders(folder: Path) -> list[Manifest] | None:
    """What kubectl makes of it, without hashes in names; None where there is no kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        return None
    done = subprocess.run(
        [kubectl, "kustomize", str(folder)], check=True, capture_output=True, text=True
    )
    text = re.sub(r"\b(name: voltbus-(?:settings|topics))-[a-z0-9]{10}\b", r"\1", done.stdout)
    return read_all(text)


def named(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    """By kind and name."""
    found = {(item["kind"], item["metadata"]["name"]): item for item in manifests}
    if len(found) != len(manifests):
        raise ValueError("two manifests of one kind and name")
    return found


def digest(manifests: list[Manifest]) -> str:
    """Return a SHA-256 of the manifests, whatever their order and that of their fields."""
    texts = sorted(json.dumps(item, sort_keys=True) for item in manifests)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def record() -> None:
    """Write the digests of what kubectl makes of each folder; raises LookupError without it."""
    digests = {}
    for folder in json.loads(RECORDED.read_text()):
        rendered = kubectl_renders(K8S / folder)
        if rendered is None:
            raise LookupError("kubectl is needed to record what it makes of the manifests")
        digests[folder] = digest(rendered)
    RECORDED.write_text(json.dumps(digests, indent=2) + "\n")


def _unshared(document: Any) -> Any:
    return json.loads(json.dumps(document))


def _generate(manifests: list[Manifest], folder: Path, generator: Manifest) -> None:
    pairs: dict[str, str] = {}
    for name in generator.get("envs", []):
        lines = (folder / name).read_text().splitlines()
        pairs.update(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    pairs.update(literal.split("=", 1) for literal in generator.get("literals", []))
    if generator.get("behavior") == "merge":
        named(manifests)["ConfigMap", generator["name"]]["data"].update(pairs)
    else:
        metadata = {"name": generator["name"]}
        manifests.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": pairs}
        )


def _patched(manifests: list[Manifest], patch: Manifest) -> list[Manifest]:
    target = patch["target"]
    change = yaml.safe_load(patch["patch"])
    hit = [
        item
        for item in manifests
        if item["kind"] == target["kind"]
        and re.fullmatch(target.get("name", ".*"), item["metadata"]["name"])
    ]
    if not hit:
        raise ValueError(f"a patch fits nothing: {target}")
    if isinstance(change, dict):
        if change.get("$patch") != "delete":
            raise ValueError("only JSON patches and '$patch: delete' are known here")
        return [item for item in manifests if item not in hit]
    for item in hit:
        for step in change:
            _apply(item, copy.deepcopy(step))
    return manifests


def _apply(manifest: Manifest, step: Manifest) -> None:
    """One step of a JSON patch (RFC 6902)."""
    operation = step["op"]
    if operation not in {"add", "replace", "remove", "test"}:
        raise ValueError(f"this operation is not known here: {operation}")
    *way, last = step["path"].removeprefix("/").split("/")
    place: Any = manifest
    for part in way:
        place = place[int(part)] if isinstance(place, list) else place[part]
    where = int(last) if isinstance(place, list) and last != "-" else last
    if operation == "test":
        if place[where] != step["value"]:
            raise ValueError(f"a patch meets something else at {step['path']}")
    elif operation == "remove":
        del place[where]
    elif last == "-":
        place.append(step["value"])
    else:
        place[where] = step["value"]


def _transform(manifest: Manifest, plan: Manifest) -> None:
    kind, metadata = manifest["kind"], manifest["metadata"]
    if namespace := plan.get("namespace"):
        metadata["name" if kind == "Namespace" else "namespace"] = namespace
    for wanted in plan.get("replicas", []):
        if kind == "Deployment" and metadata["name"] == wanted["name"]:
            manifest["spec"]["replicas"] = wanted["count"]
    if kind in {"Deployment", "Job"}:
        for container in manifest["spec"]["template"]["spec"]["containers"]:
            for image in plan.get("images", []):
                if container["image"] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"


if __name__ == "__main__":
    record()
