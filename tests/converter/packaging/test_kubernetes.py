"""Manifests belong together: labels, ports and names match, pods may do next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bundles import make_bundle

from converter.packaging.deploy import deploy
from converter.packaging.options import DeployOptions
from runtimes import Bundle
from runtimes.errors import DataError

pytestmark = [pytest.mark.fast, pytest.mark.usefixtures("small_server")]

IMAGE = "registry.example.com/team/digits:7"
DIGEST = f"registry.example.com/digits@sha256:{'0' * 64}"


def export(bundle: Path, to: str = "k8s", **options: Any) -> Path:
    deploy(bundle, bundle.parent / "out", to, DeployOptions(**options))
    return bundle.parent / "out"


def manifests(folder: Path) -> dict[str, dict[str, Any]]:
    """Every manifest by its kind."""
    found = (yaml.safe_load(path.read_text()) for path in (folder / "manifests").rglob("*.yaml"))
    return {document["kind"]: document for document in found}


def containers(document: Any) -> Iterator[dict[str, Any]]:
    """The containers anywhere in a manifest."""
    if isinstance(document, dict):
        yield from document.get("containers", [])
        for value in document.values():
            yield from containers(value)


def test_all_parts_find_each_other(tmp_path: Path) -> None:
    found = manifests(export(make_bundle(tmp_path), image=IMAGE))
    kustomization = found.pop("Kustomization")
    assert kustomization["kind"] == "Kustomization"
    assert {document["metadata"]["name"] for document in found.values()} == {"digits"}
    pod = found["Deployment"]["spec"]["template"]
    chosen = {"app.kubernetes.io/name": "digits"}
    assert chosen.items() <= pod["metadata"]["labels"].items()
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == chosen
    assert found["Service"]["spec"]["selector"] == chosen
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == chosen
    monitor = found["ServiceMonitor"]["spec"]
    assert chosen.items() <= found["Service"]["metadata"]["labels"].items()
    assert monitor["selector"]["matchLabels"] == chosen
    (port,) = found["Service"]["spec"]["ports"]
    assert monitor["endpoints"][0]["port"] == port["name"]
    (container,) = pod["spec"]["containers"]
    assert port["targetPort"] in {one["name"] for one in container["ports"]}
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "digits"
    assert "replicas" not in found["Deployment"]["spec"]


def test_the_container_serves_on_the_port_that_is_probed(tmp_path: Path) -> None:
    folder = export(make_bundle(tmp_path), image=IMAGE, cpus=2)
    (container,) = containers(manifests(folder)["Deployment"])
    arguments = container["args"]
    assert arguments[arguments.index("--port") + 1] == str(container["ports"][0]["containerPort"])
    assert arguments[arguments.index("--replicas") + 1] == "2"
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[name]["httpGet"]["port"] == container["ports"][0]["name"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert arguments[arguments.index("--state") + 1] in mounted
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["limits"]["cpu"] == "2"


@pytest.mark.parametrize("to", ["k8s", "kserve"])
def test_a_container_may_do_next_to_nothing(tmp_path: Path, to: str) -> None:
    found = manifests(export(make_bundle(tmp_path), to, image=IMAGE))
    (container,) = (one for document in found.values() for one in containers(document))
    security = container["securityContext"]
    assert security["runAsNonRoot"] is security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is security["privileged"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}


def test_pods_are_given_time_to_leave(tmp_path: Path) -> None:
    pod = manifests(export(make_bundle(tmp_path), image=IMAGE))["Deployment"]
    spec = pod["spec"]["template"]["spec"]
    arguments = spec["containers"][0]["args"]
    drain = int(arguments[arguments.index("--drain") + 1])
    assert spec["terminationGracePeriodSeconds"] > drain + 5
    assert spec["automountServiceAccountToken"] is False


def test_memory_grows_with_the_model(tmp_path: Path) -> None:
    def memory(size: int) -> int:
        (tmp_path / str(size)).mkdir()
        bundle = make_bundle(tmp_path / str(size), html=b"x" * size)
        (container,) = containers(manifests(export(bundle, image=IMAGE))["Deployment"])
        return int(container["resources"]["limits"]["memory"].removesuffix("Mi"))

    small, large = memory(10), memory(100 << 20)
    assert 256 <= small <= 1024
    assert small + 300 <= large <= small + 1024


def test_the_kustomization_names_what_is_there(tmp_path: Path) -> None:
    folder = export(make_bundle(tmp_path), image=IMAGE)
    listed = manifests(folder)["Kustomization"]["resources"]
    there = {path.name for path in (folder / "manifests").glob("*.yaml")}
    assert {*listed, "kustomization.yaml"} == there


def test_scaling(tmp_path: Path) -> None:
    options = {"image": IMAGE, "replicas": 2, "max_replicas": 9}
    spec = manifests(export(make_bundle(tmp_path), **options))["HorizontalPodAutoscaler"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 9)


def test_an_image_that_exists_is_not_built(tmp_path: Path) -> None:
    folder = export(make_bundle(tmp_path), image=DIGEST)
    assert not (folder / "image").exists()
    assert "docker build" not in (folder / "README.txt").read_text()
    (container,) = containers(manifests(folder)["Deployment"])
    assert container["image"] == DIGEST


def test_an_image_without_a_registry_is_pointed_out(tmp_path: Path) -> None:
    assert "names no registry" in (export(make_bundle(tmp_path)) / "README.txt").read_text()


@pytest.mark.parametrize("to", ["k8s", "kserve"])
def test_names_and_versions_that_a_cluster_refuses(tmp_path: Path, to: str) -> None:
    (tmp_path / "more").mkdir()
    with pytest.raises(DataError, match=r"'a\.b' cannot name .*choose one with --name a-b"):
        export(make_bundle(tmp_path, name="a.b"), to, image=IMAGE)
    with pytest.raises(DataError, match="version '1\\+a' cannot be the value of a label"):
        export(make_bundle(tmp_path / "more", version="1+a"), to, image=IMAGE)
    assert not (tmp_path / "out").exists()


def test_kserve_finds_its_runtime_and_its_model(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, name="digits")
    folder = export(bundle, "kserve", image=IMAGE)
    found = manifests(folder)
    model = found["InferenceService"]["spec"]["predictor"]["model"]
    runtime = found["ServingRuntime"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    (known,) = runtime["spec"]["supportedModelFormats"]
    assert model["modelFormat"].items() <= known.items()
    assert model["storageUri"] == "oci://registry.example.com/team/digits-model:7"
    (container,) = runtime["spec"]["containers"]
    assert container["args"][:2] == ["serve", "/mnt/models"]
    assert "runAsUser" not in container["securityContext"]
    with Bundle.open(folder / "modelcar/bundle") as copy, Bundle.open(bundle) as original:
        assert copy.digest == original.digest
    assert not (folder / "runtime/bundle").exists()
    assert "COPY bundle" not in (folder / "runtime/Dockerfile").read_text()


def test_the_model_is_found_through_the_link_that_kserve_makes(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    link = tmp_path / "models"
    link.symlink_to(bundle)
    with Bundle.open(link) as opened:
        assert opened.model.is_file()


def test_kserve_needs_room_for_its_own_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at most 53 characters"):
        export(make_bundle(tmp_path), "kserve", name="a" * 54, image=IMAGE)
