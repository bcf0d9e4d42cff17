"""Several devices and several processes give what one device gives, in processes of their own."""

import json
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.base import InputError, devices
from tests.conftest import ROOT

TRAIN = """
import json, os, sys
import jax, jax.numpy as jnp, numpy as np
from cxrjax.base import devices
from cxrjax.models.registry import ALEXNET
from cxrjax.models.transfer import Network, Trunk
from cxrjax.training import inputs, loop
from cxrjax.training.optimizer import Recipe
from cxrjax.training.plan import SeedData, Workload
from pathlib import Path
devices.start(Path(sys.argv[1]))

@jax.jit
def blocks(params, images):
    x = jnp.asarray(images, jnp.float32)[:, :224, :224] / 255 - 0.5
    return x.reshape(-1, 14, 16, 14, 16).mean(axis=(2, 4)).reshape(-1, 196) * params

def head(variables, x, key, mask):
    if key is not None:
        x = jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0)
    return x @ variables["params"]["fc8"]["kernel"], {}

def initial(key):
    return {"params": {"fc8": {"kernel": 0.1 * jax.random.normal(key, (196, 2))}}}

trunk = Trunk(ALEXNET, blocks, jnp.float32(1), (196,), np.dtype(np.float32), "blocks")
net = Network(ALEXNET, trunk, head, initial, ("fc8",), True)
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (40, 256, 256), dtype=np.uint8)
labels = rng.integers(0, 2, 40, dtype=np.int32)
orders = [rng.permutation(40).astype(np.int32) for _ in range(int(sys.argv[2]))]
runs = [SeedData(s, o[: 24 + s], o[30 : 38 + s % 2]) for s, o in enumerate(orders)]
pipeline = inputs.Resident(images if jax.process_count() > 1 else jnp.asarray(images), 227)
out = {"devices": jax.device_count()}
for slots in (0, 2):
    recipe = Recipe(epochs=2, batch_size=int(sys.argv[3]), learning_rate=0.1, momentum=0.9, augment_bank=slots)
    fitted = loop.fit(Workload(net, pipeline, labels, recipe), runs)
    out[f"history {slots}"] = [np.asarray(x).tolist() for x in fitted.history]
    out[f"params {slots}"] = fitted.variables["params"]["fc8"]["kernel"].tolist()
    out[f"mesh {slots}"] = dict(devices.mesh(len(runs), int(sys.argv[3])).shape)
long = {"text": ("x" if devices.is_first() else "yz") * 5000}
out["broadcast"] = devices.broadcast_json(long) == {"text": "x" * 5000}
print(json.dumps(out))
"""


def start(tmp_path, seeds, batch, count=1, **environment):
    flags = f"--xla_force_host_platform_device_count={count}"
    env = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", **environment}
    command = [sys.executable, "-c", TRAIN, str(tmp_path / "programs"), str(seeds), str(batch)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=env)


def result(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def same(a, b):
    for name in ("history 0", "history 2", "params 0", "params 2"):
        # Sums over a batch in another order, float32.
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.slow  # 15 s each
@pytest.mark.parametrize(
    ("seeds", "batch", "mesh"),
    [
        (3, 8, {"seed": 1, "data": 4}),
        (4, 8, {"seed": 4, "data": 1}),
        (3, 6, {"seed": 4, "data": 1}),  # 6 does not divide by 4, so a masked seed fills the mesh
        (2, 8, {"seed": 2, "data": 2}),
    ],
)
def test_four_devices_equal_one(tmp_path, seeds, batch, mesh):
    four, one = start(tmp_path, seeds, batch, 4), start(tmp_path, seeds, batch, 1)
    four, one = result(four), result(one)
    assert (four["devices"], one["devices"]) == (4, 1)
    assert four["mesh 0"] == mesh
    same(four, one)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    address = f"127.0.0.1:{free_port()}"
    both = [
        start(tmp_path, 3, 8, JAX_COORDINATOR_ADDRESS=address, JAX_NUM_PROCESSES="2", JAX_PROCESS_ID=str(i))
        for i in range(2)
    ]
    alone = start(tmp_path, 3, 8)
    first, second, one = map(result, (*both, alone))
    assert first["broadcast"] and second["broadcast"]
    assert first["devices"] == second["devices"] == 2
    same(first, second)
    same(first, one)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"JAX_NUM_PROCESSES": "2"}, "JAX_NUM_PROCESSES set without JAX_COORDINATOR_ADDRESS, JAX_PROCESS_ID"),
        (
            {"JAX_COORDINATOR_ADDRESS": "x:1", "JAX_NUM_PROCESSES": "two", "JAX_PROCESS_ID": "0"},
            "JAX_NUM_PROCESSES must be a whole number, got 'two'",
        ),
    ],
)
def test_half_told_processes_are_refused(monkeypatch, tmp_path, given, message):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        devices.start(tmp_path)


def test_a_program_is_compiled_once_for_equal_static_arguments():
    traced = []

    @devices.jit_convolutions(0)
    def power(exponent, x):
        traced.append(exponent)
        return x**exponent

    assert [float(power(n, 3.0)) for n in (2, 2, 3)] == [9, 9, 27]
    assert traced == [2, 3]


PROGRAMS = """
import resource, sys
from pathlib import Path
import jax
from cxrjax.base import devices
devices.start(Path(sys.argv[1]))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), limits[1]))
for power in (2, 3, 4):
    print(jax.jit(lambda x: x**power)(2.0))
"""


def test_programs_that_cannot_be_kept_stop_nothing(tmp_path):
    """Told once, not for each; what a full disk cut short is removed, or it would be in the way for ever."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    outcomes = []
    for cache, size in ((tmp_path / "full", 100), (tmp_path / "file" / "programs", -1), (tmp_path / "good", -1)):
        (tmp_path / "file").touch()
        command = [sys.executable, "-c", PROGRAMS, str(cache), str(size)]
        environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["4.0", "8.0", "16.0"]
        outcomes.append(done.stderr)
    assert (
        outcomes[0].count("\n") == 1
        and "full: compiled programs cannot be kept or read (File too large)" in outcomes[0]
    )
    assert outcomes[1].count("\n") == 1 and "(Not a directory)" in outcomes[1]
    assert outcomes[2] == ""
    assert not list((tmp_path / "full").iterdir()) and len(list((tmp_path / "good").iterdir())) >= 3


def test_float32_products_are_said_and_set(monkeypatch):
    assert devices.float32_products() == "float32"  # a CPU's
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert devices.float32_products() == "TF32"
    with devices.precision("default"):
        assert devices.float32_products() == "TF32"
    with devices.precision("float32"):
        assert devices.float32_products() == "float32"
        product = jax.jit(jnp.dot).lower(jnp.ones((2, 2)), jnp.ones((2, 2))).as_text()
    assert "precision = [HIGHEST, HIGHEST]" in product


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="of CPUs")
def test_a_training_program_leaves_products_to_ynnpack_and_no_program_convolutions():
    def program(function, *arrays, training):
        options = devices.convolution_options(training)
        return jax.jit(function, compiler_options=options).lower(*arrays).compile().as_text()

    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    matrices, maps = (jnp.ones((64, 256)), jnp.ones((256, 256))), (jnp.ones((8, 14, 14, 64)), jnp.ones((3, 3, 64, 64)))
    assert "ynn_fusion" in program(jnp.matmul, *matrices, training=True)
    assert "ynn_fusion" not in program(jnp.matmul, *matrices, training=False)
    for training in (True, False):
        assert "ynn_fusion" not in program(convolve, *maps, training=training)
