"""Shenzhen and Montgomery as released (Jaeger et al. 2014, Quant Imaging Med Surg 4:475): films for tuberculosis.

A film's name ends with its label, `CHNCXR_0327_1.png`: 1 is tuberculosis, 0 none. Its reading, `CHNCXR_0327_1.txt` in
`ClinicalReadings` beside, has sex and age in many spellings. Lungs in `ManualMask` are no films.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from cxrjax.data import labels, sources
from cxrjax.data.attributes import fold_meanings
from cxrjax.data.phrases import Vocabulary
from cxrjax.data.sources import Bad, Source
from cxrjax.data.sources.image_files import count_passed_over, images_under
from cxrjax.data.vocabulary import NO_FINDING
from cxrjax.storage.store import COLUMNS, label_counts, no_boxes

TUBERCULOSIS = "Tuberculosis"
_FILMS, _READINGS = "cxr_png", "clinicalreadings"  # folders, in any case
_NAME = re.compile(r"((?:CHN|MCU)CXR_\d{4})_([01])")
_SEX = re.compile(r"\bsex\W*([fm])|\b(fe?male?|male?)(?![a-z])", re.IGNORECASE)
_AGE = re.compile(r"\bage\W*(\d{1,3})\s*([ymwd]?)|\b(?:[a-z]*\W*?)(\d{1,3})\s*([ymwd])", re.IGNORECASE)
_PERSON = 2  # lines of a reading that say whose it is


def film_folders(folder: Path) -> list[Path]:
    """Folders of films, `CXR_png`, at most two levels below; none: this is another source."""
    places = [folder, *(path for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern)))]
    named = [path for path in places if path.name.casefold() == _FILMS and path.is_dir()]
    return [path for path in named if any(_NAME.fullmatch(film.stem) for film in path.iterdir())]


def read_person(reading: str) -> tuple[str, str]:
    """Sex, F or M, and age as `years` takes it; "" where a reading does not say.

    >>> read_person("male 63yrs\\nnormal"), read_person("Patient's Sex: F\\nPatient's Age: 032Y\\nnormal")
    (('M', '63Y'), ('F', '032Y'))
    """
    head = " ".join(reading.splitlines()[:_PERSON])
    sex, age = _SEX.search(head), _AGE.search(head)
    number, unit = (age[1] or age[3], age[2] or age[4] or "Y") if age else ("", "")
    return (sex[1] or sex[2])[0].upper() if sex else "", number + unit.upper()


def scan(folder: Path, vocabulary: Vocabulary) -> Source:
    """The films of either set or both, with sex and age by their readings.

    Args:
      folder: with `CXR_png` and `ClinicalReadings`, or with folders that have them.
      vocabulary: how the two labels are read.

    Raises:
      InputError: if the user's `classes` give a label a meaning that cannot be read.
    """
    films, problems = _films(folder)
    rows, without = [], 0
    for name, path, label in films:
        reading = _reading(path)
        sex, age = read_person(reading)
        without += not (sex and age)
        rows.append((name, path.stem[:-2], label, "", age, sex, 0, ""))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    read = labels.read(table["labels"], vocabulary, f"{folder}: names of films")
    table["labels"], table["age"] = read.labels, sources.years(table["age"])
    files = [sources.stat_file(name, path) for name, path, _ in films]
    notes = (
        "labels are the last digit of a film's name: 1: tuberculosis, 0: no tuberculosis; black borders are cut off",
        f"readings that are missing or lack sex and age: {without}" if without else "",
        count_passed_over(problems),
    )
    return Source(
        folder, "tuberculosis set", table, files, [], problems, label_counts(table), no_boxes(),
        read.spellings((table["labels"] != "").to_numpy(bool)), tuple(note for note in notes if note),
        meanings={"sex": fold_meanings("sex", {"F": "F", "M": "M"})}, borders="crop",
    )  # fmt: skip


def _films(folder: Path) -> tuple[list[tuple[str, Path, str]], list[Bad]]:
    """Name below the source, path and label as written of each film; what else lies beside them."""
    films, problems = [], []
    for place in film_folders(folder):
        paths, faults = images_under(place)
        problems += faults
        for path in paths:
            name, match = sources.printable(path.relative_to(folder).as_posix()), _NAME.fullmatch(path.stem)
            if match:
                films.append((name, path, (NO_FINDING, TUBERCULOSIS)[int(match[2])]))
            else:
                problems.append(Bad(name, str(path), "is no film: its name has no label", passed_over=True))
    return films, problems


def _reading(film: Path) -> str:
    """What the reading of a film says; "" without one."""
    places = [path for path in film.parent.parent.iterdir() if path.name.casefold() == _READINGS]
    paths = [place / f"{film.stem}.txt" for place in places]
    try:
        return next((path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()), "")
    except OSError:
        return ""
