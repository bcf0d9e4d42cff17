"""How are the networks of a finished run used without cxrjax?

  python -m experiments.export --run=runs/p_vs_nf --out=exported

Writes a folder from which a few lines of Python score images with nothing but JAX and NumPy (and flatbuffers, which
jax.export needs): README.md has the lines. network.jax_export is the program (StableHLO, for CPU, CUDA, ROCm and TPU,
any number of images), trunk.safetensors and seed_NNN.safetensors are the parameters, export.json says what goes in,
what comes out, and the SHA-256 of each file. `load_run` and `experiments.predict --run` read the folder, too, and do
not need the weights that the run was trained from. Scores equal the run's to 1e-6 in float32.

Needs the extra `export`. Takes seconds, and of AlexNet from fc6 220 MB a seed.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cxrjax.base import InputError
from cxrjax.base.flags import FinishedRunFlags, flag

from . import _cli, _terminal


@dataclasses.dataclass(frozen=True)
class ExportConfig(FinishedRunFlags):
    """The flags of this program."""

    run: str | None = flag(
        None, "folder of a finished run; of one with many labels also RUN/findings/NAME, one finding", path=True
    )
    out: str | None = flag(None, "folder for the export, which must not exist", path=True)
    overwrite: bool = flag(False, "replace an earlier export in --out")


def main(argv: list[str] | None = None) -> None:
    """Runs from the command line."""
    with _cli.one_line_for_mistakes():
        config = _cli.parse(ExportConfig(), __doc__ or "", argv)
        if not config.run or not config.out:
            raise InputError("--run and --out must be given (--help lists the flags)")
        folder, out = Path(config.run), Path(config.out)
        _cli.refuse_out(out, {"run": config.run})
        if out.exists() and not config.overwrite:
            raise InputError(f"--out={out} exists already; give another folder, or --overwrite")
        from cxrjax.runs import exported, trained

        if exported.is_export(folder):
            raise InputError(f"--run={folder} is an export already; copy it")
        _cli.start()
        run = trained.load_run(folder, config.weights)
        exported.write(run, out, config.overwrite)
        _terminal.show(
            f"{run.task.title}, {len(run.seeds)} seed(s): {out}; {out / 'README.md'} says how to score images"
        )


if __name__ == "__main__":
    main()
