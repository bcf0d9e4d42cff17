"""How well does a small U-Net outline lungs as people do? Trains the one that `cxrjax.interpret.lungs` uses.

  python -m experiments.train_lungs --masks=FOLDER

FOLDER holds images/NAME.png and masks/NAME.png (0: not lung; both square and of one size) and sources.csv with the
columns name, patient and group. One network a fold is trained without the fold's patients and outlines them; Dice is
told by group. The last is trained on all films: its weights, --out/lungs.npz, may be shipped in place of those in
cxrjax/interpret.

The estimated time comes first; a training that is done is not repeated by the same command, one that was interrupted
begins anew. Into --out go dice.csv (a row a film), dice.md (to paste), worst.jpg (the ten worst films' outlines alone)
and worst_films.jpg (with the films). A training of 1,200 steps takes 4.7 minutes of one core (AMD EPYC), the six of
five folds half an hour. Expected on 283 films of 242 patients: Dice 0.94 of adults and of children, none below
0.8. Other machines round otherwise: weights of one seed are alike there, not equal.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cxrjax.base import InputError
from cxrjax.base.flags import flag

from . import _cli, _terminal


@dataclasses.dataclass(frozen=True)
class LungsConfig:
    """The flags of this program."""

    masks: str | None = flag(None, "folder of films, their masks and sources.csv; never changed", path=True)
    folds: int = flag(5, "parts that the patients are split into, each outlined by a network of the others", lower=2)
    steps: int = flag(1200, "of each training, with 16 films each", lower=1)
    seed: int = flag(0, "of the folds and the trainings", lower=0)
    out: str = flag("runs/lungs", "folder for weights, tables and pictures", path=True)


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes("; the same command continues"):
        config = _cli.parse(LungsConfig(), __doc__ or "", argv)
        if not config.masks:
            raise InputError("--masks must be given: a folder with images/, masks/ and sources.csv")
        _cli.refuse_out(Path(config.out), {"masks": config.masks})

        from . import _lung_films, _lung_folds

        films = _lung_films.read(Path(config.masks))
        _cli.start()
        out = Path(config.out)
        folds = films.folds(config.folds, config.seed)
        _lung_folds.train(films, folds, config.steps, config.seed, out)
        _terminal.show(_lung_folds.report(films, folds, out))
        _terminal.show(
            f"weights: {out / 'lungs.npz'}, of every film; table: {out / 'dice.md'}; the ten worst: "
            f"{out / 'worst_films.jpg'}"
        )


if __name__ == "__main__":
    main()
