"""Trunk and head cut anywhere compute what the whole network computes; types, missing layers, identities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cxrjax.base import InputError
from cxrjax.models import augment, registry, transfer
from cxrjax.models.alexnet import STAGES
from cxrjax.models.pretrained import Weights, WeightsInfo
from tests.models import narrow


@pytest.fixture(scope="module")
def complete():
    """All eight layers of a narrow network, as an ImageNet checkpoint has them; fc8 has 1000 outputs."""
    params = jax.jit(narrow.ALEXNET.build().init)(jax.random.key(3), jnp.zeros((1, 227, 227, 3)))["params"]
    params = jax.tree.map(np.asarray, params)
    return Weights(params, WeightsInfo("made up", "", "", narrow.ALEXNET.name, STAGES, registry.TORCHVISION))


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, 227, 227), dtype=np.uint8)


@pytest.mark.parametrize("retrain_from", ["conv1", "fc6", "fc7", "fc8"])
def test_trunk_and_head_are_the_whole_network(complete, pixels, retrain_from):
    net = transfer.build_transfer_model(complete, retrain_from)
    head = net.initial(jax.random.key(0))
    assert net.fresh == ("fc8",)  # the others start from ImageNet
    assert net.dense == (retrain_from != "conv1")
    features = net.trunk(pixels)
    assert features.shape == (2, *net.trunk.shape)
    whole = transfer.merge(complete.variables, head)
    expected, _ = jax.jit(net.model.build().apply)(whole, augment.normalise(pixels, registry.TORCHVISION))
    # The same float32 products in programs compiled apart.
    np.testing.assert_allclose(jax.jit(net.head)(head, features)[0], expected, rtol=1e-4, atol=1e-5)


def test_fc8_needs_every_layer_before_it(complete):
    some = complete._replace(params={name: complete.params[name] for name in STAGES if name not in ("fc6", "fc7")})
    with pytest.raises(InputError, match=r"fc6.*fc7"):
        transfer.build_transfer_model(some, "fc8")
    assert transfer.build_transfer_model(some, "fc6").fresh == ("fc6", "fc7", "fc8")


def test_a_stage_that_the_network_lacks_is_refused():
    with pytest.raises(InputError, match=r"retrain_from must be head \(fc6\), all or one of conv1, .*, got 'layer4'"):
        transfer.build_transfer_model(None, "layer4")


def test_bfloat16_is_of_activations_only(complete, pixels):
    exact, rough = (transfer.build_transfer_model(complete, "fc6", dtype=name) for name in ("float32", "bfloat16"))
    params = exact.initial(jax.random.key(0))
    a, b = exact.trunk(pixels), rough.trunk(pixels)
    assert (a.dtype, b.dtype, rough.trunk.dtype) == (jnp.float32, jnp.bfloat16, jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(rough.initial(jax.random.key(0)))} == {np.dtype(np.float32)}
    # 8 bits of mantissa through five layers.
    np.testing.assert_allclose(np.asarray(b, np.float32), a, atol=0.05 * float(jnp.abs(a).max()))
    logits = rough.head(params, b)[0]
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, exact.head(params, a)[0], atol=0.05)
    gradient = jax.grad(lambda p: rough.head(p, b)[0].sum())(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype(np.float32)}


def test_identity_changes_with_whatever_changes_the_activations(complete):
    base = transfer.build_transfer_model(complete, "fc6").trunk.identity
    assert transfer.build_transfer_model(complete, "fc6").trunk.identity == base
    moved = complete.params["conv3"] | {"bias": complete.params["conv3"]["bias"] + 1e-3}
    others = [
        transfer.build_transfer_model(complete, "fc7"),
        transfer.build_transfer_model(complete, "fc6", dtype="bfloat16"),
        transfer.build_transfer_model(complete._replace(params=complete.params | {"conv3": moved}), "fc6"),
        transfer.build_transfer_model(None, "fc6", model=narrow.ALEXNET),
    ]
    assert len({base, *(other.trunk.identity for other in others)}) == 5
    head_only = complete.params["fc7"] | {"bias": complete.params["fc7"]["bias"] + 1}
    assert (
        transfer.build_transfer_model(
            complete._replace(params=complete.params | {"fc7": head_only}), "fc6"
        ).trunk.identity
        == base
    )


def test_pooling_changes_the_identity_of_the_trunk_that_pools():
    """And no weights: heads and trunk are those of average pooling. A linear head must read what was pooled."""
    plain, other, further = (
        transfer.build_transfer_model(None, "fc", model=narrow.RESNET, lse_r=r) for r in (0.0, 10.0, 20.0)
    )
    assert len({net.trunk.identity for net in (plain, other, further)}) == 3
    assert plain.trunk.identity == transfer.build_transfer_model(None, "fc", model=narrow.RESNET).trunk.identity
    jax.tree.map(np.testing.assert_array_equal, plain.trunk.variables, other.trunk.variables)
    assert transfer.build_transfer_model(None, "fc", model=narrow.RESNET, lse_r=10.0, linear=True).start == "linear"
    with pytest.raises(InputError, match="lse_r=10 pools what fc reads; a linear head from layer4 averages"):
        transfer.build_transfer_model(None, "layer4", model=narrow.RESNET, lse_r=10.0, linear=True)
    for r in (1e-4, 2e3):
        with pytest.raises(InputError, match=f"lse_r must be 0, or from 0.001 to 1000, got {r:g}"):
            narrow.RESNET.with_pooling(r)


def test_one_label_of_many_is_a_network_of_two_classes():
    net = transfer.build_transfer_model(None, "fc8", 3, narrow.ALEXNET)
    head = net.initial(jax.random.key(1))
    x = np.random.default_rng(0).normal(size=(4, *net.trunk.shape)).astype(np.float32)
    many = net.head(head, x, None, None)[0]
    for k in range(3):
        binary, convert = transfer.of_logit(net, k)
        logits = binary.head(convert(head), x, None, None)[0]
        assert logits.shape == (4, 2)
        np.testing.assert_allclose(jax.nn.softmax(logits)[:, 1], jax.nn.sigmoid(many[:, k]), atol=1e-6)
        assert transfer.layers(binary, convert(head)).keys() == transfer.layers(net, head).keys()


def test_a_trunk_equalises_first_then_varies(complete, pixels):
    plain, equalised = (transfer.build_transfer_model(complete, "fc6", clahe=on).trunk for on in (False, True))
    assert plain.identity != equalised.identity
    amounts = {"rotation": np.array([4, -7], np.float32), "brightness": np.array([0.1, -0.2], np.float32)}
    expected = augment.vary(augment.clahe(pixels), amounts)
    np.testing.assert_array_equal(equalised(pixels, amounts), plain(expected))
    np.testing.assert_array_equal(equalised(pixels), plain(equalised.prepared(pixels)))
    whole = transfer.build_transfer_model(None, "all", model=narrow.ALEXNET, clahe=True).trunk
    np.testing.assert_array_equal(whole(pixels, amounts), expected)
