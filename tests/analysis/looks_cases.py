"""Maps and regions on small squares, for the tests of looks, focus and agreement."""

import numpy as np

from cxrjax.analysis.localisation import Maps, Regions

SIDE = 20


def regions(patients=12, images=16, target="box", seed=0):
    """Boxes of 5x5 pixels anywhere; patient 0 has all images beyond one each."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((images, SIDE, SIDE), bool)
    for mask, (y, x) in zip(masks, rng.integers(0, SIDE - 5, (images, 2)), strict=True):
        mask[y : y + 5, x : x + 5] = True
    patient = np.array([f"p{i if i < patients else 0}" for i in range(images)])
    return Regions(target, np.array([f"i{i:02}" for i in range(images)]), patient, masks)


def maps(where, network="trained", seed=0, strength=0.0, method="gradient", rows=None):
    """Noise of mean 1, raised by `strength` inside the region, of the images `rows` (all)."""
    rows = np.arange(len(where.image)) if rows is None else rows
    rng = np.random.default_rng([seed, len(network)])
    noise = rng.gamma(1.0, 1.0, where.masks[rows].shape) + strength * where.masks[rows]
    return Maps(
        network, method, np.full(len(rows), seed), where.image[rows], where.patient[rows], noise.astype(np.float32)
    )
