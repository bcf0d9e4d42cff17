"""Do the maps of one image agree between trainings, and do they differ from those of networks that learned nothing?

A map that hardly changes when the weights are random explains the image, not the network (Adebayo et al. 2018). How
alike two maps must be to be called alike, the trained networks of other seeds say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis import patient_means, similarity
from cxrjax.analysis.looks import CONTROLS, TRAINED, Reduced

SEEDS = "seeds"  # in place of a control: the same network of other seeds
_TABLE = (
    "method", "network", "against", "images", "patients", "value", "low", "high", "small", "constant_maps", "note",
)  # fmt: skip
_ENDS = (-1.0, 1.0)


class Agreement(NamedTuple):
    """What `table` found."""

    table: pd.DataFrame
    """A row for each method, network and against: `SEEDS` (mean correlation over all pairs of seeds that mapped an
    image), and for the trained network each control (same seed and image; mean over seeds). images, patients, value
    (mean over images, -1..1) with low and high (95 %, by resampling patients), small (bool: few patients),
    constant_maps (of those compared; they have no order and are left out), note."""
    notes: list[str]  # what is absent, and why


def table(reduced: Sequence[Reduced]) -> Agreement:
    """`Agreement` of a run, or of one method of it, which needs less memory: 13 KB a map at most.

    Args:
      reduced: of all seeds and networks, in parts of any size.

    Raises:
      ValueError: a seed has two maps of an image by one network and method.
    """
    found: list[dict[str, Any]] = []
    notes = []
    for method in dict.fromkeys(part.method for part in reduced):
        parts = [part for part in reduced if part.method == method]
        networks = {name: _joined(parts, name) for name in dict.fromkeys(part.network for part in parts)}
        trained = networks.get(TRAINED)
        made = [{"network": name, "against": SEEDS, **_over_seeds(own)} for name, own in networks.items()]
        if trained is not None:
            made += [
                {"network": TRAINED, "against": name, **_beside(trained, own)}
                for name, own in networks.items()
                if name != TRAINED
            ]
        found += [{"method": method, **row} for row in made if row["images"]]
        notes += [_nothing(method, row) for row in made if not row["images"]]
        if absent := [name for name in (TRAINED, *CONTROLS) if name not in networks]:
            notes.append(f"{method}: there are no maps of {', '.join(absent)}.")
    return Agreement(pd.DataFrame(found, columns=list(_TABLE)), notes)


def _joined(parts: list[Reduced], network: str) -> Reduced:
    own = [part for part in parts if part.network == network]
    columns = [np.concatenate([np.asarray(part[i]) for part in own]) for i in range(2, len(Reduced._fields))]
    joined = Reduced(network, own[0].method, *columns)
    keys = pd.DataFrame({"seed": joined.seed, "image": joined.image})
    if (twice := keys.duplicated()).any():
        at = twice.to_numpy().argmax()
        raise ValueError(
            f"reduced must hold each map once, got two of {network}, {joined.method}, seed {joined.seed[at]}, image "
            f"{joined.image[at]}"
        )
    return joined


def _over_seeds(own: Reduced) -> dict[str, Any]:
    groups = pd.Series(range(len(own.image))).groupby(np.asarray(own.image), sort=True)
    rows = [group.to_numpy() for _, group in groups if len(group) > 1]
    values = np.array([similarity.mean_pairwise(own.ranks[group]) for group in rows])
    patient = np.array([own.patient[group[0]] for group in rows])
    constant = sum(int(_constant(own.ranks[group]).sum()) for group in rows)
    return _row(values, patient, constant)


def _beside(trained: Reduced, control: Reduced) -> dict[str, Any]:
    """Same seed and image; an image's value is the mean over its seeds."""
    one, other = (
        pd.DataFrame({"seed": own.seed, "image": own.image, "at": range(len(own.image))}) for own in (trained, control)
    )
    both = one.merge(other, on=["seed", "image"], suffixes=("", "_other"))
    pieces = list(_pieces(len(both)))
    at, beside = both["at"].to_numpy(), both["at_other"].to_numpy()
    values = [similarity.spearman(trained.ranks[at[p]], control.ranks[beside[p]]) for p in pieces]
    constant = sum(int((_constant(trained.ranks[at[p]]) | _constant(control.ranks[beside[p]])).sum()) for p in pieces)
    rows = pd.DataFrame({"image": both["image"], "patient": trained.patient[at]})
    means = rows.assign(value=np.concatenate([[], *values])).groupby("image").agg(
        patient=("patient", "first"), value=("value", "mean")
    )  # fmt: skip
    return _row(means["value"].to_numpy(), means["patient"].to_numpy(), constant)


def _pieces(count: int, size: int = 256) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _constant(ranks: np.ndarray) -> np.ndarray:
    return (ranks == ranks[:, :1]).all(axis=1)


def _row(values: np.ndarray, patient: np.ndarray, constant: int) -> dict[str, Any]:
    known = ~np.isnan(values)
    patients = len(np.unique(patient[known].astype(str)))
    row: dict[str, Any] = {"images": int(known.sum()), "patients": patients, "constant_maps": constant}
    if not known.any():
        return row
    found = patient_means.interval(values[known], patient[known].astype(str), ends=_ENDS)
    notes = [f"{int((~known).sum())} images left out, whose maps are constant"] if not known.all() else []
    notes += [found.reason] if found.reason else []
    small = patients < patient_means.SMALL
    return row | {"value": found.value, "low": found.low, "high": found.high, "small": small, "note": "; ".join(notes)}


def _nothing(method: str, row: dict[str, Any]) -> str:
    if row["constant_maps"]:
        return f"{method}: the maps of {row['network']} and {row['against']} are constant, which have no order."
    if row["against"] == SEEDS:
        return f"{method}: no image was mapped by two seeds of {row['network']}, so stability is unknown."
    return f"{method}: {row['network']} and {row['against']} mapped no image with the same seed."
