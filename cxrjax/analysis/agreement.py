"""Do the maps of one image agree between trainings, and do they differ from those of networks that learned nothing?

A map that hardly changes when the weights are random explains the image, not the network (Adebayo et al. 2018, Sanity
Checks for Saliency Maps, NeurIPS 31): measured, as there, by Spearman's rank correlation of maps, here reduced to
blocks; a map is nonnegative, so this is theirs of absolute values. How alike two maps must be to be called alike, the
trained networks of other seeds say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis import map_tests
from cxrjax.analysis.localisation import CONTROLS, TRAINED, Maps, check_maps, check_once
from cxrjax.base import codes

SEEDS = "seeds"  # in place of a control: the same network of other seeds
BLOCK = 4
"""Pixels. AlexNet's first layer moves in steps of 4, so a map has hardly finer detail that means anything, and what
there is (a lattice of that step) is alike in all networks. 227 pixels are 57 blocks, and 16 times less to rank."""
_TABLE = ["method", "network", "against", "images", "patients"]
_TABLE += ["value", "low", "high", "small", "constant_maps", "note"]
_ENDS = (-1.0, 1.0)
_PIECE = 256  # pairs of maps at once


class Reduced(NamedTuple):
    """What similarities need of `Maps`: 6 KB a map in place of 200."""

    network: str
    method: str
    seed: np.ndarray  # [n] int
    image: np.ndarray  # [n] names
    patient: np.ndarray  # [n]
    ranks: np.ndarray  # [n, blocks] u16, see `ranks`


class Agreement(NamedTuple):
    """The table and what is absent from it.

    Attributes:
      table: A row for each method, network and against: `SEEDS` (mean correlation over all pairs of seeds that mapped
        an image), and for the trained network each control (same seed and image; mean over seeds). images, patients,
        value (mean over images, -1..1) with low and high (95 %, by resampling patients), small (bool: few patients),
        constant_maps (of those compared; they have no order and are left out), note (codes).
      notes: codes of what is absent, and why
    """

    table: pd.DataFrame
    notes: list[str]


def reduce(maps: Maps) -> Reduced:
    """The maps' ranks.

    Raises:
      ValueError: lengths or shapes do not fit.
    """
    check_maps(maps)
    return Reduced(*maps[:5], ranks(reduce_maps(maps.maps)))


def table(reduced: Sequence[Reduced]) -> Agreement:
    """`Agreement` of a run, or of one method of it, which needs less memory: 13 KB a map at most.

    Args:
      reduced: of all seeds and networks, in parts of any size.

    Raises:
      ValueError: a seed has two maps of an image by one network and method.
    """
    if not reduced:
        return Agreement(pd.DataFrame(columns=_TABLE), [])
    maps = pd.concat([pd.DataFrame({**part._asdict(), "ranks": list(part.ranks)}) for part in reduced])
    check_once(maps, ["network", "method", "seed", "image"])
    rows: list[dict[str, Any]] = []
    notes = []
    for method, of_method in maps.groupby("method", sort=False):
        networks = {str(name): part for name, part in of_method.groupby("network", sort=False)}
        compared = [{"network": name, "against": SEEDS, **_over_seeds(part)} for name, part in networks.items()]
        for name, part in networks.items():
            if TRAINED in networks and name != TRAINED:
                compared.append({"network": TRAINED, "against": name, **_beside(networks[TRAINED], part)})
        rows += [{"method": method, **row} for row in compared if row["images"]]
        notes += [_nothing(str(method), row) for row in compared if not row["images"]]
        if absent := [name for name in (TRAINED, *CONTROLS) if name not in networks]:
            notes.append(codes.code("maps_absent", method=method, networks=",".join(absent)))
    return Agreement(pd.DataFrame(rows, columns=_TABLE), notes)


def _over_seeds(maps: pd.DataFrame) -> dict[str, Any]:
    values, patient, constant = [], [], 0
    for _, group in maps.groupby("image"):
        if len(group) > 1:
            ranks = np.stack(group["ranks"].tolist())
            values.append(mean_pairwise(ranks))
            patient.append(group["patient"].iloc[0])
            constant += int((ranks == ranks[:, :1]).all(axis=1).sum())
    return _row(np.array(values, float), np.array(patient, str), constant)


def _beside(trained: pd.DataFrame, control: pd.DataFrame) -> dict[str, Any]:
    """Same seed and image; an image's value is the mean over its seeds."""
    both = trained.merge(control, on=["seed", "image"], suffixes=("", "_other"))
    for start in range(0, len(both), _PIECE):
        ranks, others = (np.stack(both[name][start : start + _PIECE].tolist()) for name in ("ranks", "ranks_other"))
        both.loc[start : start + _PIECE - 1, "value"] = spearman(ranks, others)
    values = both.reindex(columns=["image", "patient", "value"]).astype({"value": float})
    means = values.groupby("image").agg(patient=("patient", "first"), value=("value", "mean"))
    return _row(means["value"].to_numpy(), means["patient"].to_numpy(str), int(values["value"].isna().sum()))


def _row(values: np.ndarray, patient: np.ndarray, constant: int) -> dict[str, Any]:
    """A row of one comparison.

    Args:
      values: [n] of each image; NaN where a map is constant.
      patient: [n] names.
      constant: how many maps, or pairs of maps, are.
    """
    defined = ~np.isnan(values)
    row, reason = map_tests.mean_row(values[defined], patient[defined], _ENDS)
    left_out = "" if defined.all() else codes.code("constant_left_out", n=int((~defined).sum()))
    return row | {"constant_maps": constant, "note": codes.join([left_out, reason])}


def _nothing(method: str, row: dict[str, Any]) -> str:
    if row["constant_maps"]:
        return codes.code("maps_constant", method=method, network=row["network"], against=row["against"])
    if row["against"] == SEEDS:
        return codes.code("one_seed_an_image", method=method, network=row["network"])
    return codes.code("no_common_seed", method=method, network=row["network"], against=row["against"])


def reduce_maps(maps: np.ndarray, block: int = BLOCK) -> np.ndarray:
    """Means of blocks, [n, k, k] f32 of maps [n, side, side], k = ceil(side / block); the last ones are smaller.

    Raises:
      ValueError: the maps are not square, or block is not positive.
    """
    if maps.ndim != 3 or maps.shape[1] != maps.shape[2]:
        raise ValueError(f"maps must be [n, side, side], got {maps.shape}")
    if block < 1:
        raise ValueError(f"block must be 1 pixel or more, got {block}")
    starts = np.arange(0, maps.shape[1], block)
    sizes = np.diff(np.append(starts, maps.shape[1]))
    sums = np.add.reduceat(np.add.reduceat(maps, starts, axis=1, dtype=float), starts, axis=2)
    return (sums / (sizes[:, None] * sizes)).astype(np.float32)


def ranks(reduced: np.ndarray) -> np.ndarray:
    """Twice the rank of each block within its map, [n, k * k] u16; equal blocks have their mean rank, hence twice.

    All that Spearman's correlation needs, exactly, in two bytes: float16 would lose small gradients.

    Raises:
      ValueError: a map has more blocks than 16 bits can rank.
    """
    flat = reduced.reshape(len(reduced), -1)
    if 2 * flat.shape[1] > np.iinfo(np.uint16).max:
        raise ValueError(f"reduced must have at most 32,767 blocks a map, got {flat.shape[1]}")
    from scipy import stats  # takes a second to import, and few need it

    return (2 * stats.rankdata(flat, axis=1)).astype(np.uint16) if len(flat) else flat.astype(np.uint16)


def standardise(ranks: np.ndarray) -> np.ndarray:
    """Ranks [n, p] as vectors of mean 0 and length 1, f64: Spearman's correlation is their inner product.

    NaN where all ranks are the same: a constant map has no order.
    """
    centred = ranks - ranks.mean(axis=1, keepdims=True, dtype=float)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(length > 0, length, np.nan)


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each pair of maps, [n], -1..1; NaN where one of them is constant.

    Args:
      a: [n, p], see `ranks`.
      b: [n, p], of the other maps.

    Raises:
      ValueError: shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"a and b must have the same shape, got {a.shape} and {b.shape}")
    return np.einsum("np,np->n", standardise(a), standardise(b))


def mean_pairwise(ranks: np.ndarray) -> float:
    """Mean of Spearman's correlation over all pairs of maps [s, p]; NaN of fewer than two that are not constant.

    Of unit vectors z it is (|sum of z|^2 - s) / (s (s - 1)).
    """
    unit = standardise(ranks)
    unit = unit[~np.isnan(unit[:, 0])]
    count = len(unit)
    if count < 2:
        return float("nan")
    return (float(np.sum(unit.sum(axis=0) ** 2)) - count) / (count * (count - 1))
