"""Sources of radiographs: each becomes an ImageStore."""
