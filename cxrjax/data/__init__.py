"""Radiographs and what is known of them: sources, decoding, preparation, cohorts."""
