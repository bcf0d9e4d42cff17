"""The benchmark: counts by hand and by XLA, PyTorch doing the same work, files, mistakes. Nothing here times."""

import importlib.util
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cxrjax.interpret import dream_parts
from cxrjax.models import alexnet, augment, pretrained, registry
from cxrjax.models.pretrained import Weights, WeightsInfo
from cxrjax.runs import roofline
from cxrjax.training import step as train
from cxrjax.training.step import Batch, Metrics, TrainState
from experiments import _benchmark_parts, _timing, benchmark_step
from tests.conftest import ROOT
from tests.models import torch_alexnet

NO_TORCH = "PyTorch is not installed"


def test_layers_by_hand():
    conv1, conv2, _, _, conv5, fc6, _, fc8 = roofline.layers("torchvision")
    # (227 + 2*2 - 11) / 4 + 1 = 56; pooled (56 - 3) / 2 + 1 = 27, rounded down.
    assert conv1 == ("conv1", 56 * 56 * 64 * 363, 64 * 363 + 64, 227 * 227 * 3, 56 * 56 * 64, 27 * 27 * 64)
    assert conv2.multiply_adds == 27 * 27 * 192 * 25 * 64
    assert (conv5.passed_on, fc6.inputs, fc6.multiply_adds) == (9216, 9216, 9216 * 4096)
    assert fc8 == ("fc8", 8192, 8194, 4096, 2, 2)
    # Groups of 2: each output sees half of the 96 channels; pooling 13 -> 6.
    caffe = roofline.layers("caffe")
    assert caffe[1].multiply_adds == 27 * 27 * 256 * 25 * 48
    assert caffe[4].passed_on == 9216


def test_head_step_by_hand():
    # 2 images, 8,192 weights and 2 biases: forward, weight gradient, update; nobody needs the inputs' gradient.
    assert roofline.head_step("torchvision", "fc8", 2) == (
        2 * (2 * 2 * 8192) + 2 * 8194,
        2 * (2 * (4096 + 2) * 4 + 8194 * 4) + 3 * 8194 * 4,
    )
    # 54.5 million parameters, batch 64: 2 * 2 * 64 * 54.5e6 and fc7's input gradient 2 * 64 * 16.8e6.
    fc6 = roofline.head_step("torchvision", "fc6", 64)
    assert fc6.flops == pytest.approx(16.2e9, rel=0.01)
    assert fc6.bytes == pytest.approx(1.17e9, rel=0.01)


def test_parts_are_made_of_parts():
    trunk, head = roofline.trunk("torchvision", "fc6", 8), roofline.head_step("torchvision", "fc6", 8)
    assert roofline.whole_step("torchvision", "fc6", 8, 3) == roofline.times(roofline.plus(trunk, head), 3)
    assert roofline.trunk("torchvision", "conv1", 8) == (0, 2 * 8 * 227 * 227)
    every = roofline.trunk("torchvision", "fc8", 1).flops + 2 * 8192
    assert roofline.dream_step("torchvision").flops == 2 * every
    one, two = (roofline.evaluation("torchvision", "fc6", 8, seeds) for seeds in (1, 2))
    assert two.flops - one.flops == 2 * 8 * (9216 * 4096 + 4096 * 4096 + 8192)
    assert roofline.trunk("torchvision", "fc6", 8, itemsize=2).bytes < trunk.bytes


def test_floor_is_the_slower_of_arithmetic_and_traffic():
    assert roofline.floor(roofline.Count(100, 1), roofline.Ceiling(10, 1)) == 10
    assert roofline.floor(roofline.Count(1, 100), roofline.Ceiling(1, 10)) == 10


@pytest.mark.parametrize("variant", ["torchvision", "caffe"])
def test_trunk_agrees_with_xla(variant):
    """XLA leaves out products with padding, up to 9 % of all, and counts element-wise work, some 2 %."""
    net = alexnet.AlexNet(variant=variant, stop="conv5")
    image = jax.ShapeDtypeStruct((2, 227, 227, 3), jnp.float32)
    params = jax.eval_shape(net.init, jax.random.key(0), image)
    cost = jax.jit(net.apply).lower(params, image).cost_analysis()
    assert 0.9 < cost["flops"] / roofline.trunk(variant, "fc6", 2).flops < 1.03


def test_head_step_agrees_with_xla():
    """Matrix products are all but everything at batch 64; dropout's random bits and the loss are within 3 %."""
    net = alexnet.AlexNet(2, start="fc6")
    inputs = jax.ShapeDtypeStruct((64, 9216), jnp.float32)
    params = jax.eval_shape(net.init, jax.random.key(0), inputs)["params"]
    optimiser = optax.sgd(0.001)
    step = train.make_step(lambda p, x, key: net.apply({"params": p}, x, True, rngs={"dropout": key})[0], optimiser)
    state = jax.eval_shape(lambda p: train.init(p, optimiser, jax.random.key(0)), params)
    batch = Batch(inputs, jax.ShapeDtypeStruct((64,), jnp.int32), jax.ShapeDtypeStruct((64,), bool))
    cost = jax.jit(step).lower(state, batch).cost_analysis()
    assert cost["flops"] == pytest.approx(roofline.head_step("torchvision", "fc6", 64).flops, rel=0.03)


def test_works_are_timed_in_turn():
    calls = []

    def work(name):
        return _timing.Work(lambda: calls.append(name), lambda result: calls.append(f"{name} waited for"), 2)

    timings = _timing.interleave({"a": work("a"), "b": work("b")}, warmup=1, repeats=3)
    assert calls[1::2] == [f"{name} waited for" for name in calls[::2]]
    assert "".join(calls[::2]) == "ab" + "ab" + "ab" + "ba" + "ab"
    assert all(len(timing.step_s) == 3 for timing in timings.values())


def test_ratio_and_compile_time():
    own, other = _timing.Timing(9.0, 2, (1.0, 2.0, 3.0)), _timing.Timing(0.0, 2, (3.0, 4.0, 9.0))
    assert _timing.ratio(other, own) == (2.0, 3.0)
    assert own.compile_s == 5.0
    assert other.compile_s == 0.0


@pytest.fixture(scope="module")
def both():
    """The same small setting in cxrjax and in PyTorch, with weights under which no layer fades."""
    pytest.importorskip("torch", reason=NO_TORCH)
    from experiments import _benchmark_torch

    params = pretrained.from_state_dict(torch_alexnet.random_state("torchvision"))
    info = WeightsInfo("random", "", "", "alexnet", tuple(params), registry.TORCHVISION)
    chosen = _benchmark_parts.setting(Weights(params, info), "fc8", "float32", batch=2, seeds=2, steps=2)
    theirs = _benchmark_torch.Parts(chosen, _benchmark_torch.prepare(), _benchmark_torch.eager)
    return chosen, _benchmark_parts.cut(chosen), theirs


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (1, 1)])
def test_pytorch_has_the_same_pixels_and_activations(both, seed, step):
    chosen, net, theirs = both
    pixels = augment.crop_flip(
        chosen.images[chosen.plan.index[seed, step]], chosen.plan.offset[seed, step], chosen.plan.flip[seed, step]
    )
    np.testing.assert_array_equal(theirs.pixels(seed, step).cpu(), pixels)
    want, got = np.asarray(net.trunk(pixels)), theirs.program.trunk(theirs.pixels(seed, step)).cpu().numpy()
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()  # as in test_alexnet


def test_pytorch_has_the_same_loss_after_a_step(both):
    """fc8 drops nothing, so both take the same step; the rate is one at which the loss moves by far more than 1e-4."""
    from experiments import _torch_reference

    chosen, net, theirs = both
    learner = theirs.learners()[1]
    learner.optimiser.param_groups[0]["lr"] = rate = 0.01
    inputs = theirs.program.trunk(theirs.pixels(1, 0))
    got = [float(_torch_reference.step(theirs.program, learner, inputs, theirs.labels[1, 0])) for _ in range(2)]
    optimiser = optax.sgd(rate)
    params = net.initial(_benchmark_parts.initial_key(1))
    state: TrainState = train.init(params, optimiser, jax.random.key(0))
    batch = Batch(
        jnp.asarray(inputs.cpu().numpy()), jnp.asarray(chosen.labels[chosen.plan.index[1, 0]]), jnp.ones(2, bool)
    )
    step = jax.jit(train.make_step(net.head, optimiser))
    want = []
    for _ in range(2):
        sums: Metrics
        state, sums = step(state, batch)
        want.append(float(sums.loss_sum / sums.count))
    assert abs(want[0] - want[1]) > 0.01
    np.testing.assert_allclose(got, want, rtol=1e-4)  # float32 sums of 4,096 products in another order


def test_pytorch_dreams_in_the_same_direction():
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    from experiments import _torch_reference

    gradient = np.random.default_rng(0).standard_normal((37, 50), np.float32)
    want = jax.jit(dream_parts.equalise_bands, static_argnums=1)(gradient, dream_parts.BandedSteps().bands)
    np.testing.assert_allclose(_torch_reference.dream_direction(torch.from_numpy(gradient)), want, atol=1e-4)


@pytest.mark.slow
def test_files_without_tensorflow_and_company(tmp_path):
    """A tiny run in a process that can import nothing but JAX and its company."""
    blocked = ("tensorflow", "torch", "pandas", "sklearn", "matplotlib", "jinja2", "scipy.stats")
    flags = ["--parts=head", "--batch_sizes=2", "--seeds=1,2", "--retrain_from=fc8", "--repeats=5", "--warmup=1"]
    flags += ["--steps=1", "--matrix_side=64", "--copy_mib=1", f"--out={tmp_path / 'a' / 'b'}"]
    code = (
        f"import sys\nsys.modules.update(dict.fromkeys({blocked}))\n"
        f"from experiments import benchmark_step\nbenchmark_step.main({flags})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "a" / "b" / "benchmark.json").read_text())
    assert [(row["part"], row["seeds"], len(row["step_s"])) for row in results["rows"]] == [
        ("head", 1, 5),
        ("head", 2, 5),
    ]
    assert all(row["ms"] > 0 and row["share"] > 0 and row["flops"] > 0 for row in results["rows"])
    table = (tmp_path / "a" / "b" / "benchmark.md").read_text()
    assert table in done.stdout
    assert table.count("| head | 2 |") == 2
    assert "head: batch 2, seeds 1" in done.stderr


def test_missing_pytorch_names_the_extra(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        benchmark_step.main(["--compare=torch", f"--out={tmp_path}"])
    assert stopped.value.code == 2
    assert 'pip install "cxrjax[torch]"' in capsys.readouterr().err


def test_no_trunk_where_nothing_is_frozen():
    assert _benchmark_parts.choose("trunk,head,head", "conv1") == ("head",)
    assert _benchmark_parts.choose("head,trunk", "fc8") == ("head", "trunk")
