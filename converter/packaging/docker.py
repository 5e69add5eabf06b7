"""A container image that serves a bundle, and a compose file that starts it.

Nothing in the image is newer or older than what the bundle was packaged with, nobody in it is
root, and its root file system need not be writable.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from converter.packaging.installed import closure, engine_extra, pinned
from converter.packaging.names import dns_label, image_reference, image_tag
from converter.packaging.options import PORT, USER, DeployOptions, Exported
from converter.packaging.project import own_project
from converter.packaging.wheel import write_wheel
from converter.packaging.yaml_text import yaml_text
from runtimes.bundle import Bundle, repack
from runtimes.version import own_version

STATE = "/state"
"""Where the monitor keeps what it has seen; the only folder that outlives a container."""

BUNDLE = "/bundle"
"""Where an image holds its bundle."""

DRAIN_SECONDS = 30
"""How long a server that is stopped finishes what it has accepted."""

READY = "/v2/health/ready"
LIVE = "/v2/health/live"

_DOCKERFILE = """\
# {title}
FROM {base} AS build
RUN python -m venv /opt/kilnx
COPY requirements.txt /tmp/requirements.txt
RUN /opt/kilnx/bin/pip install --no-cache-dir --no-deps --requirement /tmp/requirements.txt
COPY wheels/ /tmp/wheels/
RUN /opt/kilnx/bin/pip install --no-cache-dir --no-deps --no-index /tmp/wheels/*.whl \\
    && /opt/kilnx/bin/pip check

FROM {base}
LABEL org.opencontainers.image.title="{name}" \\
      org.opencontainers.image.version="{version}" \\
      io.kilnx.bundle="{digest}"
RUN mkdir {state} && chown {user}:{user} {state}
COPY --from=build /opt/kilnx /opt/kilnx
{copy}ENV PATH="/opt/kilnx/bin:$PATH" \\
    PYTHONDONTWRITEBYTECODE=1 \\
    PYTHONUNBUFFERED=1
USER {user}:{user}
EXPOSE {port}
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \\
    CMD ["python", "-c", "{health}"]
ENTRYPOINT ["kilnx"]
CMD [{command}]
"""
_COPY_BUNDLE = f"COPY bundle/ {BUNDLE}/\n"
# The image has no curl. It asks from inside, where no token is needed and no proxy stands between.
_HEALTH = (
    f"import http.client as h; c = h.HTTPConnection('127.0.0.1', {PORT}, timeout=2); "
    f"c.request('GET', '{READY}'); exit(c.getresponse().status != 200)"
)
# Everything is left out but what the Dockerfile names: a key next to it never gets into a layer.
_IGNORED = """\
*
!bundle
!requirements.txt
!wheels
"""
# Debian's release is part of the tag, so that system libraries do not change under the image.
_BASE = "python:{major}.{minor}-slim-bookworm"


def export_docker(bundle: Bundle, folder: Path, options: DeployOptions) -> Exported:
    """Write ``Dockerfile``, ``compose.yaml`` and what they need into ``folder``."""
    name = dns_label(options.name or bundle.name, "a service of compose")
    image = server_image(bundle, options)
    write_context(bundle, folder, options)
    compose = yaml_text(_compose(name, image, options), comment=_title(bundle))
    (folder / "compose.yaml").write_text(compose, encoding="utf-8")
    return Exported(
        next_steps=("docker compose up --build --detach", f"curl http://127.0.0.1:{PORT}{READY}"),
        notes=(
            "the port is open on this machine alone, and without a token; set KILNX_TOKEN and "
            "change `ports` in compose.yaml to let others in",
        ),
    )


def server_image(bundle: Bundle, options: DeployOptions) -> str:
    """The image's reference: that of the options, or the bundle's name and version."""
    if options.image is not None:
        return image_reference(options.image)
    name = dns_label(options.name or bundle.name, "an image")
    return image_reference(f"{name}:{image_tag(bundle.version, 'version')}")


def write_context(
    bundle: Bundle, folder: Path, options: DeployOptions, *, with_bundle: bool = True
) -> None:
    """Write what ``docker build`` needs, with the bundle in the image or without it.

    Raises:
        RuntimeUnavailable: The server is not installed here, so that no versions can be pinned.
    """
    name = dns_label(options.name or bundle.name, "an image")
    needed = closure([engine_extra(), "serve"])
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    write_wheel(wheels, own_project())
    (folder / "requirements.txt").write_text(pinned(needed), encoding="utf-8")
    (folder / ".dockerignore").write_text(_IGNORED, encoding="utf-8")
    if with_bundle:
        with repack(bundle, folder / "bundle"):
            pass  # opened to be verified
    text = _DOCKERFILE.format(
        title=_title(bundle) if with_bundle else f"The server of kilnx {own_version()}",
        base=_BASE.format(major=sys.version_info.major, minor=sys.version_info.minor),
        name=name,
        version=bundle.version if with_bundle else own_version(),
        digest=bundle.digest if with_bundle else "",
        state=STATE,
        user=USER,
        port=PORT,
        health=_HEALTH,
        copy=_COPY_BUNDLE if with_bundle else "",
        command=", ".join(f'"{word}"' for word in serve_arguments(BUNDLE, options.cpus)),
    )
    (folder / "Dockerfile").write_text(text, encoding="utf-8")


def serve_arguments(bundle: str, cpus: int, port: int = PORT) -> list[str]:
    """The arguments of ``kilnx`` in a container: all of its interfaces, TLS left to a proxy.

    How many runs at a time is said: a container sees all cores of the machine, not its share.
    """
    address = ["--host", "0.0.0.0", "--plain", "--port", str(port)]  # a container's own interfaces
    work = ["--replicas", str(cpus), "--drain", str(DRAIN_SECONDS)]
    return ["serve", bundle, *address, *work, "--state", STATE, "--log-format", "json"]


def _title(bundle: Bundle) -> str:
    return f"{bundle.name} {bundle.version}, written by kilnx {own_version()} from {bundle.digest}"


def _compose(name: str, image: str, options: DeployOptions) -> dict[str, Any]:
    service: dict[str, Any] = {
        "image": image,
        "build": {"context": "."},
        "read_only": True,
        "tmpfs": ["/tmp"],
        "volumes": [f"state:{STATE}"],
        # Passed on from the shell, where it is set there.
        "environment": ["KILNX_TOKEN"],
        "ports": [f"127.0.0.1:{PORT}:{PORT}"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": 256,
        "cpus": str(options.cpus),
        "init": True,
        "restart": "unless-stopped",
        # The server answers what it has accepted before it goes.
        "stop_grace_period": f"{DRAIN_SECONDS + 10}s",
    }
    return {"name": name, "services": {name: service}, "volumes": {"state": {}}}
