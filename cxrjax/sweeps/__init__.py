"""Tables of runs: one question answered by several configurations, each a run of its own."""
