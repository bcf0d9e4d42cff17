"""A run from configuration to files, and what is done with a finished one."""
