"""What differs from run to run: learning curves, and the figures of each seed."""

from __future__ import annotations

import pandas as pd

from cxrjax.report.figures import style
from cxrjax.report.figures.style import Picture
from cxrjax.report.language import Language


def learning_curve(history: pd.DataFrame, name: str, t: Language) -> Picture:
    """Accuracy against epoch, training blue and validation green as in the poster: mean over seeds, band of ± 1 SD,
    single seeds thin.

    Args:
      history: `RunTables.history`.
      name: of the experiment, as people read it.
      t: of the texts.
    """
    from matplotlib.ticker import MaxNLocator

    figure = style.canvas(3.4)
    axes = style.axes(figure, title=t("%(name)s: learning curve", name=name))
    last = {}
    for split, colour, dash, label in (
        ("train", style.BLUE, "--", t("training")),
        ("val", style.GREEN, "-", t("validation")),
    ):
        runs = history[history["split"] == split].pivot(index="epoch", columns="seed", values="accuracy") * 100
        mean, sd = runs.mean(axis=1), runs.std(axis=1).fillna(0)
        alone = "." if len(runs) == 1 else ""  # a line needs two epochs
        axes.plot(runs.index, runs, color=colour, alpha=0.2, linewidth=0.6)
        axes.fill_between(runs.index, mean - sd, mean + sd, color=colour, alpha=0.18, linewidth=0)
        axes.plot(runs.index, mean, color=colour, linewidth=1.8, linestyle=dash, marker=alone, label=label)
        last[split] = mean.iloc[-1] / 100
    style.name_axes(axes, t("epoch"), t("accuracy (%)"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    style.write_ticks(t, y=axes, digits=0)
    style.legend(axes, "lower right")
    alt = t(
        "Accuracy against epoch, mean over the runs: after the last of %(epochs)s epochs %(train)s in training and "
        "%(val)s in validation.",
        epochs=t.count(history["epoch"].max()), train=t.share(last["train"]), val=t.share(last["val"]),
    )  # fmt: skip
    return Picture(figure, alt)


def per_seed(seeds: pd.DataFrame, t: Language) -> Picture:
    """Accuracy and AUROC of each seed, with their mean, and the interval of its AUROC.

    Args:
      seeds: `Analysis.seeds`.
      t: of the texts.
    """
    from matplotlib.ticker import MaxNLocator

    figure = style.canvas(3.9)
    figure.subplots_adjust(hspace=0.42)
    for row, (name, title, factor, digits) in enumerate(
        (("accuracy", t("Accuracy of each run (%)"), 100, 0), ("auroc", t("AUROC of each run, 95 % interval"), 1, 2)), 1
    ):
        axes = style.axes(figure, 2, row, title)
        value = seeds[name] * factor
        axes.axhline(value.mean(), color=style.GREY, linewidth=1, linestyle="--")
        if name == "auroc":
            axes.vlines(seeds["seed"], seeds["auroc_low"], seeds["auroc_high"], color=style.BLUE, linewidth=1.2)
        axes.plot(seeds["seed"], value, color=style.BLUE, linestyle="", marker="o", markersize=4.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.margins(x=0.06, y=0.12)
        style.write_ticks(t, y=axes, digits=digits)
    style.name_axes(axes, t("seed; dashed: mean over the runs"))
    alt = t(
        "Each run's accuracy, from %(low)s to %(high)s, and AUROC, from %(worst)s to %(best)s.",
        low=t.share(seeds["accuracy"].min()), high=t.share(seeds["accuracy"].max()),
        worst=t.number(seeds["auroc"].min()), best=t.number(seeds["auroc"].max()),
    )  # fmt: skip
    return Picture(figure, alt)
