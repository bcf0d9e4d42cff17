"""The engine: plan, bank, inputs, step, loop, groups of seeds."""
