"""How ImageNet weights become Orbax checkpoints: `python -m weights.convert --help`."""
