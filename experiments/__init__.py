"""One question a file; each runs as `python -m experiments.NAME`, or as `cxrjax NAME` once installed."""
