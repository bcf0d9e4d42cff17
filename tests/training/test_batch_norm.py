"""Training with each batch's statistics: PyTorch's step, one seed among several, resumption, padding, evaluation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cxrjax.models import augment, pretrained, registry, transfer
from cxrjax.storage import checkpoint
from cxrjax.training import inputs, loop, seed_batches, step
from cxrjax.training.optimizer import Recipe
from cxrjax.training.plan import SeedData, Workload
from tests.models import torch_networks

RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=0.02, momentum=0.9)
MODEL = dataclasses.replace(
    registry.RESNET18, options=(("blocks", (1, 1, 1, 1)), ("width", 4)), crop=56, source=64, num_classes=2
)


def build(retrain_from="layer4", batch_norm="train"):
    return transfer.build_transfer_model(None, retrain_from, model=MODEL, batch_norm=batch_norm)


@pytest.fixture(scope="module")
def workload(small_phantom):
    labels = small_phantom.table["labels"].str.contains("Pneumonia").to_numpy(np.int32)
    small = jnp.asarray(small_phantom.images[:, ::4, ::4])
    return Workload(build(), inputs.Resident(small, MODEL.crop), labels, RECIPE)


@pytest.fixture(scope="module")
def runs(workload):
    """Of unlike sizes: the last batches are padded, and the second seed has a step fewer."""
    rows = np.arange(len(workload.labels), dtype=np.int32)
    return [SeedData(5, rows[:27], rows[40:52]), SeedData(6, rows[10:29], rows[40:50])]


@pytest.fixture(scope="module")
def together(workload, runs):
    return loop.fit(workload, runs)


def leaves(tree):
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def test_seed_i_of_s_equals_seed_i_alone(workload, runs, together):
    i, alone = 1, loop.fit(workload, runs[1:])
    assert set(alone.variables["batch_stats"]) == {"layer4"}
    for (name, got), (_, want) in zip(leaves(together.variables), leaves(alone.variables), strict=True):
        # Float32 sums in another order, over 12 steps with momentum.
        np.testing.assert_allclose(got[i], want[0], rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(together.val_logits[i], alone.val_logits[0], atol=1e-3)


def test_resumed_equals_uninterrupted_byte_for_byte(workload, runs, together, tmp_path):
    def stop_after_one(progress):
        if progress.epochs == 1:
            checkpoint.save_tree(tmp_path / "partial", progress.pack())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.fit(workload, runs, on_epoch=stop_after_one)
    resumed = loop.fit(workload, runs, checkpoint.load_tree(tmp_path / "partial"))
    assert checkpoint.digest(resumed.variables) == checkpoint.digest(together.variables)
    assert all(np.array_equal(a, b) for a, b in zip(resumed.history, together.history, strict=True))


def test_a_trained_seed_is_saved_with_its_statistics(workload, runs, together, tmp_path):
    trained = list(seed_batches.train(workload, runs, 2, tmp_path))
    for i, fitted in enumerate(trained):
        want = jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], together.variables)
        assert checkpoint.digest(fitted.variables) == checkpoint.digest(want)


def test_evaluation_takes_the_running_statistics(workload, runs, together):
    crops = workload.pipeline.images[runs[0].val][:, MODEL.middle, MODEL.middle]
    head = jax.tree.map(lambda leaf: leaf[0], together.variables)
    whole = transfer.forward(MODEL, transfer.layers(workload.net, head), crops)
    np.testing.assert_allclose(together.val_logits[0], whole.output, rtol=1e-4, atol=1e-5)
    single = transfer.forward(MODEL, transfer.layers(workload.net, head), crops[:1])  # whatever the batch
    np.testing.assert_allclose(single.output, whole.output[:1], rtol=1e-4, atol=1e-5)


def test_frozen_statistics_stay_and_their_scale_is_trained(workload, runs):
    fitted = loop.fit(workload._replace(net=build(batch_norm="frozen")), runs[:1])
    norm = fitted.variables["batch_stats"]["layer4"]["0"]["conv1"]["norm"]
    assert (norm["mean"] == 0).all()
    assert (norm["var"] == 1).all()
    assert (fitted.variables["params"]["layer4"]["0"]["conv1"]["norm"]["scale"] != 1).any()


def initial_state(net):
    """Before the first step."""
    model, start = net.model, net.head.start
    variables = pretrained.from_state_dict(torch_networks.random_state(torch_networks.shapes_of(model)), model)
    head = pretrained.select(variables, model.between(start, model.logits))
    return step.init(jax.tree.map(jnp.asarray, head), optax.sgd(1.0), jax.random.key(0))


def test_padding_is_in_no_statistic():
    """Whatever the padding holds, the step is that of the other examples alone, and one of padding alone is none."""
    net = build("layer4")
    advance, state = jax.jit(step.make_step(net.head, optax.sgd(1.0))), initial_state(net)
    maps = np.random.default_rng(0).random((6, *MODEL.input_shape("layer4")[1:]), np.float32)
    batch = step.Batch(maps, np.arange(6) % 2, np.array([True, True, False, True, True, False]))
    other = batch._replace(inputs=np.where(batch.mask[:, None, None, None], maps, 9 - maps))
    alone = step.Batch(*(part[batch.mask] for part in batch))
    after = advance(state, batch)[0]
    for batch_of_same_examples in (other, alone):
        same = advance(state, batch_of_same_examples)[0]
        for (name, got), (_, want) in zip(leaves(same.variables), leaves(after.variables), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5, err_msg=name)
    still = advance(after, batch._replace(mask=np.zeros(6, bool)))[0]
    assert checkpoint.digest(still.variables) == checkpoint.digest(after.variables)


def test_step_equals_pytorch():
    """Loss, gradient and running statistics, a masked example among the others."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    resnet = torch_networks.torchvision_models().resnet
    model = dataclasses.replace(MODEL, options=(("blocks", (1, 1, 1, 1)),), crop=64, source=73)
    net = transfer.build_transfer_model(None, "all", model=model, batch_norm="train")
    state, images = initial_state(net), torch_networks.random_images(model.crop, 5)
    batch = step.Batch(images, np.arange(5) % 2, np.array([True, True, False, True, True]))
    after, sums = jax.jit(step.make_step(net.head, optax.sgd(1.0)))(state, batch)

    module = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=2)
    torch_networks.load(module)
    pixels = augment.normalise(batch.inputs[batch.mask], model.preprocessing)
    logits = module.train()(torch.from_numpy(np.moveaxis(np.asarray(pixels), -1, 1).copy()))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(batch.label[batch.mask]))
    loss.backward()
    assert float(sums.loss) == pytest.approx(loss.item(), rel=1e-4)
    gradients = {name: parameter.grad.numpy() for name, parameter in module.named_parameters()}
    expected = {
        "params": pretrained.from_state_dict({**state_of(module), **gradients}, model)["params"],
        "batch_stats": pretrained.from_state_dict(state_of(module), model)["batch_stats"],
    }
    got = {"params": jax.tree.map(jnp.subtract, state.params, after.params), "batch_stats": after.batch_stats}
    for (name, ours), (_, theirs) in zip(leaves(got), leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max(), err_msg=name)


def state_of(module):
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}
