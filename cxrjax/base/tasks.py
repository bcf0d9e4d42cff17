"""The questions that experiments ask."""

from __future__ import annotations

# The poster's results in percent: mean and SD of accuracy, means of FP and FN shares.
POSTER = {
    "p_vs_np": {"accuracy": 65, "accuracy_sd": 5, "fp_share": 13, "fn_share": 22},
    "p_vs_nf": {"accuracy": 83, "accuracy_sd": 7, "fp_share": 7, "fn_share": 9},
}


def title(name: str) -> str:
    """An experiment's name as people read it.

    >>> title("p_vs_nf")
    'P vs NF'
    """
    return name.replace("_", " ").upper().replace(" VS ", " vs ")
