"""deploy/k8s: what it renders to is valid, and is what a pod of ours needs."""

from __future__ import annotations

import importlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import typer.main

from kustomization import RECORDED, Manifest, digest, kubectl_renders, load, named, render
from voltbus.__main__ import app
from voltbus_backbone.settings import load as load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy/k8s"
SERVICES = ("gateway", "auth", "config", "agreements")
FOLDERS = ("base", "overlays/dev", "overlays/production")
EXAMPLES = {
    (item["kind"], item["metadata"]["name"]): item for item in load(K8S / "secrets.example.yaml")
}

Manifests = dict[tuple[str, str], Manifest]


@pytest.fixture(scope="module", params=FOLDERS)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    folder = K8S / request.param
    return named(kubectl_renders(folder) or render(folder))


def pods(manifests: Manifests) -> Iterator[tuple[str, Manifest]]:
    for (kind, name), item in manifests.items():
        if kind in {"Deployment", "Job"}:
            yield name, item["spec"]["template"]


def environment(pod: Manifest, manifests: Manifests) -> dict[str, str]:
    """What the container finds in its environment, with the examples' secrets."""
    (container,) = pod["spec"]["containers"]
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if reference := source.get("configMapRef"):
            found |= manifests["ConfigMap", reference["name"]]["data"]
        else:
            found |= EXAMPLES["Secret", source["secretRef"]["name"]]["stringData"]
    for item in container.get("env", []):
        found[item["name"]] = item.get("value", f"<{item.get('valueFrom')}>")
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_is_read_as_kubectl_renders_it(folder: str) -> None:
    """Our reading of a kustomization, used where kubectl is missing, is kubectl's own.

    What kubectl made of each is recorded by its digest, so that this can fail without kubectl too.
    After a change of the manifests: `PYTHONPATH=tests python -m kustomization`, where kubectl is.
    """
    ours = render(K8S / folder)
    theirs = kubectl_renders(K8S / folder)
    recorded = json.loads(RECORDED.read_text())[folder]
    if theirs is not None:
        assert named(ours) == named(theirs)
        assert digest(theirs) == recorded
    assert digest(ours) == recorded


def test_every_manifest_fits_the_schema_of_its_kind(manifests: Manifests) -> None:
    """Kubernetes 1.36's own schemas accept each manifest, with no field that they do not know."""
    for item in manifests.values():
        kubernetes_validate.validate(item, "1.36", strict=True)


def test_the_examples_fit_the_schema_of_their_kind() -> None:
    """The example Secrets can be applied once they are filled in."""
    for item in EXAMPLES.values():
        kubernetes_validate.validate(item, "1.36", strict=True)


@pytest.mark.parametrize("service", SERVICES)
def test_one_manifest_file_holds_a_whole_service(service: str) -> None:
    """A service's file has its Deployment and everything that belongs to it, once each."""
    expected = Counter(
        ["ServiceAccount", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"]
    )
    if service in {"gateway", "auth"}:
        expected["HorizontalPodAutoscaler"] += 1
    items = load(K8S / "base" / f"{service}.yaml")
    assert Counter(item["kind"] for item in items) == expected
    assert {item["metadata"]["name"] for item in items} == {service}


def test_pods_run_with_the_least_privilege(manifests: Manifests) -> None:
    """Pod Security Standard "restricted", a read-only root file system, and no API token."""
    for name, pod in pods(manifests):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert manifests["ServiceAccount", spec["serviceAccountName"]], name
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
    (namespace,) = (item for (kind, _), item in manifests.items() if kind == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_pods_say_what_they_need(manifests: Manifests) -> None:
    """Every container has requests and a memory limit that is not below its request."""
    for name, pod in pods(manifests):
        resources = pod["spec"]["containers"][0]["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}, name
        assert mebibytes(resources["limits"]["memory"]) >= mebibytes(
            resources["requests"]["memory"]
        ), name


@pytest.mark.parametrize("service", SERVICES)
def test_probes_ask_the_backbone(manifests: Manifests, service: str) -> None:
    """Alive is /healthz, ready is /readyz, both on the port that VOLTBUS_HTTP_PORT opens."""
    pod = manifests["Deployment", service]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    paths = {
        probe: container[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    variables = environment(pod, manifests)
    assert ports["http"] == int(variables["VOLTBUS_HTTP_PORT"])
    assert ports.get("ocpp") == (int(variables["VOLTBUS_OCPP_PORT"]) if "ocpp" in ports else None)
    assert all(container[probe]["httpGet"]["port"] == "http" for probe in paths)


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_is_given_time_to_drain(manifests: Manifests, service: str) -> None:
    """The grace period covers preStop, the drain, and ten seconds more (a roll loses no call)."""
    pod = manifests["Deployment", service]["spec"]["template"]
    pause = pod["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = float(environment(pod, manifests)["VOLTBUS_GRACE_S"])
    assert pod["spec"]["terminationGracePeriodSeconds"] >= pause + drain + 10


@pytest.mark.parametrize("service", SERVICES)
def test_a_pods_environment_is_all_that_its_settings_need(
    manifests: Manifests, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process would start: its settings load, and no variable is one that nothing reads."""
    pod = manifests["Deployment", service]["spec"]["template"]
    variables = environment(pod, manifests)
    settings_type = importlib.import_module(f"voltbus_{service}.settings").Settings
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(settings_type)
    known = {f"VOLTBUS_{name.upper()}" for name in settings_type.model_fields}
    known |= {f"VOLTBUS_KAFKA_{name.upper()}" for name in type(settings.kafka).model_fields}
    assert variables.keys() <= known
    assert pod["spec"]["containers"][0]["env"][0] == {
        "name": "VOLTBUS_INSTANCE_ID",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
    }
    # Service links would put VOLTBUS_..._PORT=tcp://... beside these.
    assert pod["spec"]["enableServiceLinks"] is False


def test_names_and_selectors_meet(manifests: Manifests) -> None:
    """Each Service, budget, scaler and policy picks the pods of its own name, and only them."""
    for (kind, name), item in manifests.items():
        spec = item.get("spec", {})
        if kind == "Deployment":
            assert spec["selector"]["matchLabels"].items() <= labels(item).items()
        elif kind == "Service":
            target = manifests["Deployment", spec["selector"]["app.kubernetes.io/name"]]
            assert spec["selector"].items() <= labels(target).items()
            container = target["spec"]["template"]["spec"]["containers"][0]
            open_ports = {port["name"] for port in container["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= open_ports
        elif kind == "PodDisruptionBudget":
            chosen = spec["selector"]["matchLabels"]
            assert chosen.items() <= labels(manifests["Deployment", name]).items()
        elif kind == "HorizontalPodAutoscaler":
            assert ("Deployment", spec["scaleTargetRef"]["name"]) in manifests


def test_pods_spread_over_zones_and_nodes(manifests: Manifests) -> None:
    """One lost node or zone takes as few replicas of a service as can be."""
    for service in SERVICES:
        item = manifests["Deployment", service]
        constraints = item["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert [entry["topologyKey"] for entry in constraints] == [
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        ]
        for entry in constraints:
            assert entry["labelSelector"]["matchLabels"].items() <= labels(item).items()


def test_the_network_is_closed_but_for_what_is_named(manifests: Manifests) -> None:
    """Everything is denied first; the gateway alone takes stations, and never speaks to MongoDB."""
    closed = manifests["NetworkPolicy", "deny-by-default"]["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for service in SERVICES:
        spec = manifests["NetworkPolicy", service]["spec"]
        assert spec["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": service}
        out = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
        assert out == ({53, 9092} if service == "gateway" else {53, 9092, 27017})
        open_to_all = {
            port["port"] for rule in spec["ingress"] if "from" not in rule for port in rule["ports"]
        }
        container = manifests["Deployment", service]["spec"]["template"]["spec"]["containers"][0]
        doors = {port["name"] for port in container["ports"]} - {"http"}
        assert open_to_all == doors
        assert bool(doors) == (service == "gateway")


def test_every_reference_is_made_here_or_named_in_the_examples(manifests: Manifests) -> None:
    """An operator who fills in secrets.example.yaml has made everything that the pods mount."""
    wanted = {reference for _, pod in pods(manifests) for reference in references(pod["spec"])}
    made = {key for key in manifests if key[0] == "ConfigMap"}
    optional = {("Secret", "voltbus-stations-tls")}  # for TLS in the gateway
    assert EXAMPLES.keys() - optional <= wanted - made <= EXAMPLES.keys()


def test_no_secret_is_in_the_manifests(manifests: Manifests) -> None:
    """Secrets are made by the operator; the examples hold placeholders and user names only."""
    assert not [name for kind, name in manifests if kind == "Secret"]
    for item in EXAMPLES.values():
        for name, value in (item.get("data") or item["stringData"]).items():
            assert name.endswith("_USERNAME") or re.search(r"<[^>]+>", value), name


def test_mounted_files_are_the_ones_that_settings_name(manifests: Manifests) -> None:
    """A ..._FILE variable names a key of a volume that the pod mounts there."""
    for name, pod in pods(manifests):
        files = mounted(pod)
        for variable, value in environment(pod, manifests).items():
            if variable.endswith("_FILE"):
                assert value in files, f"{name}: {variable}"


def test_the_topics_job_speaks_the_command_line(manifests: Manifests) -> None:
    """Its options are ones that `voltbus topics` knows, filled from variables that are set."""
    pod = manifests["Job", "topics"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["command"] == ["voltbus", "topics"]
    command: Any = typer.main.get_command(app)
    known = {
        option for item in command.commands["topics"].params for option in getattr(item, "opts", [])
    }
    variables = environment(pod, manifests)
    for argument in container["args"]:
        option, _, value = argument.partition("=")
        assert option in known
        assert value.removeprefix("$(").removesuffix(")") in variables


def test_a_consumer_group_has_a_partition_for_each_replica(manifests: Manifests) -> None:
    """The scaler never starts more pods of auth than `auth.requests` has partitions."""
    partitions = int(manifests["ConfigMap", "voltbus-topics"]["data"]["TOPIC_PARTITIONS"])
    assert max(replicas(manifests, "auth")) <= partitions


def test_the_development_overlay_is_one_of_each() -> None:
    """A laptop's cluster gets one pod per service, in a namespace of its own."""
    found = named(render(K8S / "overlays/dev"))
    assert [replicas(found, service) for service in SERVICES] == [(1, 1)] * 4
    assert {item["metadata"].get("namespace", "voltbus-dev") for item in found.values()} == {
        "voltbus-dev"
    }


def test_the_production_overlay_survives_a_node() -> None:
    """Three pods or more per service, no two on one node, and one at a time taken away."""
    found = named(render(K8S / "overlays/production"))
    for service in SERVICES:
        assert replicas(found, service)[0] >= 3
        spread = found["Deployment", service]["spec"]["template"]["spec"]
        assert spread["topologySpreadConstraints"][1]["whenUnsatisfiable"] == "DoNotSchedule"
        assert found["PodDisruptionBudget", service]["spec"]["maxUnavailable"] == 1


def test_in_production_no_door_is_plain() -> None:
    """Stations come in by TLS only: no port, Service, setting or network rule without it (A00)."""
    found = named(render(K8S / "overlays/production"))
    pod = found["Deployment", "gateway"]["spec"]["template"]["spec"]["containers"][0]
    assert {port["name"] for port in pod["ports"]} == {"ocpp-tls", "http"}
    assert "VOLTBUS_OCPP_PORT" not in {variable["name"] for variable in pod["env"]}
    assert [port["name"] for port in found["Service", "gateway"]["spec"]["ports"]] == ["http"]
    rules = found["NetworkPolicy", "gateway"]["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in rules if "from" not in rule] == ["ocpp-tls"]


def test_one_image_with_a_version(manifests: Manifests) -> None:
    """All pods run the same image, at a version and never "latest"."""
    (image,) = {pod["spec"]["containers"][0]["image"] for _, pod in pods(manifests)}
    assert re.fullmatch(r"voltbus:\d+\.\d+\.\d+", image)


def labels(item: Manifest) -> dict[str, str]:
    found: dict[str, str] = item["spec"]["template"]["metadata"]["labels"]
    return found


def mebibytes(quantity: str) -> int:
    return int(quantity[:-2]) * {"Mi": 1, "Gi": 1024}[quantity[-2:]]


def replicas(manifests: Manifests, service: str) -> tuple[int, int]:
    """The fewest and the most pods of a service."""
    scaler = manifests.get(("HorizontalPodAutoscaler", service))
    if scaler is not None:
        return scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]
    count: int = manifests["Deployment", service]["spec"]["replicas"]
    return count, count


def references(spec: Manifest) -> Iterator[tuple[str, str]]:
    for source in spec["containers"][0].get("envFrom", []):
        if "configMapRef" in source:
            yield "ConfigMap", source["configMapRef"]["name"]
        else:
            yield "Secret", source["secretRef"]["name"]
    for volume in spec["volumes"]:
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        elif "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]


def mounted(pod: Manifest) -> set[str]:
    """The paths of the files that a pod's volumes bring, by the examples' keys."""
    keys: dict[str, set[str]] = {}
    for volume in pod["spec"]["volumes"]:
        if "configMap" in volume:
            keys[volume["name"]] = set(EXAMPLES["ConfigMap", volume["configMap"]["name"]]["data"])
        elif "secret" in volume:
            example = EXAMPLES["Secret", volume["secret"]["secretName"]]
            keys[volume["name"]] = set(example["stringData"])
    return {
        f"{mount['mountPath']}/{key}"
        for mount in pod["spec"]["containers"][0]["volumeMounts"]
        for key in keys.get(mount["name"], ())
    }
