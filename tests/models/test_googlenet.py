"""GoogLeNet's pixels; `test_networks` compares the rest."""

import numpy as np
import pytest

from cxrjax.models import registry
from cxrjax.models.augment import normalise
from tests.models import torch_networks


def test_pixels_are_those_of_transform_input():
    """Pixels as for torchvision's other networks, which the published weights bring to their own, are ours."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    models = torch_networks.torchvision_models()
    module = models.GoogLeNet(10, transform_input=True, init_weights=False)
    images = torch_networks.random_images(8)
    as_others = torch.from_numpy(np.moveaxis(np.array(normalise(images, registry.TORCHVISION)), -1, 1))
    expected = np.moveaxis(module._transform_input(as_others).numpy(), 1, -1)
    np.testing.assert_allclose(normalise(images, registry.GOOGLENET.preprocessing), expected, atol=1e-6)
