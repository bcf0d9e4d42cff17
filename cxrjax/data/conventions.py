"""Conventions of names that tell whose image it is, recognised where they fit a whole set.

Of the data sets of `CONVENTIONS` by their own names; else by folders: those that are called after patients
(`Patient_3`, `p001`), or those whose files are called the same in each (`DOE_JOHN/Thorax_PA/IM-0001-0001.jpeg`, as PACS
viewers export). Names that only count images or identify files (`COVID-1.png`, VinDr's, RSNA's, PadChest's) are none.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

WHOLE = 0.99  # share of a set, or of a class, that a convention must fit
_FEWEST = 6  # folders beside each other; fewer, of files of the same names, may be grades, devices, sites, readers
SMALL = 10  # images; in a set of more, no patient has over half of them


class Convention(NamedTuple):
    """How one data set names its files."""

    name: str  # for people
    pattern: re.Pattern[str]  # its first group that matches is the patient
    path: bool = False  # searched in the whole path, not in the file's name
    by_folder: bool = False  # patients are numbered anew in each folder, whose name is a part of theirs
    flat: bool = False  # only where no folder lies between class and file
    mean: float = np.inf  # images a patient; where it is exceeded the names mean something else


CONVENTIONS = (
    Convention("CheXpert", re.compile(r"(?:^|/)(patient\d{5})/study\d+/[^/]+$"), path=True),
    Convention("MIMIC-CXR", re.compile(r"(?:^|/)(p\d{8})/s\d{8}/[^/]+$"), path=True),
    Convention("NIH ChestX-ray14", re.compile(r"^(?=000\d{5}_\d{3}(?:\.|$))0*(\d+)_")),
    Convention("Shenzhen", re.compile(r"^(CHNCXR_\d{4})_[01](?:\.|$)")),
    Convention("Montgomery", re.compile(r"^(MCUCXR_\d{4})_[01](?:\.|$)")),
    Convention("JSRT", re.compile(r"^(JPC[LN]N\d{3})(?:\.|$)")),
    Convention("Open-i (Indiana)", re.compile(r"^(?:CXR)?(\d+)_(?:\d+_)?IM-\d{4}-\d{4}")),
    Convention("BIDS", re.compile(r"^(sub-[A-Za-z0-9]+)_")),
    Convention("Kermany et al.", re.compile(r"^(person\d+)_"), by_folder=True),
    Convention("Kermany et al.", re.compile(r"^((?:NORMAL2-)?IM-\d+)-\d+"), by_folder=True, flat=True, mean=3),
)
_PATIENT_FOLDER = re.compile(
    r"^(?:pa(?=\d{4})|p|pt|pat|patient|paciente|subject|subj|sub|person|case|mrn)[ _#-]*\d+$", re.IGNORECASE
)
_WORDS = """
thorax torax chest lung lungs pa ap lat lateral ll rl frontal left right supine erect portable view rx xr cr dx xray x
ray image images img imgs mask masks png jpg jpeg dicom dcm raw data dataset file files study studies stud stu stdy st
series ser se scan exam visit date day year batch part fold split set group site hospital reader observer center centre
disc disk cd vol volume archive train training val valid validation test testing
"""
_NO_PATIENT = frozenset(
    _WORDS.split()
)  # a folder's name of these and of numbers tells a view, a study, part of the set
_DATE = re.compile(r"^(?:19|20)\d\d(?:[-_.]?(?:0[1-9]|1[0-2])(?:[-_.]?(?:0[1-9]|[12]\d|3[01]))?)?$")


class Named(NamedTuple):
    """What names tell."""

    patients: np.ndarray  # [N] str, "" where nothing is told
    rules: np.ndarray  # [N] str, for people: what told it; "" where nothing did
    notes: list[str]  # for people: what was seen and not used, or may be read in two ways


class _Level(NamedTuple):
    """One level of folders of N images."""

    above: list[str]  # place of the folder above
    names: list[str]  # of the folders; "" of an image that lies higher


class _Set(NamedTuple):
    """Images that are looked at together."""

    files: list[str]  # [N] names of the files
    matches: list[tuple[Convention | None, str]]  # [N] the first convention that fits, and the patient by it
    levels: list[_Level]  # that may be the patients'

    def part(self, rows: Sequence[int]) -> _Set:
        """Those of `rows`."""
        levels = [_Level([above[row] for row in rows], [names[row] for row in rows]) for above, names in self.levels]
        return _Set(
            [self.files[row] for row in rows],
            [self.matches[row] for row in rows],
            [level for level in levels if any(level.names)],
        )


def by_name(images: Sequence[str], folders: Sequence[str], labels: Sequence[str]) -> Named:
    """Patients of a set of images by their names: a convention that fits the set, else those that fit a whole class.

    Args:
      images: [N] place below the source, `/` between folders.
      folders: [N] place of the folder that tells the class, "" where none does.
      labels: [N] label of each, which keeps folders of a class from being taken for patients.

    >>> by_name(["A/p1/1.png", "A/p2/1.png", "A/p2/2.png"], ["A"] * 3, [""] * 3).patients.tolist()
    ['p1', 'p2', 'p2']
    """
    paths = [image.replace("\\", "/") for image in images]
    whole = _Set([path.rsplit("/", 1)[-1] for path in paths], list(map(_match, paths)), _levels(paths, folders, labels))
    named = Named(np.full(len(paths), "", object), np.full(len(paths), "", object), [])
    classes: dict[str, list[int]] = defaultdict(list)
    for row, (folder, label) in enumerate(zip(folders, labels, strict=True)):
        classes[folder or label].append(row)
    undecided = set(range(len(paths)))
    for method in (_by_convention, _by_folder):
        for rows in [sorted(undecided), *(classes[name] for name in sorted(classes))]:
            part = method(whole.part(rows)) if undecided.issuperset(rows) else None
            if part is not None:
                named.patients[rows], named.rules[rows] = part.patients, part.rules
                named.notes.extend(part.notes)
                undecided.difference_update(rows)
    return named._replace(notes=named.notes + _unused(whole.part(sorted(undecided))))


def _match(path: str) -> tuple[Convention | None, str]:
    """The first convention that fits a path, and the patient by it."""
    above, _, file = path.rpartition("/")
    for convention in CONVENTIONS:
        match = convention.pattern.search(path if convention.path else file)
        if match:
            place = above.rsplit("/", 1)[-1] if convention.by_folder else ""
            return convention, f"{place}/{match[1]}" if place else match[1]
    return None, ""


def _levels(paths: list[str], folders: Sequence[str], labels: Sequence[str]) -> list[_Level]:
    """Levels of folders below the class that may be the patients'.

    None of one name, of parts of the set, views, studies or dates, nor, where no folder is known to tell the class,
    one that follows from the label.
    """
    skipped = [len(folder.split("/")) if folder else 0 for folder in folders]
    parts = [path.split("/")[:-1] for path in paths]
    inner = [inside[count:] for inside, count in zip(parts, skipped, strict=True)]
    levels = []
    for level in range(max(map(len, inner), default=0)):
        names = [inside[level] if len(inside) > level else "" for inside in inner]
        different = set(names) - {""}
        of_label = len(set(zip(names, labels, strict=True))) == len(set(labels)) > 1  # each label has one folder
        if (
            len(different) > 1
            and 2 * sum(map(_is_no_patient, different)) < len(different)
            and (any(folders) or not of_label)
        ):
            above = ["/".join(inside[: count + level]) for inside, count in zip(parts, skipped, strict=True)]
            levels.append(_Level(above, names))
    return levels


def _is_no_patient(folder: str) -> bool:
    if _PATIENT_FOLDER.match(folder):  # DICOM's media have PA000000, which is no view
        return False
    words = re.findall(r"[A-Z]?[a-z]{2,}|[A-Z]{2,}(?![a-z])|[^\W\d_]{2,}", folder)  # of SiteA: Site
    return bool(_DATE.match(folder)) or (bool(words) and _NO_PATIENT.issuperset(map(str.casefold, words)))


def _is_plausible(patients: Sequence[str], mean: float = np.inf) -> bool:
    """Whether a grouping may be one by patient."""
    counts = Counter(patients)
    images, largest = len(patients), max(counts.values(), default=0)
    return images > 0 and (images <= SMALL or 2 * largest <= images) and images <= mean * len(counts)


def _plausible_matches(part: _Set) -> dict[Convention, list[int]]:
    """Rows of the images that each convention fits, of those that group them plausibly."""
    rows: dict[Convention, list[int]] = defaultdict(list)
    for row, (convention, _) in enumerate(part.matches):
        if convention:
            rows[convention].append(row)
    return {
        convention: places
        for convention, places in rows.items()
        if not (convention.flat and part.levels)
        and _is_plausible([part.matches[row][1] for row in places], convention.mean)
    }


def _by_convention(part: _Set) -> Named | None:
    """Conventions of data sets; of several, where a set is put together of them."""
    matches = _plausible_matches(part)
    if sum(map(len, matches.values())) < max(WHOLE * len(part.files), 1):
        return None
    patients, rules = (np.full(len(part.files), "", object) for _ in range(2))
    for convention, rows in matches.items():
        patients[rows], rules[rows] = [part.matches[row][1] for row in rows], f"file names as in {convention.name}"
    return Named(patients, rules, [])


def _unused(part: _Set) -> list[str]:
    """Words on conventions that fit a part of the set only."""
    images: Counter[str] = Counter()
    for convention, rows in _plausible_matches(part).items():
        images[convention.name] += len(rows)
    return [
        f"{count} of {len(part.files)} file names are as in {name}: not used, because the others are not "
        "(--patient_regex can give the pattern)"
        for name, count in images.items()
    ]


def _by_folder(part: _Set) -> Named | None:
    """Folders called after patients, on any level; else the first level whose folders hold files of the same names."""
    for level in part.levels:
        called = np.mean([bool(_PATIENT_FOLDER.match(name)) for name in level.names])
        if called >= WHOLE and _is_plausible(level.names):
            return _of_folders(level, "folders named after patients")
    for level in part.levels[:1]:
        places: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        for file, *place in zip(part.files, *level, strict=True):
            places[file.casefold()].add(tuple(place))
        repeated = np.mean([len(places[file.casefold()]) > 1 for file in part.files])
        if (
            all(level.names)
            and repeated >= 0.5
            and _most_beside(level) >= _FEWEST
            and _is_plausible(level.names, SMALL)
        ):
            return _of_folders(level, "folders with files of the same names, as PACS viewers export them")
    return None


def _most_beside(level: _Level) -> int:
    """Most folders of a level that lie in one folder."""
    return max(Counter(above for above, _ in set(zip(*level, strict=True))).values())


def _of_folders(level: _Level, rule: str) -> Named:
    """The folder of each image as its patient, with the folder above where each of them counts its own anew."""
    inside: dict[str, set[str]] = defaultdict(set)
    for above, name in zip(*level, strict=True):
        inside[above].add(name)
    patients, notes = np.array(level.names, object), []
    if len(set(patients)) < sum(map(len, inside.values())):
        where = f"several of {', '.join(sorted(inside))}"
        if all(map(_counts_from_start, inside.values())):
            patients = np.array([f"{above}/{name}" for above, name in zip(*level, strict=True)], object)
            notes = [f"folder numbers start again in {where}: folders of the same name are taken as different patients"]
        else:
            notes = [f"folders of the same name in {where} are taken as one patient"]
    return Named(patients, np.where(patients != "", rule, ""), notes)


def _counts_from_start(names: set[str]) -> bool:
    """Whether the names end in all whole numbers from 0 or 1 to the last, as where someone counted."""
    numbers = sorted(int(match[0]) for name in names if (match := re.search(r"\d+$", name)))
    return len(numbers) == len(names) and numbers[0] <= 1 and numbers == list(range(numbers[0], numbers[-1] + 1))
