"""``kilnx check`` over shards that others compared, and by workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Kilnx = Callable[..., tuple[int, str, str]]


def test_shards_in_files_and_workers_say_what_one_process_says(
    kilnx: Kilnx, model: Path, tmp_path: Path
) -> None:
    command = ("check", model, model, "--data", tmp_path / "data.npz")
    for index in range(2):
        output = tmp_path / f"part{index}.parity"
        code, out, err = kilnx(*command, "--shard", f"{index}/2", "-o", output)
        assert code == 0, err
        assert f"the samples {32 * index} to {32 * index + 31} of 64 compared" in out
    found = []
    for options in ((), ("--parts", tmp_path / "part*.parity"), ("--workers", "2")):
        code, out, err = kilnx(*command, *options, "--json")
        assert code == 0, err
        found.append(json.loads(out))
    assert found[0]["samples"] == 64
    assert found[1] == found[0]
    assert found[2] == found[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shard", "0/2"), "--shard and -o belong together"),
        (("--shard", "0/2", "-o", "a.parity", "--workers", "2"), "leave out --workers"),
        (("--parts", "no*.parity"), "no such file"),
        (("--parts", "x", "--workers", "2"), "--parts were compared before"),
        (("--shard", "2/2", "-o", "a.parity"), "no shard 2/2"),
    ],
)
def test_options_that_do_not_go_together(
    kilnx: Kilnx, model: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    code, _, err = kilnx("check", model, model, "--data", tmp_path / "data.npz", *options)
    assert code == 2
    assert message in err
