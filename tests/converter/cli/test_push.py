import json

import pytest

pytest.importorskip("uvicorn")

from families import family_bundle
from served import serving

TOKEN = "a-control-token-of-some-length"


def test_a_bundle_is_pushed(kilnx, tmp_path):
    bundle = family_bundle(tmp_path, 0)
    (tmp_path / "models").mkdir()
    with serving(repository=tmp_path / "models", control_token=TOKEN, accept_pushes=True) as client:
        server = f"{client.host}:{client.port}"
        code, out, err = kilnx("push", bundle, server, "--token", TOKEN)
        assert code == 0, err
        assert f"http://{server} serves head0 1" in out
        code, out, _ = kilnx("push", bundle, server, "--token", TOKEN, "--json")
        assert code == 0
        assert json.loads(out)["sent_parts"] == 0
        code, out, err = kilnx("push", bundle, server, "--quiet")
        assert (code, out) == (3, "")
        assert "KILNX_CONTROL_TOKEN" in err
    code, _, err = kilnx("push", bundle, server, "--token", TOKEN, "--patience", "0")
    assert code == 3
    assert "is not reached" in err
    code, _, err = kilnx("push", tmp_path / "absent.kilnx", server, "--patience", "0")
    assert code == 2
    assert "no such bundle" in err


def test_a_server_that_cannot_take_pushes_does_not_start(kilnx, tmp_path):
    code, _, err = kilnx("serve", "--repository", tmp_path, "--accept-pushes", "--port", "0")
    assert code == 2
    assert "--control-token" in err
