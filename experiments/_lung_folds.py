"""Trainings of `train_lungs`, one a file, and what their networks outline of films that they have not seen."""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from cxrjax.base import InputError, files, progress
from cxrjax.data.phantom import phantom
from cxrjax.interpret import lungs
from cxrjax.models import unet
from cxrjax.training import outlines

from . import _lung_films
from ._lung_films import Films

log = logging.getLogger("cxrjax.train_lungs")

FINAL = "lungs.npz"
BAR = 0.8  # Dice below it is told
WORST = 10


def train(films: Films, folds: np.ndarray, steps: int, seed: int, out: Path) -> None:
    """Trains what `out` lacks: fold_K.npz of each fold's other films, and `FINAL` of all.

    Raises:
      InputError: if `out` holds trainings of other settings or films.
    """
    settings = {"films": films.sha256, "steps": steps, "seed": seed, "folds": int(folds.max()) + 1}
    out.mkdir(parents=True, exist_ok=True)
    path = out / "lungs.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else settings
    if differing := [name for name in settings if before.get(name) != settings[name]]:
        name = differing[0]
        raise InputError(f"--out={out} holds trainings of other {name} (was {before.get(name)}, now {settings[name]})")
    files.write_json(path, settings)
    images, masks = films.reduced()
    parts = {fold_file(out, fold): folds != fold for fold in range(folds.max() + 1)} | {out / FINAL: folds >= 0}
    missing = [part for part in parts if not part.is_file()]
    log.info("%d of %d trainings of %d steps to be done", len(missing), len(parts), steps)
    with progress.stage("training", len(missing) * steps, "steps") as bar:
        for part in missing:
            used = parts[part]
            on_step = functools.partial(_on_step, bar, part.stem)
            params = outlines.train(images[used], masks[used], steps, seed, on_step)
            files.write_bytes(part, unet.to_bytes(params))
            log.info("%s: trained on %d films", part.stem, used.sum())


def _on_step(bar: progress.Stage, name: str, _: int, loss: float) -> None:
    bar.advance(1, of=name, loss=loss)


def fold_file(out: Path, fold: int) -> Path:
    """Weights of the network that has not seen a fold."""
    return out / f"fold_{fold}.npz"


def dice(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """2 |A and B| / (|A| + |B|) of masks [N, side, side] bool, [N] f64; of two empty ones 1."""
    both = a.sum((1, 2)) + b.sum((1, 2))
    return np.where(both == 0, 1.0, 2 * (a & b).sum((1, 2)) / np.maximum(both, 1))


def report(films: Films, folds: np.ndarray, out: Path) -> str:
    """Writes tables and pictures of what networks outline of films that they have not seen; the table."""
    masks = np.zeros_like(films.masks)
    for fold in range(folds.max() + 1):
        masks[folds == fold] = lungs.outline(
            unet.from_bytes(fold_file(out, fold).read_bytes()), films.images[folds == fold]
        )
    scores = dice(masks, films.masks)
    rows = pd.DataFrame(
        {"name": films.name, "patient": films.patient, "group": films.group, "fold": folds, "dice": scores}
    )
    files.write_text(out / "dice.csv", rows.to_csv(index=False, float_format="%.4f"))
    drawn = phantom(120, seed=3)
    of_phantom = dice(lungs.outline(unet.from_bytes((out / FINAL).read_bytes()), drawn.images), drawn.lungs)
    on_phantom = pd.DataFrame({"patient": drawn.table["patient"], "dice": of_phantom})
    table = markdown(rows, on_phantom)
    files.write_text(out / "dice.md", table + "\n")
    worst = np.argsort(scores, kind="stable")[:WORST]
    for name, is_shown in (("worst.jpg", False), ("worst_films.jpg", True)):
        faces = [
            (f"{films.group[i]}, Dice {scores[i]:.2f}", films.images[i] if is_shown else None, films.masks[i], masks[i])
            for i in worst
        ]
        _lung_films.picture(faces).save(out / name, quality=85)
    return table


def markdown(rows: pd.DataFrame, on_phantom: pd.DataFrame) -> str:
    """A row a group, one for groups that begin with the same word, one for all, one for the phantom."""
    word = rows["group"].str.split().str[0]
    parts = {str(name): part for name, part in rows.groupby("group")}
    parts |= {f"{name}, all": part for name, part in rows.groupby(word) if part["group"].nunique() > 1}
    parts |= {"all": rows, "phantom, by the network of all films": on_phantom}
    names = ("films", "number", "patients", "mean Dice", "5th percentile", "lowest", f"below {BAR}")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for name, part in parts.items():
        scores = part["dice"].to_numpy()
        low = scores < BAR
        values = (name, len(part), part["patient"].nunique(), *(f"{v:.3f}" for v in _figures(scores)))
        lines.append("| " + " | ".join(map(str, (*values, f"{low.sum()} ({100 * low.mean():.1f} %)"))) + " |")
    return "\n".join(lines)


def _figures(scores: np.ndarray) -> tuple[float, float, float]:
    return float(scores.mean()), float(np.percentile(scores, 5)), float(scores.min())
