"""A run's tables -> every figure, interval and comparison of its report."""
