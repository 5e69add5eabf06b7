"""Loading depends on the version of Keras and on the size of the model."""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from runtimes.errors import ModelError
from runtimes.keras_models import load as keras_files
from runtimes.keras_models.load import load_keras_model


@pytest.mark.parametrize("form", ["file", "folder"])
def test_tensorflow_gives_memory_back_only_where_a_large_model_loads_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    option = "TF_ONEDNN_USE_SYSTEM_ALLOCATOR"
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(keras_files, "_LARGE_BYTES", 100)
    path = tmp_path / "model"
    if form == "folder":
        (path / "variables").mkdir(parents=True)
        (path / "saved_model.pb").write_bytes(bytes(50))
    data = path / "variables" / "v.data" if form == "folder" else path
    data.write_bytes(bytes(40))
    spare = keras_files._spare_memory_for
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "tensorflow", raising=False)
        spare(path)
        spare(tmp_path / "none")
        assert option not in os.environ
        data.write_bytes(bytes(101))
        spare(path)
        assert os.environ.pop(option) == "1"
        patch.setitem(sys.modules, "tensorflow", object())
        spare(path)  # too late: TensorFlow has read it
    assert option not in os.environ


@pytest.mark.parametrize(("version", "advice"), [("3.99.1", True), ("3.0.0", False), ("", False)])
def test_a_file_of_a_newer_keras_says_so(
    keras: Any, tmp_path: Path, version: str, advice: bool
) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    path = tmp_path / "model.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["layers"][1]["config"]["novelty"] = 1
    parts["config.json"] = json.dumps(config).encode()
    parts["metadata.json"] = json.dumps({"keras_version": version}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(ModelError, match="could not be loaded by Keras") as caught:
        load_keras_model(path)
    upgrade = "saved the file and this is Keras 3.* pip install --upgrade 'keras>=3.99.1'"
    assert bool(re.search(upgrade, str(caught.value))) == advice
