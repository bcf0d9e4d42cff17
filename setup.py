"""Packages of the wheel: those of cxrjax/, and experiments/ as `cxrjax.experiments`; all else is in pyproject.toml.

An editable installation puts the checkout's folder on the path instead, and `experiments` stays a package of its own.
With another layout setuptools installs a finder that Python asks last: in the folder that holds a clone called cxrjax
it would take that clone's folder for the package.
"""

import sys

from setuptools import find_packages, setup

packages = find_packages(include=["cxrjax", "cxrjax.*"])
if "editable_wheel" in sys.argv:
    setup(packages=packages, package_dir={"": "."})
else:
    setup(packages=[*packages, "cxrjax.experiments"], package_dir={"cxrjax.experiments": "experiments"})
