"""The registry of metrics: a row each, and all of them of one run's scores. Pure JAX; arguments as in `discrimination`.

A metric that `register` adds appears in every table that its row names, with its label, its interval and the reason
where it is undefined, in the report and in the model card. One that stays has its Spanish in `report/es.json` and its
line in `docs/explanation/statistics.md`, too. The slider of the report and its page of floors show a fixed choice. One
in `MAIN` is asked of finished runs by comparisons and sweeps: `experiments.report` adds it to a run.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from cxrjax.base import Array
from cxrjax.metrics import calibration, discrimination
from cxrjax.metrics.arguments import checked, number, pinned_rank

NIH_PREVALENCE = 0.013  # 1,431 of the 112,120 images of NIH's 2020 table carry Pneumonia
MAIN, SUBGROUPS, FLOORS = "main", "subgroups", "floors"  # tables of `Metric.tables`


@dataclasses.dataclass(frozen=True)
class Metric:
    """What is known of one metric. Every metric is in the table of all metrics; `tables` names further ones.

    Attributes:
      name: Its column or row in tables, e.g. `fp_share`.
      function: (label [N], score [N], weight [N]) -> [] f32, NaN where undefined; parameters `threshold` ([] or [N],
        0..1) and `prevalence` ([], 0..1) are given by these names if it has them.
      label: English name in running text; `%(prevalence)s` is put in by the report.
      unit: %: a share 0..1 that is written in percent.
      range: Lowest and highest value.
      short_label: English name where there is little room; "": the label.
      part: Field of what `function` returns, where it returns several metrics of one fit.
      undefined: Codes (of `OBSTACLES`) of images for which it is NaN, beside those that make every metric so.
      otherwise: Code where it is NaN and none of these holds.
      interval: How `bootstrap` makes its interval.
      tables: `MAIN`: beside published numbers, in comparisons of two runs and of splits, in sweeps; `SUBGROUPS`;
        `FLOORS`: tested against floors and, in sweeps, against the first row.
    """

    name: str
    function: Callable[..., Any]
    label: str
    unit: Literal["%", ""] = ""
    range: tuple[float, float] = (0.0, 1.0)
    short_label: str = ""
    part: str = ""
    undefined: tuple[str, ...] = ()
    otherwise: str = "unexplained"
    interval: Literal["bca", "logit", "normal", "none"] = "bca"
    tables: frozenset[str] = frozenset()

    @property
    def short(self) -> str:
        """English name where there is little room."""
        return self.short_label or self.label

    @property
    def is_share(self) -> bool:
        """Whether it is written in percent."""
        return self.unit == "%"

    @property
    def takes(self) -> tuple[str, ...]:
        """Which of threshold and prevalence its function takes."""
        parameters = inspect.signature(self.function).parameters
        return tuple(name for name in ("threshold", "prevalence") if name in parameters)

    @property
    def is_decision(self) -> bool:
        """Whether it depends on the threshold."""
        return "threshold" in self.takes


METRICS: dict[str, Metric] = {}  # by name, in the order of tables


def register(metric: Metric) -> Metric:
    """Adds a metric behind the others.

    Raises:
      ValueError: there is one of this name.
    """
    if metric.name in METRICS:
        raise ValueError(f"name must be that of no registered metric, got {metric.name}")
    METRICS[metric.name] = metric
    return metric


def shown_in(table: str) -> tuple[str, ...]:
    """Names of the metrics in one of the tables `MAIN`, `SUBGROUPS` and `FLOORS`.

    >>> shown_in(FLOORS)
    ('accuracy', 'auroc')
    """
    return tuple(name for name, metric in METRICS.items() if table in metric.tables)


_EVERY = ("no_image",)
_NO_POSITIVE, _NO_NEGATIVE, _NO_OVERLAP = "no_positive_image", "no_negative_image", "no_overlap"
_NONE, _ALL = "none_called_positive", "all_called_positive"
_BOTH = (_NO_POSITIVE, _NO_NEGATIVE)
_PPV, _NPV, _MCC = (*_BOTH, _NONE), (*_BOTH, _ALL), (*_BOTH, _NONE, _ALL)
_MAIN, _GROUPED = frozenset({MAIN}), frozenset({MAIN, SUBGROUPS})
_EVERYWHERE = frozenset({MAIN, SUBGROUPS, FLOORS})
_fit = functools.partial(Metric, range=(-math.inf, math.inf), otherwise="fit_not_converged")
_line = functools.partial(_fit, undefined=(*_BOTH, _NO_OVERLAP), interval="normal")

for _metric in (
    Metric("accuracy", discrimination.accuracy, "accuracy", "%", tables=_EVERYWHERE),
    Metric("fp_share", discrimination.fp_share, "FP, share of all images", "%", short_label="FP share", tables=_MAIN),
    Metric("fn_share", discrimination.fn_share, "FN, share of all images", "%", short_label="FN share", tables=_MAIN),
    Metric("sensitivity", discrimination.sensitivity, "sensitivity", "%", undefined=(_NO_POSITIVE,), tables=_GROUPED),
    Metric("specificity", discrimination.specificity, "specificity", "%", undefined=(_NO_NEGATIVE,), tables=_GROUPED),
    Metric("ppv", discrimination.ppv, "PPV in these images", "%", undefined=(_NONE,)),
    Metric("npv", discrimination.npv, "NPV in these images", "%", undefined=(_ALL,)),
    Metric("ppv_at_prevalence", discrimination.ppv_at, "PPV at a prevalence of %(prevalence)s", "%", undefined=_PPV),
    Metric("npv_at_prevalence", discrimination.npv_at, "NPV at a prevalence of %(prevalence)s", "%", undefined=_NPV),
    Metric("f1", discrimination.f1, "F1", undefined=(_NO_POSITIVE,)),
    Metric("mcc", discrimination.mcc, "Matthews correlation", range=(-1.0, 1.0), undefined=_MCC),
    Metric("auroc", discrimination.auroc, "AUROC", undefined=_BOTH, interval="logit", tables=_EVERYWHERE),
    Metric("auprc", discrimination.auprc, "AUPRC (average precision)", undefined=(_NO_POSITIVE,)),
    Metric("brier", calibration.brier, "Brier score"),
    Metric("ece", calibration.expected_calibration_error, "expected calibration error", interval="none"),
    _line("calibration_slope", calibration.recalibration, "calibration slope (1 is ideal)", part="slope"),
    _line("calibration_intercept", calibration.recalibration, "calibration intercept (0 is ideal)", part="intercept"),
    _fit(
        "calibration_in_the_large",
        calibration.calibration_in_the_large,
        "calibration in the large (0 is ideal)",
        undefined=_BOTH,
    ),
):
    register(_metric)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Some metrics as one function of label, score and weight [N]: name -> [] f32, NaN where undefined.

    Equal ones hash alike, so that `jax.jit` with the evaluation as a static argument compiles once.

    >>> Evaluation((METRICS["accuracy"],))(np.array([1, 0]), np.array([0.7, 0.6]), np.ones(2))
    {'accuracy': Array(0.5, dtype=float32)}

    Attributes:
      prevalence: 0..1, share of positives for which `ppv_at_prevalence` and `npv_at_prevalence` hold.
    """

    metrics: tuple[Metric, ...] = dataclasses.field(default_factory=lambda: tuple(METRICS.values()))
    prevalence: float = NIH_PREVALENCE

    def __call__(
        self, label: Array, score: Array, weight: Array, threshold: float | Array = discrimination.THRESHOLD
    ) -> dict[str, jax.Array]:
        """Arguments as in `discrimination`; threshold: [] or, if images of several networks are pooled, [N]."""
        return compute(label, score, weight, threshold, self.prevalence, self.metrics)


@pinned_rank
def compute(
    label: Array,
    score: Array,
    weight: Array,
    threshold: float | Array = discrimination.THRESHOLD,
    prevalence: float | Array = NIH_PREVALENCE,
    metrics: Sequence[Metric] | None = None,
) -> dict[str, jax.Array]:
    """Metrics of one run: name -> [] f32, NaN where undefined. Compiled once for each N.

    Args:
      label: [N], 0 or 1, 1 is positive.
      score: [N] 0..1.
      weight: [N] non-negative multiplicities, 0: absent.
      threshold: [] or, if images of several networks are pooled, [N]; scores above it are called positive.
      prevalence: 0..1, share of positives for which `ppv_at_prevalence` and `npv_at_prevalence` hold.
      metrics: those wanted; None: all that are registered.

    Raises:
      ValueError: a label that counts is neither 0 nor 1, a score of such an image lies outside 0..1, a weight is
        negative or not finite, or the threshold or prevalence is NaN.
    """
    further = (number("threshold", threshold), number("prevalence", prevalence))
    every = tuple(METRICS.values() if metrics is None else metrics)
    values = _compute(every, *checked(label, score, weight), *further)
    return {metric.name: values[metric.name] for metric in every}  # jax.jit sorts them


@functools.partial(jax.jit, static_argnums=0)
def _compute(
    metrics: tuple[Metric, ...], label: Array, score: Array, weight: Array, threshold: Array, prevalence: Array
) -> dict[str, jax.Array]:
    further = {"threshold": threshold, "prevalence": prevalence}
    values: dict[str, jax.Array] = {}
    fits: dict[Callable[..., Any], Any] = {}  # what several metrics are parts of is computed once
    for metric in metrics:
        if metric.function not in fits:
            given = {name: further[name] for name in metric.takes}
            fits[metric.function] = metric.function(label, score, weight, **given)
        value = fits[metric.function]
        values[metric.name] = getattr(value, metric.part) if metric.part else value
    return values


def undefined(
    label: Array, score: Array, weight: Array, threshold: float | Array = discrimination.THRESHOLD
) -> dict[str, str]:
    """Each registered metric that is NaN -> the code of why; empty if all are defined. Arguments as `compute`.

    >>> undefined(np.ones(3), np.array([0.2, 0.6, 0.7]), np.ones(3))["auroc"]
    'no_negative_image'

    Raises:
      ValueError: as `compute`.
    """
    values = jax.device_get(compute(label, score, weight, threshold))
    return reasons([name for name in METRICS if np.isnan(values[name])], label, score, weight, threshold)


def reasons(
    names: Sequence[str], label: Array, score: Array, weight: Array, threshold: float | Array = discrimination.THRESHOLD
) -> dict[str, str]:
    """Why these metrics, which are NaN, are so: name -> code; the other arguments as `compute`.

    A code is the first that holds of those of every metric, those of its row, and its row's `otherwise`.
    """
    arrays = checked(label, score, weight)
    counts = arrays[2] > 0
    called = np.asarray(arrays[1], np.float32) > np.broadcast_to(number("threshold", threshold), counts.shape)
    images = _Evaluated(arrays, arrays[0][counts], called[counts])
    return {
        row.name: next((code for code in (*_EVERY, *row.undefined) if OBSTACLES[code](images)), row.otherwise)
        for row in map(METRICS.__getitem__, names)
    }


class _Evaluated(NamedTuple):
    """Images as they are given, and label and decision (bool) of those that count."""

    given: tuple[Any, Any, Any]
    label: np.ndarray
    called: np.ndarray


_overlap = jax.jit(calibration.overlap)

OBSTACLES: dict[str, Callable[[_Evaluated], bool]] = {  # code -> whether it holds of these images
    "no_image": lambda images: not images.label.size,
    _NO_POSITIVE: lambda images: not (images.label == 1).any(),
    _NO_NEGATIVE: lambda images: not (images.label == 0).any(),
    _NONE: lambda images: not images.called.any(),
    _ALL: lambda images: bool(images.called.all()),
    _NO_OVERLAP: lambda images: not _overlap(*images.given),
}
