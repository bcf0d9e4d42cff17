"""The tf.data pipeline. TensorFlow is imported only when it is used, and in no other module of the engine."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from cxrjax.base import InputError
from cxrjax.base.config import install_command
from cxrjax.training.plan import Plan

if TYPE_CHECKING:
    import tensorflow as tf

PREFETCH = 8  # batches of tf.data ready ahead, 26 MB of 64 images


@dataclasses.dataclass(frozen=True, eq=False)
class TfData:
    """Gather, crop, flip, batch, prefetch by tf.data: the pixels that `inputs.Resident` gives for the same plan."""

    images: np.ndarray  # [N, side, side] u8; may be a memory map, only the planned rows are read
    crop: int  # pixels a side of the batches, see `Model.crop`

    def batches(self, plan: Plan) -> Iterator[np.ndarray]:
        """See `plan.Pipeline`.

        Raises:
          InputError: if TensorFlow is not installed.
        """
        require_tensorflow()
        # It would tell of its start in four lines, and of arithmetic that is not used here.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        import tensorflow as tf

        from cxrjax.storage.store import read_rows  # brings pandas, which the benchmarks do without

        tf.config.set_visible_devices([], "GPU")  # else TensorFlow takes the memory that JAX trains in

        def load(index: tf.Tensor, offset: tf.Tensor, flip: tf.Tensor) -> tf.Tensor:
            read = functools.partial(tf.numpy_function, lambda row: read_rows(self.images, row[None])[0])
            image = tf.ensure_shape(read([index], tf.uint8, stateful=False), self.images.shape[1:])
            window = tf.slice(image, offset, (self.crop, self.crop))
            return tf.cond(flip, lambda: tf.reverse(window, [1]), lambda: window)

        examples = tuple(np.asarray(x).reshape(-1, *x.shape[2:]) for x in (plan.index, plan.offset, plan.flip))
        dataset = (
            tf.data.Dataset.from_tensor_slices(examples)
            .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .batch(plan.index.shape[1], drop_remainder=True)
            .prefetch(PREFETCH)  # AUTOTUNE may fill half of the machine's memory
        )
        yield from dataset.as_numpy_iterator()


def require_tensorflow() -> None:
    """Refuses --input=tfdata where it cannot work.

    Raises:
      InputError: if TensorFlow is not installed.
    """
    if not importlib.util.find_spec("tensorflow"):
        raise InputError(
            f"--input=tfdata needs TensorFlow, which is not installed: `{install_command('tf')}`, or --input=resident"
        )
