"""What a finished run's networks dream of, and where they look."""
