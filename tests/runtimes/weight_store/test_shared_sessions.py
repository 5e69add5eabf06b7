import gc
import threading
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest

import runtimes.engines.ort_optimized
import runtimes.weight_store.shared_sessions
from runtimes import SharedWeights
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import DataError, ModelError
from runtimes.profiling.memory import proportional_bytes
from runtimes.weight_store.store import create_store, model_path, store_names

BACKBONE = np.random.default_rng(0).normal(size=(32, 16, 3, 3), scale=0.1).astype(np.float32)
FEED = {"x": np.random.default_rng(9).normal(size=(2, 16, 12, 12)).astype(np.float32)}


def classifier(seed, path=None):
    """A convolution that all share, pooled into a head of its own; If holds a weight, too."""
    model = ir.from_onnx_text("""<ir_version: 9, opset_import: ["" : 18]>
    g (float[N, 16, 12, 12] x) => (float[N, 8] y) {
      a = Conv<pads = [1, 1, 1, 1]>(x, k) b = Relu(a) c = GlobalAveragePool(b)
      d = Flatten(c) y = MatMul(d, h)
    }""")
    head = np.random.default_rng(seed).normal(size=(32, 8)).astype(np.float32)
    for node in model.graph:
        for value in node.inputs:
            if value.name in ("k", "h"):
                array = BACKBONE if value.name == "k" else head
                value.const_value = ir.tensor(array, name=value.name)
                value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(array.shape)
                model.graph.register_initializer(value)
    if path is not None:
        ir.save(model, path)
    return model


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"m{seed}.onnx" for seed in range(3)]
    for seed, path in enumerate(paths):
        classifier(seed, path)
    return paths


def test_sessions_compute_what_sessions_of_their_own_compute(files):
    with SharedWeights(prepack=True, threads=1) as shared:
        for path in files:
            with OrtRuntime(path, threads=1) as alone, shared.open(path) as together:
                np.testing.assert_array_equal(alone.run(FEED)["y"], together.run(FEED)["y"])
                assert together.name == alone.name
                assert together.inputs == alone.inputs


def test_a_weight_of_several_models_is_one_value(files):
    with SharedWeights() as shared:
        opened = [shared.open(path) for path in files for _ in range(2)]
        heads = 32 * 8 * 4
        report = shared.report()
        assert report.sessions == 6
        assert report.weights == 4
        assert report.held_bytes == BACKBONE.nbytes + 3 * heads
        assert report.bytes_without_sharing == 6 * (BACKBONE.nbytes + heads)
        assert report.to_dict()["weights"] == 4
        kernels = [
            value.data_ptr()
            for runtime in opened
            for value in runtime._initializers.values()
            if value.tensor_size_in_bytes() == BACKBONE.nbytes
        ]
        assert len(kernels) == 6
        assert len(set(kernels)) == 1


def test_a_live_graph_and_a_model_of_a_store_share_with_a_file(files, tmp_path):
    create_store(tmp_path / "store", files[:1])
    with SharedWeights() as shared:
        opened = [
            shared.open(source)
            for source in (files[0], classifier(0), model_path(tmp_path / "store", "m0"))
        ]
        report = shared.report()
        assert (report.sessions, report.weights) == (3, 2)
        for runtime in opened:
            runtime.close()
        del runtime, opened
        assert shared.report().held_bytes == 0


def test_a_folder_serves_later_pools(files, tmp_path, monkeypatch):
    with SharedWeights(tmp_path / "pool") as shared:
        want = shared.open(files[0]).run(FEED)["y"]
    assert len(store_names(tmp_path / "pool")) == 1

    def refuse(*arguments):
        raise AssertionError("optimized again")

    monkeypatch.setattr(runtimes.weight_store.shared_sessions, "add_to_store", refuse)
    with SharedWeights(tmp_path / "pool") as shared:
        np.testing.assert_array_equal(shared.open(files[0]).run(FEED)["y"], want)


def test_damage_in_the_folder_is_found(files, tmp_path):
    with SharedWeights(tmp_path / "pool") as shared:
        shared.open(files[0])
    model = next(tmp_path.glob("pool/*.onnx"))
    model.write_bytes(model.read_bytes()[:-1])
    with SharedWeights(tmp_path / "pool") as shared, pytest.raises(ModelError, match="damaged"):
        shared.open(files[0])


def test_a_folder_that_is_none_of_ours(files, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with SharedWeights(tmp_path / "full") as shared, pytest.raises(DataError, match="not empty"):
        shared.open(files[0])


def test_threads_open_and_run_at_once(files):
    results, alone = {}, {}
    with SharedWeights(threads=1) as shared:

        def work(index):
            with shared.open(files[index % 3]) as runtime:
                for _ in range(5):
                    results[index] = runtime.run(FEED)["y"]

        workers = [threading.Thread(target=work, args=(index,)) for index in range(6)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for index, path in enumerate(files):
            alone[index] = shared.open(path).run(FEED)["y"]
    assert len(results) == 6
    for index, result in results.items():
        np.testing.assert_array_equal(result, alone[index % 3])


def test_a_temporary_folder_goes_with_the_pool(files):
    with SharedWeights() as shared:
        shared.open(files[0])
        assert shared.folder.is_dir()
    assert not shared.folder.exists()


def test_models_that_do_not_load_are_named(tmp_path):
    with SharedWeights() as shared, pytest.raises(ModelError, match="no such file"):
        shared.open(tmp_path / "absent.onnx")


@pytest.fixture
def gpus(monkeypatch):
    """Stand-ins for devices: what is put where, and what open sessions were given."""
    placed, opened = [], []

    class Value:
        def __init__(self, array, place):
            self.size = array.nbytes
            placed.append((place["device_type"], place["device_id"], array.nbytes))

        def tensor_size_in_bytes(self):
            return self.size

    class Session:
        """Something that can be referred to weakly."""

    ort = SimpleNamespace(
        __version__="0",
        OrtValue=SimpleNamespace(ortvalue_from_numpy=lambda array, **place: Value(array, place)),
    )

    def runtime(model, *, provider, cuda=None, initializers=None, **options):
        if "optimized_model_path" in options:
            return OrtRuntime(model, **options)
        opened.append((provider, cuda.device, initializers))
        return Session()

    monkeypatch.setattr(runtimes.weight_store.shared_sessions, "require_onnxruntime", lambda: ort)
    for module in (runtimes.weight_store.shared_sessions, runtimes.engines.ort_optimized):
        monkeypatch.setattr(module, "OrtRuntime", runtime)
    return placed, opened


def test_each_gpu_gets_one_copy(files, gpus):
    placed, opened = gpus
    with SharedWeights(provider="cuda", arena=False) as shared:
        sessions = [
            shared.open(path, device=device)
            for path in files[:2]
            for device in (0, 1)
            for _ in range(2)
        ]
        assert len(opened) == len(sessions) == 8
        assert len(placed) == 2 * 3  # two devices; a backbone and two heads
        assert {(kind, device) for kind, device, _ in placed} == {("cuda", 0), ("cuda", 1)}
        for device in (0, 1):
            values = [set(map(id, given.values())) for _, d, given in opened if d == device]
            assert values[0] == values[1]
            assert len(values[0] & values[2]) == 1
        assert shared.report().held_bytes == 2 * (BACKBONE.nbytes + 2 * 32 * 8 * 4)


def test_a_new_version_puts_on_a_gpu_what_changed_and_the_old_one_goes(files, gpus):
    placed, opened = gpus
    head = 32 * 8 * 4
    with SharedWeights(provider="cuda", arena=False) as shared:
        old = [shared.open(files[0], device=device) for device in (0, 1)]
        del placed[:]
        new = [shared.open(files[1], device=device) for device in (0, 1)]
        assert placed == [("cuda", 0, head), ("cuda", 1, head)]
        assert shared.report().held_bytes == 2 * (BACKBONE.nbytes + 2 * head)
        del old, opened[:2]
        assert shared.report().held_bytes == 2 * (BACKBONE.nbytes + head)
        assert shared.report().sessions == len(new)


def test_proportional_memory_counts_what_is_there():
    gc.collect()  # else what earlier tests left may go in between
    before = proportional_bytes(kind="Pss_Anon")  # files are shared with whoever starts meanwhile
    held = np.ones(1 << 27, np.uint8)
    assert proportional_bytes(kind="Pss_Anon") - before > held.nbytes // 2
    assert proportional_bytes(kind="Pss_Anon") <= proportional_bytes()


def test_a_weight_inside_a_body_is_shared_through_its_file(tmp_path):
    numbers = ", ".join(["0.25"] * 144)
    model = ir.from_onnx_text(f"""<ir_version: 9, opset_import: ["" : 18]>
    g (float[N, 12] x, bool c) => (float[N, 12] y) {{
      y = If (c) <
        then_branch = t () => (float[N, 12] u) <float[12, 12] w = {{{numbers}}}> {{
          u = MatMul(x, w)
        }},
        else_branch = e () => (float[N, 12] v) {{ v = Neg(x) }}
      >
    }}""")
    ir.save(model, tmp_path / "m.onnx")
    create_store(tmp_path / "store", [tmp_path / "m.onnx"])
    assert len(list((tmp_path / "store" / "weights").iterdir())) == 1
    feed = {"x": np.ones((2, 12), np.float32), "c": np.array(True)}
    with SharedWeights(threads=1) as shared:
        for source in (tmp_path / "m.onnx", model_path(tmp_path / "store", "m")):
            np.testing.assert_array_equal(shared.open(source).run(feed)["y"], np.full((2, 12), 3.0))
    with OrtRuntime(model_path(tmp_path / "store", "m")) as alone:
        np.testing.assert_array_equal(alone.run(feed)["y"], np.full((2, 12), 3.0))
