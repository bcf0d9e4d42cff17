"""Whose image it is: from the user's pattern, a table, DICOM headers or names, and an account of what told it.

Nothing is guessed: where nothing tells the patient of an image, it is "". Spellings of one number (`00012`, `12`,
`012`, `12.0`) are one patient, and words that stand for no patient (ANONYMOUS, nan, one id for over half of the images)
are none; both are told.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cxrjax.base import InputError
from cxrjax.data import conventions
from cxrjax.data.conventions import SMALL

COLUMN, HEADER, REGEX = "the table's column", "DICOM's PatientID", "--patient_regex"  # what tells, for people
_WORDS = """
anonymous anonymou anonymized anonymised anonymize anonymise anon anonym anonymisiert anonymisee anonimo anonima anonyme
anonimizado deidentified de identified removed redacted masked hidden none null nil nan na nat unknown unk unbekannt
desconocido desconocida inconnu sconosciuto undefined unspecified missing empty blank not available applicable specified
known given no id name patient patientid test dummy default xxx xxxx xxxxx
"""
_NOBODY = frozenset(_WORDS.split())  # an id of these words alone stands for no patient
_LOST = re.compile(r"\d(?:[.,]\d+)?e\+\d+", re.IGNORECASE)  # 1.23457E+11: a spreadsheet has rounded it
_NUMBER = re.compile(r"#?0*(\d+)(?:[.,]0*)?")
_NUMBERED = re.compile(r"([^\W\d_]+)[\s_.:#-]*0*(\d+)")
_EXAMPLES = 4  # spellings that a note names


class Account(NamedTuple):
    """What is known of the patients of a set, kept in `about.json`."""

    images: int
    patients: int  # that are known
    largest: int  # images of the patient who has the most
    unknown: int  # images of which nothing tells the patient
    rules: dict[str, int]  # what told the patient, for people -> images
    notes: list[str]  # for people: what was taken as one, or as unknown

    def lines(self) -> list[str]:
        """For people: who is known, and by what."""
        if self.patients:
            rules = ", ".join(f"{images} by {rule}" for rule, images in self.rules.items())
            first = f"{self.patients} in {self.images - self.unknown} images ({rules}); at most {self.largest} each"
        else:
            first = "unknown, so splits are by image: no --patient_regex, column, PatientID or known name gives them"
        if self.patients and self.unknown:
            first += f"; unknown for {self.unknown} images"
        return [f"patients: {first}", *(f"patients: {note}" for note in self.notes)]


def resolve(
    images: Sequence[str],
    written: Mapping[str, Iterable[str]],
    folders: Sequence[str],
    labels: Sequence[str],
) -> tuple[np.ndarray, Account]:
    """Patients of a set of images.

    Args:
      images: [N] place below the source.
      written: what tells -> [N] ids as written, "" where it tells none; the first stands above the next.
      folders: [N] place of the folder that tells the class, "" where none does.
      labels: [N] label of each.

    Returns:
      [N] str, "" where unknown, and the account.

    >>> resolve(["a.png", "b.png", "c.png"], {COLUMN: ["012", "12.0", "nan"]}, [""] * 3, [""] * 3)[0].tolist()
    ['012', '012', '']
    """
    patients, rules = (np.full(len(images), "", object) for _ in range(2))
    notes: list[str] = []
    for what, texts in written.items():
        _fill(patients, rules, _without_placeholders(texts, what, notes), np.full(len(images), what, object), notes)
    if (patients == "").any():
        named = conventions.by_name(images, folders, labels)
        _fill(patients, rules, named.patients, named.rules, notes)
        notes += named.notes
    patients = _one_spelling(patients, notes)
    counts = Counter(patients[patients != ""])
    unknown = len(images) - counts.total()
    largest = max(counts.values(), default=0)
    rules_count = dict(Counter(rules[rules != ""]))
    return patients.astype(str), Account(len(images), len(counts), largest, unknown, rules_count, notes)


def _fill(patients: np.ndarray, rules: np.ndarray, ids: np.ndarray, of_ids: np.ndarray, notes: list[str]) -> None:
    """Fills gaps of `patients` and `rules` [N] by another rule's `ids`, in the spellings of those that are there.

    The two must part the images that both tell in the same way, else one patient would be two.
    """
    gaps, both = (patients == "") & (ids != ""), (patients != "") & (ids != "")
    pairs = {(_key(theirs), _key(ours)): ours for theirs, ours in zip(ids[both], patients[both], strict=True)}
    spelling = {theirs: ours for (theirs, _), ours in pairs.items()}
    if not len(spelling) == len(pairs) == len({ours for _, ours in pairs}):
        if gaps.any():
            others = f"{', '.join(sorted(set(of_ids[gaps])))} (images: {gaps.sum()})"
            notes.append(f"{others} is not used: it groups the images differently from another rule")
        return
    patients[gaps] = [spelling.get(_key(text), text) for text in ids[gaps]]
    rules[gaps] = of_ids[gaps]


def by_pattern(images: Sequence[str], pattern: re.Pattern[str] | None) -> list[str]:
    """Patients by the user's pattern, searched in the file's name, else in the whole of its place; "" without match.

    The patient is the pattern's group `patient`, or else its first group, or else what it matches.

    Raises:
      InputError: if it fits no image, or gives over half of many images to one patient.

    >>> by_pattern(["A/p7/1.png", "A/p8_1.png", "x.png"], re.compile("p([0-9]+)[/_]"))
    ['7', '8', '']
    """
    if pattern is None:
        return [""] * len(images)
    patients = [_search(pattern, image) for image in images]
    counts = Counter(patients)
    unmatched = counts.pop("", 0)
    if images and not counts:
        raise InputError(
            f"--patient_regex must fit names of images: {pattern.pattern!r} fits none, such as {images[0]!r}"
        )
    patient, most = max(counts.items(), key=lambda item: item[1], default=("", 0))
    if len(images) - unmatched > SMALL and 2 * most > len(images) - unmatched:
        raise InputError(
            f"--patient_regex must tell patients apart: {pattern.pattern!r} gives {most} of {len(images)} images to "
            f"{patient!r}"
        )
    return patients


def _search(pattern: re.Pattern[str], image: str) -> str:
    match = pattern.search(image.rsplit("/", 1)[-1]) or pattern.search(image)
    if match is None:
        return ""
    if "patient" in pattern.groupindex:
        return match["patient"] or ""
    return next((group for group in match.groups() if group), match.group())


def _without_placeholders(written: Iterable[str], what: str, notes: list[str]) -> np.ndarray:
    """Ids with "" in place of words that stand for no patient, [N] str; notes what was left out."""
    ids = np.array([str(text).strip() for text in written], object)
    counts = Counter(ids[ids != ""])
    nobody = {text for text in counts if _is_nobody(text)} | _zeros(counts)
    rounded = {text for text in counts if _LOST.fullmatch(text)}
    images = counts.total()
    most = {text for text in counts if images > SMALL and 2 * counts[text] > images} - nobody
    for texts, why in (
        (nobody, "no patient's id, taken as unknown"),
        (most, "one id for over half of the images, taken as unknown"),
        (rounded, "ids that a spreadsheet has rounded, taken as unknown"),
    ):
        if texts:
            notes.append(f"{what}: {_examples(texts)} (images: {sum(counts[text] for text in texts)}): {why}")
    unknown = nobody | most | rounded
    return np.array(["" if text in unknown else text for text in ids], object)


def _is_nobody(text: str) -> bool:
    """Whether all of its words stand for no patient, or it has no letter and no digit."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKD", text.casefold()).replace("\u0301", ""))
    return not words or text == "-1" or "".join(words) == "na" or _NOBODY.issuperset(words)


def _zeros(counts: Mapping[str, int]) -> set[str]:
    """Spellings of 0, unless patients are numbered from it: 1 is one, too, and 0 has no more than three times the most
    images of another."""
    zeros = {text for text in counts if re.fullmatch(r"0+(?:[.,]0*)?", text)}
    others = [images for text, images in counts.items() if text not in zeros]
    counted = any(re.fullmatch(r"0*1(?:[.,]0*)?", text) for text in counts)
    return set() if counted and sum(counts[text] for text in zeros) <= 3 * max(others) else zeros


def _one_spelling(patients: np.ndarray, notes: list[str]) -> np.ndarray:
    """Ids with the most frequent, else shortest spelling of each patient, [N] str; notes how many were taken as one."""
    counts = Counter(patients[patients != ""])
    spellings: dict[str, list[str]] = defaultdict(list)
    for text in counts:
        spellings[_key(text)].append(text)
    several = [texts for texts in spellings.values() if len(texts) > 1]
    if several:
        first = max(several, key=len)
        number = sum(map(len, several))
        notes.append(f"{number} spellings taken as {len(several)} patient(s), such as {_examples(first)}")
    stays = {"": ""}
    for texts in spellings.values():
        stays |= dict.fromkeys(texts, min(texts, key=lambda text: (-counts[text], len(text), text)))
    return np.array([stays[text] for text in patients], object)


def _key(text: str) -> str:
    """Equal for spellings of one id: numbers by their value, also behind one word; case, blanks and ^ aside."""
    folded = re.sub(r"[\s^]+", " ", unicodedata.normalize("NFKC", text).casefold()).strip(" '\"")
    if number := _NUMBER.fullmatch(folded):
        return number[1]
    if numbered := _NUMBERED.fullmatch(folded):
        return f"{numbered[1]} {numbered[2]}"
    return folded


def _examples(texts: Sequence[str] | set[str]) -> str:
    shown = sorted(texts)[:_EXAMPLES]
    return ", ".join(map(repr, shown)) + (f" and {len(texts) - len(shown)} more" if len(texts) > len(shown) else "")
