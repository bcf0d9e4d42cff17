"""Figures of scores and labels, and their uncertainty: JAX, NumPy and SciPy alone."""
