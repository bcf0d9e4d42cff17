"""Converts published ImageNet weights: the program of `experiments/convert_weights.py`."""

from experiments.convert_weights import main

if __name__ == "__main__":
    main()
