"""Figures of a run, for its report and for papers: tables -> `style.Picture`. See `drawing.draw` for all of them."""
