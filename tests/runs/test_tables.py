"""What a run writes down of its surroundings."""

import importlib.metadata

import cxrjax
from cxrjax.models import registry
from cxrjax.runs import tables


def test_the_package_has_a_version_where_it_is_not_installed(monkeypatch):
    """Found by `sys.path` alone it has no metadata; model card and checklist name its version."""

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    environment = tables.environment(None, registry.ALEXNET, "fc8", "cpu")
    assert environment["packages"] == {"cxrjax": cxrjax.__version__}
