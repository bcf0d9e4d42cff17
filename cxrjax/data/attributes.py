"""Sex and view as written, read by the set of values of their column; what may mean two things is unknown, and told.

M is male beside F or W, and female (mujer, mulher) beside H; alone it may be either. A column is read in the languages
that explain all of its values: where they disagree about one, it is unknown, as numbers are, unless the user says what
they mean (`--columns=sex=gender:1=M:2=F`). F and M are defined by DICOM (PatientSex, PS3.3 C.7.1.1) and by NIH.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from cxrjax.base import InputError

SEXES = ("F", "M")
VIEWS = ("PA", "AP", "LATERAL", "LL", "RL", "LLD", "RLD", "LLO", "RLO", "LPO", "RPO", "LAO", "RAO")  # DICOM's, mostly
LATERAL = ("LATERAL", "LL", "RL")
_SHOWN = 6  # spellings that a line names


def _fold(text: str) -> str:
    """Lower case, without accents; everything but letters and digits is a blank."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return " ".join(re.findall(r"[^\W_]+", plain))


_NOTHING = """
o other u unk unknown n a na nan none null x d divers diverse not available
"""  # words that leave sex or view open by intention
_LANGUAGES = {  # words for male, words for female, pairs of letters for both
    "English": ("male man boy", "female woman girl", "mf mw bg"),
    "Spanish": ("hombre masculino varón niño", "mujer femenino femenina niña", "mf hm hf vm"),
    "German": ("männlich maennlich mann junge", "weiblich frau mädchen", "mf mw"),
    "French": ("homme masculin garçon", "femme féminin fille", "mf hf"),
    "Italian": ("maschio uomo maschile", "femmina donna femminile", "mf"),
    "Portuguese": ("homem masculino menino", "mulher feminino feminina menina", "mf hm"),
    "Dutch": ("man mannelijk jongen", "vrouw vrouwelijk meisje", "mf mv"),
    "Scandinavian": ("man mand mann", "kvinna kvinde kvinne", "mf mk"),
    "Polish": ("mężczyzna", "kobieta", "mk"),
    "Turkish": ("erkek", "kadın", "ek"),
    "Russian": ("м муж мужской", "ж жен женский", "mf"),
    "Chinese": ("男 男性", "女 女性", "mf"),
}


def _reading(male: str, female: str, letters: str) -> dict[str, str]:
    """Folded word or letter -> M or F."""
    sexes = {_fold(word): sex for words, sex in ((male, "M"), (female, "F")) for word in words.split()}
    return sexes | {letters[0]: "M", letters[1]: "F"}


_READINGS = [
    _reading(male, female, letters) for male, female, pairs in _LANGUAGES.values() for letters in pairs.split()
]


def read_sex(
    values: Iterable[str], meanings: Mapping[str, str] = MappingProxyType({}), standard: bool = False
) -> dict[str, str]:
    """Value as written -> F, M or "" (unknown), for all values of a column.

    Args:
      values: of the column.
      meanings: of `fold_meanings`: what the user says stands above everything.
      standard: F and M are defined for this column, as in DICOM and NIH: they decide a doubt.

    >>> read_sex(["H", "M"]), read_sex(["F", "M"]), read_sex(["M"])
    ({'H': 'M', 'M': 'F'}, {'F': 'F', 'M': 'M'}, {'M': ''})
    """
    folded = {text: _fold(text) for text in dict.fromkeys(values)}
    words = {word for word in folded.values() if word not in meanings and any(word in reading for reading in _READINGS)}
    fitting = [reading for reading in _READINGS if words <= reading.keys()]
    if standard:
        fitting = [reading for reading in fitting if {"m": "M", "f": "F"}.items() <= reading.items()] or fitting
    read = dict(meanings)
    for word in words:
        sexes = {reading[word] for reading in fitting or _READINGS if word in reading}
        read[word] = sexes.pop() if len(sexes) == 1 else ""
    return {text: read.get(word, "") for text, word in folded.items()}


_SETTING = """
chest thorax torax view projection proyeccion projektion erect upright standing supine sitting semierect portable
bedside mobile adult child pediatric frontal front radiograph xray x ray rx cr dx axial horizontal
"""  # words that leave a view what it is: AP supine is AP
_VIEWS = {
    "PA": re.compile("pa|post(ero|erior)ant(erior|erieure?)?"),
    "AP": re.compile("ap|ant(ero|erior)post(erior|erieure?)?"),
    "LATERAL": re.compile("l|lat|laterale?|profile?|perfil|side"),
    "LL": re.compile("ll|(left|l)lat(eral)?|lat(eral)?left"),
    "RL": re.compile("rl|(right|r)lat(eral)?|lat(eral)?right"),
}


def read_view(values: Iterable[str], meanings: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Value as written -> one of `VIEWS` or "" (unknown), for all values of a column; arguments as of `read_sex`.

    >>> read_view(["postero-anterior", "AP supine", "L", "Frontal"])
    {'postero-anterior': 'PA', 'AP supine': 'AP', 'L': 'LATERAL', 'Frontal': ''}
    """
    return {text: meanings.get(_fold(text), _view(_fold(text))) for text in dict.fromkeys(values)}


def _view(folded: str) -> str:
    word = "".join(word for word in folded.split() if word not in _SETTING.split())
    if word.upper() in VIEWS:
        return word.upper()
    return next((view for view, pattern in _VIEWS.items() if pattern.fullmatch(word)), "")


def fold_meanings(attribute: str, meanings: Mapping[str, str]) -> dict[str, str]:
    """What the user says that values of a column mean, as `read_sex` and `read_view` take it.

    Args:
      attribute: `sex` or `view`.
      meanings: value as written -> one of `SEXES` or `VIEWS`, in either case.

    Raises:
      InputError: if it is none of them, or the values of another column are said to mean something.

    >>> fold_meanings("sex", {"Weibl.": "f"})
    {'weibl': 'F'}
    """
    if attribute not in ("sex", "view"):
        raise InputError(f"--columns can give the meaning of values only for sex and view, not for {attribute}")
    allowed = SEXES if attribute == "sex" else VIEWS
    folded = {_fold(value): meaning.upper() for value, meaning in meanings.items()}
    wrong = [meaning for meaning in folded.values() if meaning not in allowed]
    if wrong:
        raise InputError(
            f"--columns={attribute}=... must say {', '.join(allowed)} of each value, not {', '.join(wrong)}"
        )
    return folded


def line(attribute: str, written: Iterable[str], read: Iterable[str]) -> str:
    """For people: what was read as what; "" where nothing is written.

    >>> line("sex", ["Mujer", "F", "M", ""], ["F", "F", "", ""])
    "sex: 'Mujer' is F (1), F (1); unknown: 'M' (1), none (1); --columns=sex=NAME:M=... says what a value means"
    """
    images = Counter(zip(written, read, strict=True))
    if not any(text for text, _ in images):
        return ""
    understood, unknown, doubtful = [], [], []
    for (text, meaning), count in images.most_common():
        if meaning:
            understood.append(f"{meaning} ({count})" if text == meaning else f"{text!r} is {meaning} ({count})")
        else:
            unknown.append(f"{text!r} ({count})" if text else f"none ({count})")
            doubtful += [] if _is_nothing(text) else [text]
    parts = [_listed(understood)] if understood else []
    if unknown:
        parts.append(f"unknown: {_listed(unknown)}")
    if doubtful:
        parts.append(f"--columns={attribute}=NAME:{doubtful[0]}=... says what a value means")
    return f"{attribute}: {'; '.join(parts)}"


def _is_nothing(text: str) -> bool:
    return set(_fold(text).split()) <= set(_NOTHING.split())


def _listed(words: list[str]) -> str:
    return ", ".join(words[:_SHOWN]) + (f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")
