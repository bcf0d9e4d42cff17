"""The ground: configuration and its flags, tasks, mistakes of the user's, devices, files."""
