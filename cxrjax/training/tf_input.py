"""The tf.data pipeline: executes a Plan. The only module that imports TensorFlow, and only when used."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from cxrjax.base import InputError
from cxrjax.storage.store import read_rows
from cxrjax.training.plan import Plan

if TYPE_CHECKING:
    import tensorflow as tf

log = logging.getLogger(__name__)

PREFETCH = 8  # batches ready ahead, 26 MB of 64 images


def available() -> bool:
    """True if TensorFlow is installed; does not import it."""
    return importlib.util.find_spec("tensorflow") is not None


def default() -> str:
    """What --input=auto means here: tfdata, or resident where TensorFlow is not installed, which is logged."""
    if available():
        return "tfdata"
    log.info('--input=auto: TensorFlow is not installed (`pip install "cxrjax[tf]"`), so the input is resident')
    return "resident"


def require() -> None:
    """Refuses --input=tfdata where it cannot work.

    Raises:
      InputError: if TensorFlow is not installed.
    """
    if not available():
        raise InputError(
            '--input=tfdata needs TensorFlow, which is not installed: `pip install "cxrjax[tf]"`, or --input=resident'
        )


@dataclasses.dataclass(frozen=True, eq=False)
class TfData:
    """Gather, crop, flip, batch, prefetch: the pixels that `inputs.Resident` gives for the same plan."""

    images: np.ndarray  # [N, side, side] u8; may be a memory map, only the planned rows are read
    crop: int  # pixels a side of the batches, see `Model.crop`

    def batches(self, plan: Plan) -> Iterator[np.ndarray]:
        """See `plan.Pipeline`.

        Raises:
          InputError: if TensorFlow is not installed.
        """
        require()
        yield from _dataset(self.images, plan, self.crop).as_numpy_iterator()


def _dataset(images: np.ndarray, plan: Plan, crop: int) -> tf.data.Dataset:
    # It would tell of its start in four lines, and of arithmetic that is not used here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # else TensorFlow takes the memory that JAX trains in

    def load(index: tf.Tensor, offset: tf.Tensor, flip: tf.Tensor) -> tf.Tensor:
        image = tf.numpy_function(lambda row: read_rows(images, row[None])[0], [index], tf.uint8, stateful=False)
        window = tf.slice(tf.ensure_shape(image, images.shape[1:]), offset, (crop, crop))
        return tf.cond(flip, lambda: tf.reverse(window, [1]), lambda: window)

    examples = tuple(np.asarray(x).reshape(-1, *x.shape[2:]) for x in (plan.index, plan.offset, plan.flip))
    return (
        tf.data.Dataset.from_tensor_slices(examples)
        .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(plan.index.shape[1], drop_remainder=True)
        .prefetch(PREFETCH)  # AUTOTUNE may fill half of the machine's memory
    )
