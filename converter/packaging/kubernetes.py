"""Manifests that run a bundle's image on Kubernetes.

Deployment, Service, autoscaler and disruption budget are of any cluster; the ServiceMonitor needs
the Prometheus operator and stands apart, so that ``kubectl apply -k .`` does not need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converter.packaging.docker import (
    BUNDLE,
    DRAIN_SECONDS,
    LIVE,
    READY,
    STATE,
    serve_arguments,
    server_image,
    write_context,
)
from converter.packaging.names import dns_label, is_tagged, label_value
from converter.packaging.options import PORT, USER, DeployOptions, Exported
from converter.packaging.yaml_text import yaml_text
from runtimes.bundle import Bundle
from runtimes.version import own_version

_MEBI = 1 << 20
# Python, NumPy and ONNX Runtime, before a model is loaded, with room for requests.
_BASE_MEBI = 384
# ONNX Runtime holds weights as they are and as its kernels want them, and a reload both anew.
_TIMES_WEIGHTS = 4
# Until every proxy knows that a pod leaves, requests still come.
_LEAVE_SECONDS = 5


def export_kubernetes(bundle: Bundle, folder: Path, options: DeployOptions) -> Exported:
    """Write ``image/`` (what builds the image) and ``manifests/`` into ``folder``."""
    name = dns_label(options.name or bundle.name, "a Service")
    version = label_value(bundle.version, "version")
    image = server_image(bundle, options)
    documents = {
        "deployment": _deployment(name, version, image, bundle, options),
        "service": _service(name, version),
        "hpa": _autoscaler(name, version, options),
        "pdb": _disruption_budget(name, version),
    }
    (folder / "manifests/monitoring").mkdir(parents=True)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{file}.yaml" for file in documents],
    }
    write_manifest(folder / "manifests/kustomization.yaml", kustomization)
    write_manifest(folder / "manifests/monitoring/servicemonitor.yaml", _monitor(name, version))
    for file, document in documents.items():
        write_manifest(folder / f"manifests/{file}.yaml", document)
    if is_tagged(image):
        write_context(bundle, folder / "image", options)
    build = (f"docker build --tag {image} image", f"docker push {image}")
    return Exported(
        next_steps=(
            *(build if is_tagged(image) else ()),
            "kubectl apply -k manifests",
            "kubectl apply -f manifests/monitoring",
        ),
        notes=(
            *registry_notes(image),
            "the ServiceMonitor needs the Prometheus operator; the autoscaler needs the metrics "
            "server",
            f"kubectl create secret generic {name} --from-literal=token=TOKEN lets only those in "
            "who know it",
        ),
    )


def registry_notes(image: str) -> tuple[str, ...]:
    """What to say of an image that a cluster would look for at its default registry."""
    registry, slash, _ = image.partition("/")
    if slash and ("." in registry or ":" in registry or registry == "localhost"):
        return ()
    return (f"{image} names no registry; --image REGISTRY/NAME:TAG names one for the cluster",)


def write_manifest(path: Path, document: Mapping[str, Any]) -> None:
    """Write one document as YAML."""
    path.write_text(yaml_text(document), encoding="utf-8")


def labels(name: str, version: str) -> dict[str, str]:
    """The labels of every object."""
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/version": version,
        "app.kubernetes.io/managed-by": "kilnx",
    }


def container_security() -> dict[str, Any]:
    """What a container may do: nothing but compute, and write to its volumes."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def resources(bundle: Bundle, options: DeployOptions) -> dict[str, Any]:
    """Requests equal limits: neighbours do not change the latency that was measured."""
    held = sum(entry.size for entry in bundle.files.values())
    mebi = _BASE_MEBI + _TIMES_WEIGHTS * -(-held // _MEBI)
    amount = {"cpu": str(options.cpus), "memory": f"{-(-mebi // 128) * 128}Mi"}
    return {"requests": amount, "limits": amount}


def volumes() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The volumes of a pod, and where its container mounts them."""
    places = {"tmp": "/tmp", "state": STATE}
    held = [{"name": name, "emptyDir": {"sizeLimit": "1Gi"}} for name in places]
    return held, [{"name": name, "mountPath": path} for name, path in places.items()]


def token_variable(name: str) -> dict[str, Any]:
    """``KILNX_TOKEN`` from the Secret ``name``, where there is one."""
    secret = {"name": name, "key": "token", "optional": True}
    return {"name": "KILNX_TOKEN", "valueFrom": {"secretKeyRef": secret}}


def probe(path: str, port: int | str, period: int, failures: int) -> dict[str, Any]:
    """A probe of a health endpoint, which never needs a token."""
    asked = {"path": path, "port": port}
    timing = {"periodSeconds": period, "timeoutSeconds": 3, "failureThreshold": failures}
    return {"httpGet": asked, **timing}


def _deployment(
    name: str, version: str, image: str, bundle: Bundle, options: DeployOptions
) -> dict[str, Any]:
    spec = {
        # How many run is the autoscaler's to say.
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        "template": {
            "metadata": {
                "labels": labels(name, version),
                "annotations": {"kilnx.io/bundle": bundle.digest, "kilnx.io/kilnx": own_version()},
            },
            "spec": _pod(name, image, bundle, options),
        },
    }
    return _object("apps/v1", "Deployment", name, version, spec)


def _pod(name: str, image: str, bundle: Bundle, options: DeployOptions) -> dict[str, Any]:
    held, mounts = volumes()
    wait = f"import time; time.sleep({_LEAVE_SECONDS})"
    container = {
        "name": "kilnx",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": serve_arguments(BUNDLE, options.cpus),
        "env": [token_variable(name)],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": probe(READY, "http", 2, 60),
        "readinessProbe": probe(READY, "http", 5, 2),
        "livenessProbe": probe(LIVE, "http", 10, 6),
        "lifecycle": {"preStop": {"exec": {"command": ["python", "-c", wait]}}},
        "resources": resources(bundle, options),
        "securityContext": container_security(),
        "volumeMounts": mounts,
    }
    user = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _LEAVE_SECONDS + DRAIN_SECONDS + 10,
        "securityContext": {**user, "seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app.kubernetes.io/name": name}},
            }
        ],
        "containers": [container],
        "volumes": held,
    }


def _service(name: str, version: str) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    spec = {
        "type": "ClusterIP",
        "selector": {"app.kubernetes.io/name": name},
        "ports": ports,
    }
    return _object("v1", "Service", name, version, spec)


def _autoscaler(name: str, version: str, options: DeployOptions) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": 70}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": options.replicas,
        "maxReplicas": options.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},  # codespell:ignore behavior
    }
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", name, version, spec)


def _disruption_budget(name: str, version: str) -> dict[str, Any]:
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
    }
    return _object("policy/v1", "PodDisruptionBudget", name, version, spec)


def _monitor(name: str, version: str) -> dict[str, Any]:
    spec = {
        "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
        "endpoints": [{"port": "http", "path": "/metrics", "interval": "15s"}],
    }
    return _object("monitoring.coreos.com/v1", "ServiceMonitor", name, version, spec)


def _object(
    api: str, kind: str, name: str, version: str, spec: Mapping[str, Any]
) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels(name, version)}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}
