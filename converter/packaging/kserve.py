"""An InferenceService for KServe: the bundle as an OCI modelcar, kilnx as the runtime.

https://kserve.github.io/website/docs/model-serving/storage/providers/oci
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converter.packaging.docker import READY, serve_arguments, server_image, write_context
from converter.packaging.kubernetes import (
    container_security,
    labels,
    probe,
    registry_notes,
    resources,
    token_variable,
    volumes,
    write_manifest,
)
from converter.packaging.names import dns_label, is_tagged, label_value, with_suffix
from converter.packaging.options import DeployOptions, Exported
from runtimes.bundle import Bundle, repack

# KServe makes a Service of it, NAME-predictor, whose own name may have 63 characters.
LONGEST_NAME = 63 - len("-predictor")
_PORT = 8080
_MOUNT = "/mnt/models"
# KServe starts a shell in it, which links its /models to where the server looks.
_MODELCAR = """\
# {name} {version} as a modelcar, from bundle {digest}
FROM busybox:1.37.0
COPY --chmod=755 bundle/ /models/
USER {user}
"""
_IGNORED = "*\n!bundle\n"
# The user that KServe gives to modelcars where it is told to; any other can read the files too.
_MODELCAR_USER = 1010


def export_kserve(bundle: Bundle, folder: Path, options: DeployOptions) -> Exported:
    """Write ``modelcar/``, ``runtime/`` (what builds the two images) and ``manifests/``."""
    name = dns_label(options.name or bundle.name, "an InferenceService", longest=LONGEST_NAME)
    version = label_value(bundle.version, "version")
    server = server_image(bundle, options)
    model = with_suffix(server, "-model") if is_tagged(server) else f"{name}-model:{version}"
    write_modelcar(bundle, folder / "modelcar")
    (folder / "manifests").mkdir()
    runtime = runtime_of(name, version, server, bundle, options)
    write_manifest(folder / "manifests/servingruntime.yaml", runtime)
    service = service_of(name, version, model, options, runtime=name)
    write_manifest(folder / "manifests/inferenceservice.yaml", service)
    images = {model: "--file modelcar/Containerfile modelcar"}
    note = f"clients ask for the model {bundle.name!r}: /v2/models/{bundle.name}/infer"
    return with_runtime(bundle, folder, options, images, note)


def with_runtime(
    bundle: Bundle, folder: Path, options: DeployOptions, images: Mapping[str, str], *notes: str
) -> Exported:
    """Write what builds the server's image, unless it is there; what to do with it and ``images``.

    ``images``: each with where it is built.
    """
    server = server_image(bundle, options)
    if is_tagged(server):
        write_context(bundle, folder / "runtime", options, with_bundle=False)
        images = {**images, server: "runtime"}
    return Exported(
        next_steps=(
            *(f"docker build --tag {image} {where}" for image, where in images.items()),
            *(f"docker push {image}" for image in images),
            "kubectl apply -f manifests",
        ),
        notes=(
            *registry_notes(server),
            *notes,
            "KServe needs enableModelcar in its configuration of storage",
        ),
    )


def write_modelcar(bundle: Bundle, folder: Path) -> None:
    """Write what builds the image of a bundle."""
    folder.mkdir()
    with repack(bundle, folder / "bundle"):
        pass  # opened to be verified
    text = _MODELCAR.format(
        name=bundle.name, version=bundle.version, digest=bundle.digest, user=_MODELCAR_USER
    )
    (folder / "Containerfile").write_text(text, encoding="utf-8")
    (folder / ".containerignore").write_text(_IGNORED, encoding="utf-8")
    (folder / ".dockerignore").write_text(_IGNORED, encoding="utf-8")


def runtime_of(
    name: str, version: str, image: str, bundle: Bundle, options: DeployOptions
) -> dict[str, Any]:
    """The ServingRuntime: kilnx in an image, sized for ``bundle``."""
    held, mounts = volumes()
    container = {
        "name": "kserve-container",
        "image": image,
        "args": serve_arguments(_MOUNT, options.cpus, _PORT),
        "env": [token_variable(name)],
        "ports": [{"containerPort": _PORT, "protocol": "TCP"}],
        "readinessProbe": probe(READY, _PORT, 5, 2),
        "resources": resources(bundle, options),
        # No user is named: KServe gives the container that of the modelcar, whose files it reads.
        "securityContext": container_security(),
        "volumeMounts": mounts,
    }
    spec = {
        "annotations": {
            "prometheus.kserve.io/port": str(_PORT),
            "prometheus.kserve.io/path": "/metrics",
        },
        "supportedModelFormats": [{"name": "kilnx", "version": "1", "autoSelect": False}],
        "protocolVersions": ["v2"],
        "containers": [container],
        "volumes": held,
    }
    metadata = {"name": name, "labels": labels(name, version)}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": metadata,
        "spec": spec,
    }


def service_of(
    name: str, version: str, image: str, options: DeployOptions, *, runtime: str
) -> dict[str, Any]:
    """The InferenceService of the model in an image."""
    model = {
        "modelFormat": {"name": "kilnx", "version": "1"},
        "runtime": runtime,
        "protocolVersion": "v2",
        "storageUri": f"oci://{image}",
    }
    predictor = {
        "minReplicas": options.replicas,
        "maxReplicas": options.max_replicas,
        "model": model,
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "labels": labels(name, version)},
        "spec": {"predictor": predictor},
    }
