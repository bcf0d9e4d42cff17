"""Packages of the wheel: those of cxrjax/, and experiments/ as `cxrjax.experiments`; all else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["cxrjax", "cxrjax.*"]), "cxrjax.experiments"],
    package_dir={"cxrjax.experiments": "experiments"},
)
