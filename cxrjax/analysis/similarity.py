"""How alike two maps are: Spearman's rank correlation of maps reduced to blocks.

The measure of Adebayo et al. 2018 (Sanity Checks for Saliency Maps, NeurIPS 31), who compare the maps of a trained
network with those of one whose weights are random. A map is nonnegative, so this is theirs of absolute values.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

BLOCK = 4
"""Pixels. AlexNet's first layer moves in steps of 4, so a map has hardly finer detail that means anything, and what
there is (a lattice of that step) is alike in all networks. 227 pixels are 57 blocks, and 16 times less to rank."""


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
