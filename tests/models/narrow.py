"""Networks for tests, registered when this module is imported (tests/conftest.py does)."""

import dataclasses

from cxrjax.models import registry

ALEXNET = registry.register(
    dataclasses.replace(
        registry.ALEXNET,
        name="alexnet-narrow",
        options=(*registry.ALEXNET.options, ("widths", (4, 12, 24, 16, 16, 64, 64))),
    )
)
"""AlexNet with a sixteenth of the features and 64 units in fc6 and fc7: all of its stages, some 60,000 parameters."""

RESNET = registry.register(
    dataclasses.replace(
        registry.RESNET18,
        name="resnet18-narrow",
        options=(("blocks", (1, 1, 1, 1)), ("bottleneck", False), ("width", 4)),
    )
)
"""A ResNet of a block in each layer and 4 to 32 features, some 20,000 parameters."""

NETWORKS = (ALEXNET, RESNET)
