"""The benchmark of networks: complete rows, PyTorch doing the same work, mistakes. Nothing here times."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.base import InputError
from cxrjax.models import registry
from cxrjax.training import loop
from cxrjax.training.optimizer import Recipe, make_optimizer
from cxrjax.training.step import Batch
from experiments import _benchmark_parts, benchmark_networks
from tests.models import torch_networks

NAME, SIZE, BATCH = "resnet10", 32, 4


@pytest.fixture
def narrow(monkeypatch):
    """A ResNet of four blocks, registered; torchvision's class builds the same."""
    options = (("blocks", (1, 1, 1, 1)), ("bottleneck", False))
    model = dataclasses.replace(registry.get("resnet18"), name=NAME, options=options)
    monkeypatch.setitem(registry._MODELS, NAME, model)
    return model


@pytest.fixture
def torch_builds_it(narrow, monkeypatch):
    resnet = torch_networks.torchvision_models().resnet
    monkeypatch.setattr(
        "experiments._torch_networks.build",
        lambda model: resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=model.num_classes),
    )


def test_all_networks_but_variants_are_usual():
    names = [model.name for model in benchmark_networks.choose("")]
    assert {"alexnet", "resnet18", "resnet50", "densenet121"} <= set(names)
    assert not {"alexnet-caffe", "densenet121-xrv"} & set(names)
    assert [model.name for model in benchmark_networks.choose("resnet50,alexnet-caffe")] == [
        "resnet50",
        "alexnet-caffe",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("compare", ["none", "torch"])
def test_rows_are_complete(compare, narrow, tmp_path, request):
    programs = ["cxrjax"]
    if compare == "torch":
        request.getfixturevalue("torch_builds_it")
        programs.append("PyTorch")
    config = benchmark_networks.BenchmarkConfig(
        models=NAME, image_size=SIZE, batch_size=BATCH, compare=compare, repeats=1, warmup=0, out=str(tmp_path)
    )
    text = benchmark_networks.run(config)
    rows = json.loads((tmp_path / "benchmark.json").read_text())["rows"]
    parts = [title for title, *_ in benchmark_networks.PARTS]
    assert [(row["part"], row["program"]) for row in rows] == [(part, name) for part in parts for name in programs]
    assert all(row["ms"] > 0 and row["images_per_s"] == pytest.approx(1e3 * BATCH / row["ms"]) for row in rows)
    memory = {row["part"]: row["memory_mb"] for row in rows if row["program"] == "cxrjax"}
    weights = 4 * sum(leaf.size for leaf in jax.tree.leaves(narrow.variable_shapes())) / 1e6  # of 1,000 classes: 20 MB
    assert weights - 3 < memory["trunk"] < memory["all-layers step"]
    assert memory["head step"] < 0.1
    ratios = {row["part"]: row["ratio_of_medians"] for row in rows if row["program"] != "cxrjax"}
    assert list(ratios) == (parts if compare == "torch" else [])
    table = (tmp_path / "benchmark.md").read_text()
    assert table in text
    assert table.count(f"| {NAME} |") == 3
    assert ("all-layers step: ratio" in table) == (compare == "torch")


@pytest.mark.slow  # PyTorch's step is ours: training/test_batch_norm.py
@pytest.mark.parametrize("batch_norm", ["frozen", "train"])
def test_pytorch_takes_the_same_steps(torch_builds_it, narrow, batch_norm):
    """The losses of two steps of all layers, at a rate at which the second differs by far more than the tolerance."""
    from experiments import _benchmark_torch, _torch_reference

    net = _benchmark_parts.network(_benchmark_parts.random_weights(narrow), "all", "float32", SIZE, batch_norm)
    chosen, rate = _benchmark_parts.setting(net, BATCH, 1, 1), 0.01
    theirs = _benchmark_torch.Parts(chosen, _benchmark_torch.prepare(), _benchmark_torch.eager)
    (learner,), pixels = theirs.learners(), theirs.pixels(0, 0)
    learner.optimiser.param_groups[0]["lr"] = rate
    got = [float(_torch_reference.step(theirs.program, learner, pixels, theirs.labels[0, 0])) for _ in range(2)]
    optimizer = make_optimizer(Recipe(learning_rate=rate))
    advance = loop.compile_steps(net, optimizer)
    state = loop.initial_states(net, optimizer, np.zeros(1, np.uint32))
    labels, mask = chosen.labels[chosen.plan.index], jnp.asarray(chosen.plan.mask)
    batch, want = Batch(jnp.asarray(pixels.cpu().numpy())[None, None], jnp.asarray(labels), mask), []
    for _ in range(2):
        state, sums = advance(state, batch)
        want.append(float(sums.loss_sum[0] / BATCH))
    assert abs(want[0] - want[1]) > 0.01
    np.testing.assert_allclose(got, want, rtol=1e-3)  # float32 through ten layers and their gradients


def test_torchvision_missing_says_how_to_install_it(monkeypatch):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    import sys

    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match=r"pip install --no-deps torchvision==0\.28\.0"):
        benchmark_networks._check_torch([registry.get("resnet18")])


def test_pytorch_cuts_at_any_stage_only_where_it_can():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from experiments import _torch_networks

    for model in (registry.ALEXNET, registry.ALEXNET_CAFFE):
        for stage in model.stages:
            with torch.device("meta"):
                trunk, head = _torch_networks.cut(_torch_networks.build(model), model, stage)
            assert not any(part.training for part in trunk.modules())
            retrained = model.between(stage, "fc8")
            assert sum(parameter.ndim > 1 for parameter in head.parameters()) == len(retrained)
            dropouts = sum(isinstance(part, torch.nn.Dropout) for part in head.modules())
            assert dropouts == len(set(model.dropped) & set(retrained))
