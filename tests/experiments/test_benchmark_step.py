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

from cxrjax.base import InputError
from cxrjax.interpret import dream_parts
from cxrjax.models import pretrained, registry
from cxrjax.models.augment import crop_flip
from cxrjax.models.pretrained import Weights, WeightsInfo
from cxrjax.training import step as train
from cxrjax.training.losses import Metrics
from cxrjax.training.step import Batch, TrainState
from experiments import _benchmark_parts, _ceilings, _timing, benchmark_step
from tests.conftest import ROOT
from tests.models import torch_alexnet

NO_TORCH = "PyTorch is not installed"


# AlexNet of 227 pixels: outputs of a layer by weights of each.
CONVOLUTIONS = 56**2 * 64 * 363 + 27**2 * 192 * 1600 + 13**2 * 384 * 1728 + 13**2 * 256 * 3456 + 13**2 * 256 * 2304


def test_counts_of_parts_by_hand():
    """XLA leaves out products with padding, up to 9 % of all convolutions', and counts element-wise work."""
    net = _benchmark_parts.network(_benchmark_parts.load_weights("random", ""), "fc8")
    chosen = _benchmark_parts.setting(net, batch=2, seeds=3, steps=1)
    trunk, head, step, evaluation = (
        _benchmark_parts.count(part, chosen) for part in ("trunk", "head", "step", "evaluation")
    )
    frozen = CONVOLUTIONS + 9216 * 4096 + 4096 * 4096
    assert 0.9 < trunk.flops / (2 * 2 * frozen) < 1.03
    # 3 seeds, 2 images, 8,192 weights and 2 biases: forward, weight gradient, update; no gradient of the inputs. Of a
    # head this small the element-wise work is some 10 %.
    assert head.flops == pytest.approx(3 * (2 * (2 * 2 * 8192) + 2 * 8194), rel=0.15)
    assert head.bytes > 3 * 3 * 8194 * 4  # parameters are read twice and written once at least
    assert step == trunk.times(3).plus(head)
    assert evaluation.flops - trunk.flops == pytest.approx(3 * 2 * 2 * 8192, rel=0.01)


def test_nothing_frozen_is_no_trunk():
    net = _benchmark_parts.network(_benchmark_parts.load_weights("random", "alexnet"), "all")
    chosen = _benchmark_parts.setting(net, batch=1, seeds=1, steps=1)
    assert _benchmark_parts.count("trunk", chosen) == (0, 0)
    assert _benchmark_parts.choose("trunk,head,head", net) == ("head",)
    with pytest.raises(InputError, match="--parts=trunk: all stages are retrained"):
        _benchmark_parts.choose("trunk", net)


def test_floor_is_the_slower_of_arithmetic_and_traffic():
    assert _ceilings.Count(100, 1).floor(_ceilings.Ceiling(10, 1)) == 10
    assert _ceilings.Count(1, 100).floor(_ceilings.Ceiling(1, 10)) == 10
    assert _ceilings.Count(1, 2).plus(_ceilings.Count(3, 4).times(3)) == (10, 14)


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

    params = pretrained.from_state_dict(torch_alexnet.random_state("torchvision"))["params"]
    info = WeightsInfo("random", "", "", "alexnet", tuple(params), registry.TORCHVISION)
    net = _benchmark_parts.network(Weights(params, info), "fc8")
    chosen = _benchmark_parts.setting(net, batch=2, seeds=2, steps=2)
    theirs = _benchmark_torch.Parts(chosen, _benchmark_torch.prepare(), _benchmark_torch.eager)
    return chosen, net, theirs


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (1, 1)])
def test_pytorch_has_the_same_pixels_and_activations(both, seed, step):
    chosen, net, theirs = both
    pixels = crop_flip(
        chosen.images[chosen.plan.index[seed, step]],
        chosen.plan.offset[seed, step],
        chosen.plan.flip[seed, step],
        chosen.model.crop,
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
    variables = net.initial(_benchmark_parts.initial_key(1))
    state: TrainState = train.init(variables, optimiser, jax.random.key(0))
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
    assert 'pip install -e ".[torch]"' in capsys.readouterr().err
