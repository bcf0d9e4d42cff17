"""Findings and the words that hospitals and data sets write for them, and what two spellings of a word share.

Sources: NIH ChestX-ray14 (Wang et al. 2017), CheXpert (Irvin et al. 2019), VinDr-CXR (Nguyen et al. 2022), PadChest
(Bustos et al. 2020), the Fleischner Society's glossary (Hansell et al. 2008). A word stands here only where it names
the finding and nothing else: "opacity", "virus", "COVID-19" alone, "negative" and "no acute disease" are not read.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from typing import TypeAlias

NO_FINDING = "No Finding"
DEVICES = "Support Devices"  # not a finding of the lungs: No Finding may stand beside it (CheXpert)
PNEUMONIA = "Pneumonia"

# Finding, as labels spell it -> what else names it; case, blanks, hyphens, underscores, accents and plurals are free.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("atelectases", "atelectasia"),
    "Cardiomegaly": (
        "enlarged heart", "heart enlargement", "cardiac enlargement", "enlarged cardiac silhouette", "cardiomegalia",
    ),
    "Consolidation": ("lung consolidation", "pulmonary consolidation", "airspace consolidation", "consolidacion"),
    "Edema": ("oedema", "pulmonary edema", "pulmonary oedema", "lung edema", "lung oedema", "edema pulmonar"),
    "Effusion": ("pleural effusion", "pleural fluid", "hydrothorax", "derrame pleural"),
    "Emphysema": ("lung emphysema", "pulmonary emphysema", "enfisema"),
    "Fibrosis": ("lung fibrosis", "pulmonary fibrosis", "fibrosis pulmonar"),
    "Hernia": ("hiatal hernia", "hiatus hernia", "diaphragmatic hernia", "hernia de hiato"),
    "Infiltration": (
        "infiltrate", "lung infiltrate", "lung infiltration", "pulmonary infiltrate", "pulmonary infiltration",
        "infiltrado",
    ),
    "Mass": ("lung mass", "pulmonary mass", "masa", "masa pulmonar"),
    "Nodule": ("lung nodule", "pulmonary nodule", "nodulo", "nodulo pulmonar"),
    "Pleural_Thickening": ("thickened pleura", "thickening of the pleura", "pt", "engrosamiento pleural"),
    PNEUMONIA: ("neumonia",),
    "Pneumothorax": ("pneumothoraces", "neumotorax"),
    NO_FINDING: (
        "normal", "healthy", "healthy control", "no abnormal finding", "no abnormality", "no abnormality detected",
        "no abnormality found", "no abnormality seen", "without finding", "without abnormality", "unremarkable",
        "within normal limits", "sin hallazgos", "sano",
    ),
    "Enlarged Cardiomediastinum": ("widened mediastinum", "mediastinal widening", "enlarged mediastinum"),
    "Lung Opacity": ("pulmonary opacity", "airspace opacity"),
    "Lung Lesion": ("pulmonary lesion",),
    "Pleural Other": (),
    "Fracture": ("rib fracture", "bone fracture", "fractura"),
    DEVICES: ("medical device", "implanted device"),
    "Tuberculosis": ("tb", "pulmonary tuberculosis", "lung tuberculosis", "pulmonary tb", "tuberculosis pulmonar"),
}  # fmt: skip

# What may stand before, behind or below ("/") the word pneumonia and says only which: by germ, course or place.
PNEUMONIA_KINDS = (
    "viral", "virus", "bacterial", "bacteria", "fungal", "fungus", "lipoid", "aspiration", "lobar", "bronchial",
    "interstitial", "atypical", "typical", "acute", "chronic", "organizing", "organising", "cryptogenic",
    "necrotizing", "necrotising", "eosinophilic", "community acquired", "hospital acquired", "nosocomial",
    "ventilator associated", "covid", "covid 19", "covid19", "sars", "sars cov", "sars cov 2", "mers", "mers cov",
    "influenza", "h1n1", "varicella", "herpes", "rsv", "adenovirus", "cmv", "streptococcus", "staphylococcus", "mrsa",
    "klebsiella", "legionella", "mycoplasma", "chlamydia", "chlamydophila", "haemophilus", "e coli",
    "escherichia coli", "pseudomonas", "nocardia", "pneumocystis", "aspergillosis", "aspergillus", "candida",
)  # fmt: skip
# What may stand beside any finding and says only where or how much; and beside any label, only what it is a label of.
QUALIFIERS = (
    "left", "right", "bilateral", "unilateral", "small", "large", "mild", "moderate", "severe", "minimal", "diffuse",
    "focal", "multiple", "multifocal", "upper lobe", "middle lobe", "lower lobe",
)  # fmt: skip
FILLERS = ("case", "image", "patient", "chest", "lung", "x ray", "xray", "cxr", "chest x ray", "radiograph", "class")

MISSING = (
    "nan", "na", "n a", "null", "none", "nil", "unknown", "unlabeled", "unlabelled", "missing", "not available",
    "not labeled", "not labelled", "not known", "not mentioned", "not reported", "indeterminate",
)  # fmt: skip
AND = ("and", "with", "y", "con")
NEGATIONS = ("no", "not", "non", "without", "no evidence of", "no sign of", "negative for", "absence of", "sin")
NEGATED = ("absent", "negative", "neg", "no", "not present", "false")  # behind a finding: "pneumonia: absent"
HEDGES = (
    "possible", "possibly", "probable", "probably", "suspected", "suspicion of", "suspicious for", "likely",
    "questionable", "uncertain", "equivocal", "maybe", "posible",
)  # fmt: skip
HEDGED = ("possible", "probable", "suspected", "uncertain", "questionable", "equivocal", "likely")
AFFIRMED = ("present", "positive", "pos", "yes", "true", "confirmed")  # behind a finding: "pneumonia: present"
DOUBTS = (  # say something of a finding, but not plainly what
    "ruled out", "rule out", "excluded", "control", "doubtful", "unsure", "unclear", "resolved", "recovered", "healed",
)  # fmt: skip

# Values of a 0/1 column.
ONES, ZEROS, UNCERTAIN = ("1", "true", "yes", "y", "t"), ("0", "false", "no", "n", "f"), ("-1",)

DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))
_WORDS = re.compile(r"[a-z0-9]+(?:[\s_\-.]+[a-z0-9]+)*\.?")
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:[.,]0*)?")


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


def _singular(word: str) -> str:
    """English plurals: masses, opacities, nodules; virus, mass and atelectasis are none."""
    if len(word) < 4 or word.endswith(("ss", "us", "is", "as")) or not word.endswith("s"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "xes", "ches")) else word[:-1]


@functools.lru_cache(100_000)
def fold(text: str) -> str:
    """What spellings share: words in lower case without accents, plurals and what stands between; numbers by value.

    >>> fold("Pleural_Thickenings"), fold("pleural-thickening"), fold(" 1.0 "), fold("-1")
    ('pleural thickening', 'pleural thickening', '1', '-1')
    """
    text = text.strip().translate(DASHES)
    if _NUMBER.fullmatch(text):
        return str(int(float(text.replace(",", "."))))
    return " ".join(_singular(word) for word in re.findall(r"[^\W_]+", _without_accents(text)))


def is_words(text: str) -> bool:
    """True of words alone, and nothing beside them that might mean something, such as a dash at the end."""
    return _WORDS.fullmatch(_without_accents(text.strip())) is not None


def key(text: str) -> str:
    """`fold` of words and numbers; of a text with other signs, which may mean something, the text in lower case."""
    text = text.strip().translate(DASHES)
    if _NUMBER.fullmatch(text) or is_words(text):
        return fold(text)
    return " ".join(text.casefold().split())


Phrase: TypeAlias = tuple[str, ...]  # folded words


def _phrases(texts: Iterable[str]) -> frozenset[Phrase]:
    return frozenset(tuple(fold(text).split()) for text in texts)


NOTHING = frozenset(map(fold, MISSING))
KINDS, EXTENTS = _phrases(PNEUMONIA_KINDS), _phrases(QUALIFIERS)
BESIDE = KINDS | EXTENTS | _phrases(FILLERS)  # what leaves a finding what it is
PREFIXES = {"absent": _phrases(NEGATIONS), "uncertain": _phrases(HEDGES)}
ENDINGS = {"absent": _phrases(NEGATED), "uncertain": _phrases(HEDGED), "present": _phrases(AFFIRMED)}
_DOUBTFUL = frozenset[Phrase]().union(*PREFIXES.values(), *ENDINGS.values(), _phrases(DOUBTS))
STATES = _DOUBTFUL | _phrases((*ONES, *ZEROS, *UNCERTAIN))


def says_state(text: str) -> bool:
    """True of a text with a word that says whether a finding is there: "negative", "not sure"; not "patient no 5"."""
    padded = re.sub(r" no (?=[0-9])", " ", f" {fold(text)} ")
    return any(f" {' '.join(phrase)} " in padded for phrase in _DOUBTFUL)
