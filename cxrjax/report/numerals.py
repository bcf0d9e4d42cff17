"""Figures as people read them: digits that fit, a dash for what is undefined.

The name of a figure, as in `registry.METRICS`, tells how it is written.
"""

from __future__ import annotations

import math

import pandas as pd

from cxrjax.report.language import DASH, ENGLISH

# Shares of images; all other figures are written with three decimals.
PERCENT = (
    "accuracy",
    "fp_share",
    "fn_share",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "ppv_at_prevalence",
    "npv_at_prevalence",
    "contaminated_share",
)


def number(name: str, value: float) -> str:
    """A figure's value with the digits that fit it; a dash if it is undefined.

    >>> number("accuracy", 0.7316), number("auroc", 0.8181), number("auroc", math.nan)
    ('73.2 %', '0.818', '–')
    """
    if math.isnan(value):
        return DASH
    return percent(value) if name in PERCENT else f"{value:.3f}"


def percent(share: float) -> str:
    """A share 0..1 in percent.

    >>> percent(0.3205)
    '32.0 %'
    """
    return ENGLISH.share(share)


def mean_sd(name: str, mean: float, sd: float) -> str:
    """A mean over runs and its standard deviation, which one run does not have.

    >>> mean_sd("accuracy", 0.732, 0.0316), mean_sd("auroc", 0.818, math.nan)
    ('73.2 ± 3.2 %', '0.818')
    """
    if math.isnan(mean) or math.isnan(sd):
        return number(name, mean)
    return number(name, mean).replace(" %", "") + f" ± {number(name, sd)}"


def interval(name: str, low: float, high: float) -> str:
    """Two ends.

    >>> interval("accuracy", 0.677, 0.785)
    '67.7 to 78.5 %'
    """
    if math.isnan(low) or math.isnan(high):
        return DASH
    return f"{number(name, low).replace(' %', '')} to {number(name, high)}"


def with_interval(name: str, value: float, low: float, high: float) -> str:
    """A value and, in brackets, its interval where it has one."""
    ends = interval(name, low, high)
    return number(name, value) if ends == DASH else f"{number(name, value)} ({ends})"


def difference(name: str, value: float, low: float, high: float) -> str:
    """A difference of two figures with its interval; of shares in points of a hundred, which per cent are not.

    >>> difference("accuracy", 0.061, 0.002, 0.12), difference("auroc", -0.02, math.nan, math.nan)
    ('+6.1 points (+0.2 to +12.0)', '-0.020')
    """
    if math.isnan(value):
        return DASH
    scale, unit, digits = (100, " points", 1) if name in PERCENT else (1, "", 3)
    told = f"{scale * value:+.{digits}f}{unit}"
    if math.isnan(low) or math.isnan(high):
        return told
    return f"{told} ({scale * low:+.{digits}f} to {scale * high:+.{digits}f})"


def p_value(p: float) -> str:
    """A p value, at least three digits after the point.

    >>> p_value(0.0004), p_value(0.0312)
    ('< 0.001', '0.031')
    """
    return DASH if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def count(value: float) -> str:
    """A number of images, or the mean of several; a dash where it is not known.

    >>> count(1171.0), count(161.25)
    ('1,171', '161.2')
    """
    return ENGLISH.count(value)


def spread(values: pd.Series, digits: int) -> str:
    """One value, or the mean and the range of several.

    >>> spread(pd.Series([2, 2]), 1), spread(pd.Series([1, 2, 4]), 1)
    ('2', '2.3 (1 to 4)')
    """
    known = values.dropna().astype(float)
    if known.empty:
        return DASH
    low, mean, high = (
        f"{x:,.0f}" if x.is_integer() else f"{x:,.{digits}f}"
        for x in (float(known.min()), float(known.mean()), float(known.max()))
    )
    return mean if low == high else f"{mean} ({low} to {high})"
