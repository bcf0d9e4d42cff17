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
