"""Does a network's map lie on a region more than chance, habit and untrained networks would have it?

An image's value is the mean over the seeds that validated it; the metric is the mean over images, its interval from
resampling patients (`interval`): it speaks of other patients for these trained networks, not of other trainings.
What is compared is paired: same seed and image beside a control, same image beside a baseline.

How often the 95 % interval held the true mean, in 1,000 simulated sets of P patients with 1.25 images each (shares of a
skewed distribution; hits 0.3; hits 0.08; hits minus a baseline's), images of a patient being alike:

                   percentile                     BCa, else Student's t          no BCa
    P      share  hits  rare  difference    share  hits  rare  difference    (rare hits)
    10     0.86   0.90  0.78     0.92       0.90   0.96  0.84     0.95          0.66
    28     0.91   0.93  0.89     0.95       0.92   0.96  0.98     0.97          0.09
    100    0.93   0.94  0.94     0.95       0.93   0.95  0.95     0.95          0.00

Hence BCa, and t where few patients or a figure near 0 or 1 leave none. With 5 patients t holds 0.90, of rare hits 0.55.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from cxrjax.analysis.localisation import BASELINES, COLUMNS, METRICS, TRAINED, check_once, expected
from cxrjax.base import codes
from cxrjax.metrics import bootstrap, limits
from cxrjax.metrics.limits import Draws
from cxrjax.metrics.resampled_t import Estimate

SMALL = 10  # patients; an interval of fewer says little
_DIGITS = 10  # of means over seeds; BCa counts draws equal to the metric, which rounding must not part
_SEED = 0  # the same draws for all metrics of the same number of patients
_TABLE = ["target", "metric", "method", "network", "images", "patients", "value", "low", "high"]
_TABLE += ["difference", "difference_low", "difference_high", "beaten", "small", "zero_maps", "note"]


class Tests(NamedTuple):
    """The table and what is absent from it.

    Attributes:
      table: A row for each target, metric (energy, pointing), method and network, the trained one first, then controls
        and baselines on the images they share with it: images, patients, value with low and high (95 %); of trained
        minus this one difference, difference_low, difference_high, beaten (bool: that interval lies above 0; None for
        the trained one); small (bool: fewer than `SMALL` patients), zero_maps (maps of zeros, which count as uniform),
        note (codes of images left out, pairs missing, how the interval of value or difference was made or why there is
        none; or "").
      notes: codes of what is absent, and why
    """

    table: pd.DataFrame
    notes: list[str]


class Verdict(NamedTuple):
    """One metric of one method; names are those of `Tests.table`'s networks."""

    target: str
    metric: str
    method: str
    everything: bool  # every control and baseline was there and is beaten
    beats: tuple[str, ...]
    not_beaten: tuple[str, ...]  # all others it was compared with
    below: tuple[str, ...]  # those of `not_beaten` that are better than the network: the interval lies below 0
    undecided: tuple[str, ...]  # those of `not_beaten` without an interval
    missing: tuple[str, ...]  # what it was not compared with
    small: bool  # some comparison has few patients


def table(rows: pd.DataFrame) -> Tests:
    """`Tests` of all maps of a run.

    Args:
      rows: `localisation.score_maps` of every network, method, seed and target, and `localisation.baselines` of every
        target, together.

    Raises:
      ValueError: a column is missing, or a map has two rows.
    """
    _check(rows)
    tests: list[dict[str, Any]] = []
    notes = []
    baseline = rows["network"].isin(BASELINES)
    for (target, method), maps in rows[~baseline].groupby(["target", "method"], sort=False):
        parts = {str(name): part for name, part in maps.groupby("network", sort=False)}
        parts |= {str(name): part for name, part in rows[baseline & (rows["target"] == target)].groupby("network")}
        trained = parts.pop(TRAINED, None)
        if trained is None:
            notes.append(codes.code("no_trained_maps", method=method, target=target))
            continue
        order = [name for name in expected(str(target)) if name in parts]
        order += [name for name in parts if name not in order]
        if absent := [name for name in expected(str(target)) if name not in parts]:
            notes.append(codes.code("not_compared", method=method, target=target, networks=",".join(absent)))
        for metric in METRICS:
            for name, part in ((TRAINED, trained), *((name, parts[name]) for name in order)):
                row = _beside(trained, part, metric, name)
                if row["images"]:
                    tests.append({"target": target, "metric": metric, "method": method, **row})
                else:
                    note = {"method": method, "target": target, "metric": metric, "network": name}
                    notes.append(codes.code("no_common_metric", **note))
    return Tests(pd.DataFrame(tests, columns=_TABLE), notes)


def _beside(trained: pd.DataFrame, other: pd.DataFrame, metric: str, name: str) -> dict[str, Any]:
    """A network's row, on the maps that it has in common with the trained one."""
    keys = ["image"] if name in BASELINES else ["seed", "image"]
    both = trained.merge(other[[*keys, metric, "zero"]], on=keys, suffixes=("", "_other"), validate="many_to_one")
    pairs = both.dropna(subset=[metric, f"{metric}_other"])
    means = pairs.groupby("image").agg(
        patient=("patient", "first"), trained=(metric, "mean"), other=(f"{metric}_other", "mean")
    )
    patient = means["patient"].to_numpy(str)
    row, reason = mean_row(means["other"].to_numpy(), patient)
    row |= {"network": name, "beaten": None, "zero_maps": int(pairs.drop_duplicates(keys)["zero_other"].sum())}
    notes = [*_left_out(trained, both, pairs), codes.tag(reason, column="value")]
    if name != TRAINED and len(means):
        paired = interval((means["trained"] - means["other"]).to_numpy(), patient, ends=(-1.0, 1.0))
        row |= {"difference": paired.value, "difference_low": paired.low, "difference_high": paired.high}
        row["beaten"] = bool(paired.low > 0)
        notes.append(codes.tag(paired.reason, column="difference"))
    return row | {"note": codes.join(notes)}


def mean_row(
    value: np.ndarray, patient: np.ndarray, ends: tuple[float, float] = (0.0, 1.0)
) -> tuple[dict[str, Any], str]:
    """images, patients, value with low and high, small; and how the `interval` was made or why there is none.

    Of no image images and patients alone.

    Args:
      value: [n], a metric of each image; not NaN.
      patient: [n], any names.
      ends: of the metric's range.
    """
    row: dict[str, Any] = {"images": len(value), "patients": len(np.unique(patient))}
    if not len(value):
        return row, ""
    mean = interval(value, patient, ends)
    row |= {"value": mean.value, "low": mean.low, "high": mean.high, "small": row["patients"] < SMALL}
    return row, mean.reason


def _left_out(trained: pd.DataFrame, both: pd.DataFrame, pairs: pd.DataFrame) -> list[str]:
    notes = []
    if empty := both["image"].nunique() - pairs["image"].nunique():
        notes.append(codes.code("outside_crop", n=empty))
    if len(both) < len(trained):
        notes.append(codes.code("maps_without_pair", n=len(both), of=len(trained)))
    return notes


def _check(rows: pd.DataFrame) -> None:
    if missing := [name for name in COLUMNS if name not in rows.columns]:
        raise ValueError(f"rows must have the columns of localisation.COLUMNS, got none of {', '.join(missing)}")
    check_once(rows, ["target", "method", "network", "seed", "image"])


def verdicts(table: pd.DataFrame) -> list[Verdict]:
    """What `Tests.table` says of each method, target and metric, in its order.

    A map that does not beat its controls shows the image or the architecture, not what was learned. Each verdict of
    "everything" needs every interval above 0, so several comparisons make it no easier; several methods do.
    """
    judged = []
    for (target, metric, method), rows in table.groupby(["target", "metric", "method"], sort=False):
        others = rows[rows["network"] != TRAINED]
        beaten = others["beaten"].astype(bool)
        rest = others[~beaten]
        missing = tuple(name for name in expected(str(target)) if name not in set(others["network"]))
        verdict = Verdict(
            str(target),
            str(metric),
            str(method),
            everything=bool(len(others)) and bool(beaten.all()) and not missing,
            beats=tuple(others["network"][beaten]),
            not_beaten=tuple(rest["network"]),
            below=tuple(rest["network"][rest["difference_high"] < 0]),
            undecided=tuple(rest["network"][rest["difference_low"].isna()]),
            missing=missing,
            small=bool(rows["small"].any()),
        )
        judged.append(verdict)
    return judged


def interval(
    value: np.ndarray,
    patient: np.ndarray,
    ends: tuple[float, float] = (0.0, 1.0),
    draws: int = bootstrap.DRAWS,
    level: float = 0.95,
) -> Estimate:
    """Mean over images and its interval by resampling patients: BCa, or Student's t where there is none.

    For t the variance of the mean is that of the patients' influences, sum(d^2) / (P (P - 1)) with d = (sum of the
    patient's values - its images * mean) / (images a patient), P - 1 degrees. `reason` says where it was taken:
    student_t and why there is no BCa; the interval is NaN where all images are of one patient, or all patients have the
    same mean.

    Args:
      value: [n], a metric of each image; not NaN.
      patient: [n], any names.
      ends: of the metric's range, to which the interval is cut.
      draws: of patients.
      level: share of such intervals that are to hold the true value.

    Raises:
      ValueError: there is no image, a value is not finite, or patients are not one for each.
    """
    if value.ndim != 1 or not len(value) or np.shape(patient) != value.shape or not np.isfinite(value).all():
        raise ValueError(
            f"value must hold a finite value of each of one or more images, and patient a name, got shapes "
            f"{value.shape} and {np.shape(patient)}, {int((~np.isfinite(value)).sum())} not finite"
        )
    code = np.unique(patient, return_inverse=True)[1]
    images, sums = np.bincount(code), np.bincount(code, value)
    patients, mean = len(images), float(value.mean())
    if patients < 2:
        return Estimate(mean, math.nan, math.nan, codes.code("one_patient"))
    influence = (sums - images * mean) / images.mean()
    if np.abs(influence).max() <= 10**-_DIGITS:
        return Estimate(mean, math.nan, math.nan, codes.code("same_in_every_patient"))
    times = _times(patients, draws)
    drawn, without = (times @ sums) / (times @ images), (sums.sum() - sums) / (len(value) - images)
    draws_of = Draws(round(mean, _DIGITS), drawn.round(_DIGITS), without.round(_DIGITS))
    low, high, reason = limits.bca(draws_of, level)
    if reason:
        error = math.sqrt(float(np.sum(influence**2)) / (patients * (patients - 1)))
        half = float(special.stdtrit(patients - 1, (1 + level) / 2)) * error
        low, high, reason = mean - half, mean + half, codes.join([codes.code("student_t"), reason])
    return Estimate(mean, max(low, ends[0]), min(high, ends[1]), reason)


@functools.lru_cache(maxsize=4)
def _times(patients: int, draws: int) -> np.ndarray:
    return bootstrap.multiplicities(np.random.default_rng(_SEED), patients, draws)
