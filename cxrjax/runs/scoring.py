"""Trained networks, one after the other, scored on all that an evaluation asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cxrjax.base.types import Params
from cxrjax.interpret import dream, objectives
from cxrjax.models import transfer
from cxrjax.storage import checkpoint
from cxrjax.training import bank, loop, step


class Scored(NamedTuple):
    """What is kept of the trained networks, in the order of the seeds."""

    history: loop.History  # [S, E]
    val: list[np.ndarray]  # of each seed [v], probability of pneumonia
    train: list[np.ndarray]  # of each seed [n], of the training images' centre crops
    hashes: list[str]  # SHA-256 of each seed's parameters
    external: np.ndarray | None  # [S, N], scores of the external set
    dream: np.ndarray  # [H, W] u8, of the first seed


def score(
    net: transfer.Network,
    trained: Iterator[loop.Fitted],
    train: Callable[[], tuple[bank.Bank, list[np.ndarray]]],
    external: Callable[[], bank.Bank] | None,
) -> Scored:
    """Goes through the trained networks so that no more than one is held.

    Args:
      net: whose heads were trained.
      trained: see `seed_batches.train`.
      train: centre crops' bank of the training images, and the rows of each seed [n]; called after training.
      external: the same of the whole external set; None: there is none.
    """
    histories, val, own, hashes, outside = [], [], [], [], []
    picture: np.ndarray | None = None
    known: tuple[bank.Bank, list[np.ndarray]] | None = None
    elsewhere: bank.Bank | None = None
    for i, fitted in enumerate(trained):
        if known is None:
            known, elsewhere = train(), external() if external else None
        histories.append(fitted.history)
        val.append(np.asarray(step.score(fitted.val_logits[0])))
        own.append(step.score_rows(net.head, fitted.params, known[0], known[1][i]))
        params = jax.tree.map(lambda x: x[0], fitted.params)
        hashes.append(checkpoint.digest(params))
        if elsewhere is not None:
            rows = np.arange(len(elsewhere.position))
            outside.append(step.score_rows(net.head, fitted.params, elsewhere, rows))
        if picture is None:
            picture = _dream(net, params)
    history = loop.History(*(np.concatenate(curves) for curves in zip(*histories, strict=True)))
    assert picture is not None, "there is at least one seed"
    return Scored(history, val, own, hashes, np.stack(outside) if outside else None, picture)


def _dream(net: transfer.Network, params: Params) -> np.ndarray:
    """What the pneumonia neuron of one seed's fc8 responds to, [H, W] u8."""
    aim = (transfer.layers(net, params), objectives.class_logit(net, 1))
    made = dream.dream(objectives.channel_objective(net), aim, dream.noise(jax.random.key(0), net.model.crop)[None])
    return np.asarray(made.image[0].round().astype(jnp.uint8))
