"""Bundles that are pushed to a running server: what travels, and when what is served changes."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn")

import onnx_ir as ir
from broken_links import link_to
from bundles import make_model_with_data
from families import HEAD_BYTES, WIDTH, family_bundle, family_model
from served import Client, serving

from runtimes.bundle import Bundle, open_signer, write_bundle
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import BundleError, DataError, ModelError, RuntimeUnavailable
from runtimes.serving.options import ServeLimits, ServeOptions
from runtimes.serving.push.client import push
from runtimes.serving.push.receiver import FOLDER, Receiver

TOKEN = "a-control-token-of-some-length"
X = np.random.default_rng(5).normal(size=(2, WIDTH)).astype(np.float32)


@contextmanager
def receiving(repository: Path, *models, limits=None, **options):
    repository.mkdir(exist_ok=True)
    with serving(
        *models,
        repository=repository,
        control_token=TOKEN,
        accept_pushes=True,
        limits=limits or ServeLimits(),
        **options,
    ) as client:
        yield client, f"http://{client.host}:{client.port}"


@pytest.fixture
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle takes several requests."""
    import runtimes.serving.push.client
    import runtimes.serving.push.cut

    monkeypatch.setattr(runtimes.serving.push.client, "_PACK_BYTES", 256 << 10)
    monkeypatch.setattr(runtimes.serving.push.cut, "LONGEST_PART", 128 << 10)


def answer(client: Client, name: str) -> np.ndarray:
    return client.outputs(client.infer(X, name))


def expected(seed: int) -> np.ndarray:
    with OrtRuntime(family_model(seed), threads=1) as runtime:
        return runtime.run({"x": X})["y"]


def waiting(repository: Path) -> int:
    """Bytes of parts that wait in a repository."""
    return sum(one.stat().st_size for one in (repository / FOLDER).rglob("*") if one.is_file())


def test_what_is_pushed_is_served_and_stays(tmp_path: Path) -> None:
    bundle, repository = family_bundle(tmp_path, 0), tmp_path / "repository"
    with receiving(repository) as (client, url):
        report = push(bundle, url, token=TOKEN)
        assert (report.name, report.sent_parts) == ("head0", report.parts)
        np.testing.assert_allclose(answer(client, "head0"), expected(0), atol=1e-5)
        assert (repository / "head0.kilnx").read_bytes() == bundle.read_bytes()
        assert waiting(repository) == 0
        again = push(bundle, url, token=TOKEN)
        assert again.sent_parts == 0
    with receiving(repository) as (client, _):
        np.testing.assert_allclose(answer(client, "head0"), expected(0), atol=1e-5)


def test_the_ninth_of_a_family_moves_its_head(tmp_path: Path) -> None:
    with (
        receiving(tmp_path / "repository") as (client, _),
        link_to(client.port) as link,
    ):
        for seed in range(8):
            push(family_bundle(tmp_path, seed), f"127.0.0.1:{link.port}", token=TOKEN)
        bundle = family_bundle(tmp_path, 8)
        before = link.crossed
        report = push(bundle, f"127.0.0.1:{link.port}", token=TOKEN)
        moved = link.crossed - before
        assert HEAD_BYTES < report.sent_bytes < moved
        assert moved <= 1.02 * HEAD_BYTES, moved / HEAD_BYTES
        assert moved < 0.3 * bundle.stat().st_size
        np.testing.assert_allclose(answer(client, "head8"), expected(8), atol=1e-5)
        np.testing.assert_allclose(answer(client, "head3"), expected(3), atol=1e-5)


def test_what_lies_in_the_repository_already_does_not_travel(tmp_path: Path) -> None:
    """Also in a plain file, and in external data; a new version moves what changed."""
    repository = tmp_path / "repository"
    repository.mkdir()
    ir.save(family_model(1), repository / "plain.onnx", external_data="plain.data")
    with receiving(repository) as (_, url):
        first = push(family_bundle(tmp_path, 0, "net"), url, token=TOKEN)
        assert first.sent_bytes < 1.1 * HEAD_BYTES
        second = push(family_bundle(tmp_path, 2, "net", version="2"), url, token=TOKEN)
        assert second.sent_bytes < 1.02 * HEAD_BYTES
        assert second.version == "2"


def test_external_data_of_a_bundle_arrive(tmp_path: Path) -> None:
    model = make_model_with_data(tmp_path / "m.onnx", "weights/m.data")
    write_bundle(tmp_path / "folder", model=model, name="data").close()
    with receiving(tmp_path / "repository") as (client, url):
        push(tmp_path / "folder", url, token=TOKEN)
        found = client.outputs(client.infer(np.ones((1, 4), np.float32), "data"))
        assert found.shape == (1, 1024)


def test_a_push_goes_on_where_its_link_broke(tmp_path: Path, small_requests: None) -> None:
    bundle = family_bundle(tmp_path, 0)
    size = bundle.stat().st_size
    with (
        receiving(tmp_path / "repository") as (client, _),
        link_to(client.port) as link,
    ):
        link.breaks_after = [1000, size // 3, size // 2, size]
        push(bundle, f"127.0.0.1:{link.port}", token=TOKEN)
        assert link.breaks_after == []
        assert link.sent < size + 4 * (300 << 10)  # what was under way is sent again, no more
        np.testing.assert_allclose(answer(client, "head0"), expected(0), atol=1e-5)


def test_a_push_that_was_given_up_goes_on_after_a_restart(
    tmp_path: Path, small_requests: None
) -> None:
    bundle, repository = family_bundle(tmp_path, 0), tmp_path / "repository"
    size = bundle.stat().st_size
    with receiving(repository) as (client, _), link_to(client.port) as link:
        link.breaks_after = [size // 2]
        with pytest.raises(RuntimeUnavailable, match="goes on when it is tried again"):
            push(bundle, f"127.0.0.1:{link.port}", token=TOKEN, patience=0.0)
        assert client.ask("GET", "/v2/models/head0").status == 404
        assert not (repository / "head0.kilnx").exists()
    assert waiting(repository) > size // 4
    with receiving(repository) as (client, url):
        report = push(bundle, url, token=TOKEN)
        assert report.sent_bytes < 0.75 * size
        np.testing.assert_allclose(answer(client, "head0"), expected(0), atol=1e-5)


def bad_bundle(folder: Path, name: str) -> Path:
    """A bundle of a model that is not what its original is."""
    ir.save(family_model(3), folder / "bad.onnx")
    ir.save(family_model(4), folder / "original.onnx")
    np.savez(folder / "warmup.npz", x=X)
    path = folder / f"{name}.kilnx"
    write_bundle(
        path,
        model=folder / "bad.onnx",
        fp32=folder / "original.onnx",
        warmup=folder / "warmup.npz",
        name=name,
        version="2",
    ).close()
    return path


def test_a_bundle_that_does_not_prove_itself_changes_nothing(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    good, bad = family_bundle(tmp_path, 0, "net"), bad_bundle(tmp_path, "net")
    with receiving(repository) as (client, url):
        push(good, url, token=TOKEN)
        with pytest.raises(ModelError, match=r"not that of its fp32 original.*has not changed"):
            push(bad, url, token=TOKEN)
        np.testing.assert_allclose(answer(client, "net"), expected(0), atol=1e-5)
        assert (repository / "net.kilnx").read_bytes() == good.read_bytes()
        assert client.ask("GET", "/v2/health/ready").status == 200
        assert sorted(one.name for one in repository.iterdir()) == [FOLDER, "net.kilnx"]
        assert not list((repository / FOLDER).glob("*.kilnx"))
    with receiving(repository) as (client, _):
        np.testing.assert_allclose(answer(client, "net"), expected(0), atol=1e-5)


def test_a_new_version_takes_the_place_of_the_old_one_in_one_step(tmp_path: Path) -> None:
    with receiving(tmp_path / "repository") as (client, url):
        push(family_bundle(tmp_path, 0, "net"), url, token=TOKEN)
        push(family_bundle(tmp_path, 1, "net", version="2"), url, token=TOKEN)
        np.testing.assert_allclose(answer(client, "net"), expected(1), atol=1e-5)
        assert client.ask("GET", "/v2/models/net").json()["versions"] == ["2"]


def test_who_may_push(tmp_path: Path) -> None:
    bundle = family_bundle(tmp_path, 0)
    with receiving(tmp_path / "repository") as (client, url):
        for token in (None, "another-token-of-some-length"):
            with pytest.raises(RuntimeUnavailable, match="token"):
                push(bundle, url, token=token)
        assert not (tmp_path / "repository" / FOLDER).exists()
    with (
        serving(repository=tmp_path / "repository", control_token=TOKEN) as client,
        pytest.raises(RuntimeUnavailable, match="--accept-pushes"),
    ):
        push(bundle, f"http://{client.host}:{client.port}", token=TOKEN)


def test_what_a_server_cannot_accept_is_said_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--control-token"):
        ServeOptions(repository=tmp_path, accept_pushes=True)
    with pytest.raises(DataError, match="--repository"):
        ServeOptions(models=("m.onnx",), token=TOKEN, accept_pushes=True)


def test_what_is_served_from_elsewhere_is_not_pushed(tmp_path: Path) -> None:
    other = family_bundle(tmp_path, 1, "net")
    bundle, repository = family_bundle(tmp_path, 0, "net"), tmp_path / "repository"
    with receiving(repository, other) as (client, url):
        with pytest.raises(ModelError, match=r"served from net-1\.kilnx"):
            push(bundle, url, token=TOKEN)
        np.testing.assert_allclose(answer(client, "net"), expected(1), atol=1e-5)
    with receiving(repository, versions="7") as (_, url):
        with pytest.raises(ModelError, match="versions 7"):
            push(bundle, url, token=TOKEN)
        assert not list(repository.glob("*.kilnx"))


def test_a_bundle_that_is_too_large_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    limits = ServeLimits(push_bytes=1 << 20)
    with receiving(tmp_path / "repository", limits=limits) as (client, _):
        with link_to(client.port) as link, pytest.raises(ModelError, match="--max-push"):
            push(family_bundle(tmp_path, 0), f"127.0.0.1:{link.port}", token=TOKEN)
        assert link.sent < 20_000


def test_no_bundle_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "no.kilnx").write_bytes(b"no bundle")
    with pytest.raises(BundleError):
        push(tmp_path / "no.kilnx", "127.0.0.1:1")
    bundle = family_bundle(tmp_path, 0)
    with pytest.raises(RuntimeUnavailable, match="is not reached"):
        push(bundle, "127.0.0.1:1", patience=0.0)
    with pytest.raises(DataError, match="the server"):
        push(bundle, "ftp://nowhere")


def recipe_of(files: dict[str, bytes]) -> bytes:
    parts = {name: [hashlib.sha256(raw).hexdigest(), [len(raw)]] for name, raw in files.items()}
    return json.dumps({"files": parts}).encode()


MANIFEST = "kilnx-bundle.json"
GOOD = {MANIFEST: b"{}", "model.onnx": b"model"}
ZEROS = "0" * 64


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"files": {}}',
        b'{"files": {"a": 1}}',
        json.dumps({"files": {MANIFEST: ["00", [1]]}}).encode(),
        json.dumps({"files": {MANIFEST: [ZEROS, [-1]]}}).encode(),
        json.dumps({"files": {MANIFEST: [ZEROS, [1.5]]}}).encode(),
        json.dumps({"files": {MANIFEST: [ZEROS, [1]], "../up": [ZEROS, [1]]}}).encode(),
        json.dumps({"files": {MANIFEST: [ZEROS, [1]], "/etc/x": [ZEROS, [1]]}}).encode(),
        json.dumps({"files": {"model.onnx": [ZEROS, [1]]}}).encode(),
    ],
)
def test_recipes_that_are_none_are_refused(tmp_path: Path, raw: bytes) -> None:
    with receiving(tmp_path / "repository") as (client, _):
        control = {"Authorization": f"Bearer {TOKEN}"}
        path = f"/v2/repository/pushes/{hashlib.sha256(raw).hexdigest()}"
        assert client.ask("PUT", path, raw, control).status == 400
        assert client.ask("PUT", f"/v2/repository/pushes/{ZEROS}", raw, control).status == 400
        assert (
            not (tmp_path / "repository" / FOLDER).exists() or waiting(tmp_path / "repository") == 0
        )


def test_parts_that_are_others_are_refused(tmp_path: Path) -> None:
    raw = recipe_of(GOOD)
    path = f"/v2/repository/pushes/{hashlib.sha256(raw).hexdigest()}"
    control = {"Authorization": f"Bearer {TOKEN}"}
    with receiving(tmp_path / "repository") as (client, _):
        assert client.ask("PUT", f"{path}/parts/0", b"{}", control).status == 404
        assert client.ask("POST", path, b"", control).status == 404
        told = client.ask("PUT", path, raw, control).json()
        assert told["missing"] == "0-1"
        for numbers, body in (
            ("0", b"[]"),  # another digest
            ("0", b"{} "),
            ("0-1", b"{}"),
            ("5", b"{}"),
            ("1,0", b"model{}"),
            ("0-999999999", b""),
            ("x", b""),
        ):
            found = client.ask("PUT", f"{path}/parts/{numbers}", body, control)
            assert found.status in (400, 422), (numbers, found)
        assert client.ask("POST", path, b"", control).status == 404  # parts are missing
        assert client.ask("PUT", f"{path}/parts/0-1", b"{}model", control).status == 200
        found = client.ask("POST", path, b"", control)
        assert found.status == 422
        assert "manifest" in found.json()["error"]
        assert list((tmp_path / "repository").glob("*.kilnx")) == []
        assert list((tmp_path / "repository" / FOLDER).glob("*.kilnx")) == []
        assert client.ask("PUT", f"{path}/parts/0", b"{}").status in (401, 403)


def test_a_part_that_was_damaged_while_it_waited_is_asked_for_again(tmp_path: Path) -> None:
    from runtimes.serving.push.recipe import Recipe

    receiver = Receiver(tmp_path, 1 << 20, lambda: [])
    raw = recipe_of(GOOD)
    recipe, name = Recipe.of(raw), hashlib.sha256(raw).hexdigest()
    assert receiver.plan(raw) == [0, 1]
    receiver.take(recipe, [0, 1], b"{}model")
    assert receiver.missing(recipe) == []
    kept = tmp_path / FOLDER / "parts" / hashlib.sha256(b"model").hexdigest()
    kept.write_bytes(b"MODEL")
    with pytest.raises(Exception, match="missing"):
        receiver.assemble(name)
    assert receiver.missing(recipe) == [1]


def test_a_signature_travels_with_its_bundle(tmp_path: Path) -> None:
    ir.save(family_model(0), tmp_path / "m.onnx")
    write_bundle(
        tmp_path / "signed.kilnx",
        model=tmp_path / "m.onnx",
        name="signed",
        sign=lambda raw, comment: b"untrusted comment: x\n",
    ).close()
    with receiving(tmp_path / "repository") as (_, url):
        push(tmp_path / "signed.kilnx", url, token=TOKEN)
    with Bundle.open(tmp_path / "repository" / "signed.kilnx") as bundle:
        assert bundle.signed


@pytest.fixture
def signers(tmp_path: Path) -> dict[str, tuple[Any, str]]:
    """What signs, and the public key, of two people."""
    minisign = pytest.importorskip("minisign")
    found = {}
    for name in ("ours", "theirs"):
        pair = minisign.KeyPair.generate()
        (tmp_path / f"{name}.key").write_bytes(bytes(pair.secret_key) + b"\n")
        (tmp_path / f"{name}.pub").write_bytes(bytes(pair.public_key) + b"\n")
        found[name] = open_signer(tmp_path / f"{name}.key"), str(tmp_path / f"{name}.pub")
    return found


def test_only_what_a_trusted_key_signed_is_served(tmp_path: Path, signers: Any) -> None:
    sign, public = signers["ours"]
    sign_theirs, theirs = signers["theirs"]
    repository = tmp_path / "repository"
    good = family_bundle(tmp_path, 0, "net", sign=sign)
    foreign = family_bundle(tmp_path, 1, "net", sign=sign_theirs, version="2")
    with receiving(repository, verify=(public,)) as (client, url):
        push(good, url, token=TOKEN)
        with pytest.raises(ModelError, match="was not signed with this key"):
            push(foreign, url, token=TOKEN)
        with link_to(client.port) as link, pytest.raises(ModelError, match="is not signed"):
            push(family_bundle(tmp_path, 2), f"127.0.0.1:{link.port}", token=TOKEN)
        assert link.sent < 20_000  # it was refused before its parts were sent
        np.testing.assert_allclose(answer(client, "net"), expected(0), atol=1e-5)
        assert (repository / "net.kilnx").read_bytes() == good.read_bytes()
        assert not list((repository / FOLDER).glob("*.kilnx"))
    with receiving(repository, verify=(theirs, public)) as (client, url):  # one of them suffices
        push(foreign, url, token=TOKEN)
        np.testing.assert_allclose(answer(client, "net"), expected(1), atol=1e-5)


def test_a_signature_of_other_content_is_refused(tmp_path: Path, signers: Any) -> None:
    sign, public = signers["ours"]
    signature = sign(b"another manifest", "kilnx bundle net 1")
    with receiving(tmp_path / "repository", verify=(public,)) as (client, url):
        stolen = family_bundle(tmp_path, 0, "net", sign=lambda raw, comment: signature)
        with pytest.raises(ModelError, match=r"changed afterwards.*"):
            push(stolen, url, token=TOKEN)
        broken = family_bundle(tmp_path, 1, "net", sign=lambda raw, comment: b"no signature")
        with pytest.raises(ModelError, match="is not a signature"):
            push(broken, url, token=TOKEN)
        assert client.ask("GET", "/v2/models/net").status == 404


def test_what_lies_in_a_repository_is_held_to_the_same_keys(tmp_path: Path, signers: Any) -> None:
    sign, public = signers["ours"]
    repository = tmp_path / "repository"
    repository.mkdir()
    ir.save(family_model(1), repository / "plain.onnx")
    family_bundle(repository, 2, "unsigned").rename(repository / "unsigned.kilnx")
    family_bundle(tmp_path, 3, "signed", sign=sign).rename(repository / "signed.kilnx")
    (repository / "model-2.onnx").unlink()
    with receiving(repository, verify=(public,)) as (client, _):
        index = client.ask("POST", "/v2/repository/index", {}).json()
        told = {one["name"]: (one["state"], one.get("reason", "")) for one in index}
        assert told["signed"][0] == "READY"
        assert "is not signed" in told["unsigned"][1]
        assert "only a bundle has a signature" in told["plain"][1]
    with (
        pytest.raises(BundleError, match="is not a public key"),
        receiving(repository, verify=("RWnot-a-key",)),
    ):
        pass


def test_pushes_are_as_the_openapi_document_says(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    with receiving(tmp_path / "repository") as (client, url):
        document = client.ask("GET", "/openapi.json").json()
        paths = [path for path in document["paths"] if "/pushes/" in path]
        assert len(paths) == 2

        def check(value: Any, schema: str) -> None:
            whole = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
            jsonschema.Draft202012Validator(whole).validate(value)

        bundle = family_bundle(tmp_path, 0)
        raw = recipe_of(GOOD)
        check(json.loads(raw), "PushRecipe")
        path = f"/v2/repository/pushes/{hashlib.sha256(raw).hexdigest()}"
        control = {"Authorization": f"Bearer {TOKEN}"}
        check(client.ask("PUT", path, raw, control).json(), "PushPlan")
        report = push(bundle, url, token=TOKEN)
        told = {"name": report.name, "version": report.version, "digest": report.digest}
        check(told, "Pushed")
        check(told, "PushAnswer")
        with pytest.raises(jsonschema.ValidationError):
            check({"missing": 3}, "PushAnswer")
    with serving(repository=tmp_path / "repository") as client:
        assert not [
            path
            for path in client.ask("GET", "/openapi.json").json()["paths"]
            if "/pushes/" in path
        ]
