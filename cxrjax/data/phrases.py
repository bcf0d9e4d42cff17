"""The words of one label: which findings they name, as present, absent or uncertain. Used by `cxrjax.data.labels`."""

from __future__ import annotations

import difflib
import functools
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from cxrjax.base import InputError, tasks
from cxrjax.base.tasks import ABSENT, OPEN
from cxrjax.data import vocabulary as words
from cxrjax.data.vocabulary import DASHES, NO_FINDING, PNEUMONIA, Phrase, fold, is_words, key

_STRONG, _WEAK = re.compile(r"[|;\n\t]"), re.compile(r"[,/+&]")
_SEPARATING = re.compile(rf"[_-]?(?<![^\W_])(?:{'|'.join(words.AND)})(?![^\W_])[_-]?", re.IGNORECASE)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_ENCLOSED = re.compile(r"(['\"])(.*)\1")
_QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "«": '"', "»": '"'})
_DENIED = re.compile(r"(?:^|(?<=[|;]))\s*-\s*(?=[^\W\d])")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Unread(ValueError):
    """A label that is not understood, or contradicts itself."""

    def __init__(self, parts: Sequence[str] = (), contradiction: str = "") -> None:
        """`parts` are what is not understood; `contradiction` says what it is, of a label that is."""
        super().__init__(contradiction or ", ".join(parts))
        self.parts, self.contradiction = parts, contradiction


class Item(NamedTuple):
    """What one part of a label says."""

    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    is_open: bool = False  # says that something is not known
    kind: str = ""  # kinds of pneumonia alone, which mean something only beside it
    unread: str = ""  # what is not understood
    reach: str = ""  # absent or uncertain by a word that may be meant for what follows, or for what is before, too


def _said(state: str, findings: Phrase) -> Item:
    """Findings that are present, absent or uncertain."""
    present, absent, uncertain = (findings if state == name else () for name in ("present", "absent", "uncertain"))
    return Item(present, absent, uncertain)


@dataclass(frozen=True)
class Vocabulary:
    """How words are read: known findings and their synonyms, and above them what the user says.

    Known are NIH's 14, CheXpert's others, tuberculosis, the findings of registered tasks, and what `classes` names.
    """

    classes: Mapping[str, str] = field(default_factory=dict)  # a label as written, or a part of it -> labels, or ?
    other_findings: str = "refuse"  # or keep: what is not understood is a finding of its own
    uncertain: str = "unknown"  # or positive, negative

    @functools.cached_property
    def findings(self) -> dict[str, str]:
        """Folded name or synonym -> finding, as labels spell it."""
        spellings = {fold(name): name for item in self._entries.values() for name in item.present}
        for task in tasks.TASKS.values():
            classes = (task.positive, task.negative, *task.counted)
            spellings |= {fold(name): name for c in classes for name in c.finding.split("|")}
        for finding, synonyms in words.SYNONYMS.items():
            spellings |= {fold(name): finding for name in (finding, *synonyms)}
        return {name: finding for name, finding in spellings.items() if name and name not in words.NOTHING}

    @functools.cached_property
    def _by_phrase(self) -> dict[Phrase, str]:
        return {tuple(name.split()): finding for name, finding in self.findings.items()}

    def _holds_finding(self, text: str) -> bool:
        return any((word,) in self._by_phrase for word in fold(text).split())

    @functools.cached_property
    def _squeezed(self) -> dict[str, Phrase]:
        """Names without their blanks: nofinding, pleuralthickening."""
        return {"".join(phrase): phrase for phrase in self._by_phrase}

    @functools.cached_property
    def _entries(self) -> dict[str, Item]:
        return {key(text): self._of_entry(text, labels) for text, labels in self.classes.items()}

    @functools.cached_property
    def _kept(self) -> dict[str, str]:
        """Folded -> as it was first met: spellings of a finding that is not known are one finding."""
        return {}

    @functools.cached_property
    def _keeping(self) -> Vocabulary:
        """The same without entries, which keeps what is not understood."""
        return replace(self, classes={}, other_findings="keep")

    @functools.cached_property
    def strict(self) -> Vocabulary:
        """The same, with nothing kept that is not understood."""
        return replace(self, other_findings="refuse")

    def _of_entry(self, text: str, labels: str) -> Item:
        """What an entry's labels say, as they are read without entries; a name like no known word is a new finding."""
        try:
            said = self._keeping.read(_DENIED.sub("no ", labels)).split("|")
        except Unread as error:
            raise InputError(f"--classes={text}={labels} says {error}") from error
        names = [name for name in said if name not in ("", OPEN) and not name.startswith(ABSENT)]
        for name in set(names).difference(self._keeping.findings.values()):
            near = self._keeping.near(name)
            if near or words.says_state(name) or self._keeping._holds_finding(name) or key(name).isdigit():
                raise InputError(f"--classes={text}={labels}: {name!r} is no known finding{near}")
        absent = tuple(name.removeprefix(ABSENT) for name in said if name.startswith(ABSENT))
        return Item(tuple(names), absent, is_open=bool({"", OPEN} & set(said)))

    def near(self, text: str) -> str:
        """A known finding that is spelled nearly so, for messages; normal is not near abnormal."""
        near = [] if self._holds_finding(text) else difflib.get_close_matches(fold(text), self.findings, 1, 0.8)
        finding = self.findings[near[0]] if near else NO_FINDING
        return "" if finding == NO_FINDING else f", perhaps {finding}?"

    def finding(self, text: str) -> str | None:
        """The finding that a name or synonym means, or None."""
        return self.findings.get(key(text))

    def entry(self, text: str) -> Item | None:
        """What the user's `classes` say of a text, or None."""
        return self._entries.get(key(text))

    @staticmethod
    def is_missing(text: str) -> bool:
        """True of blanks, nan, unknown and other words for no label."""
        return text.strip() in ("", OPEN, "-", "--") or fold(text) in words.NOTHING

    @staticmethod
    def item(finding: str, state: str) -> Item:
        """A finding that is present, absent, uncertain or missing, where nothing is said of others."""
        if state == "missing" or (state == "absent" and finding == NO_FINDING):
            return Item(is_open=True)
        return _said(state, (finding,))._replace(is_open=True)

    def read(self, text: str) -> str:
        """Labels of one text; "" where nothing is known.

        >>> [Vocabulary().read(t) for t in ("infiltrates; Pneumonia/Viral", "No pneumonia", "possible Mass", "nan")]
        ['Infiltration|Pneumonia', '-Pneumonia', '', '']

        Raises:
          Unread: if a part of it is not understood, or it contradicts itself.
        """
        return self.join(self._items(text))

    def _known(self, text: str) -> Item | None:
        """A text, or part of one, that is known as it stands."""
        if entry := self.entry(text):
            return entry
        if self.is_missing(text):
            return Item(is_open=True)
        finding = self.finding(text)
        return Item(present=(finding,)) if finding else None

    def _items(self, text: str) -> list[Item]:
        """Parts of a list; a printed one has brackets and quotes, and then a comma within quotes is none of its own."""
        if known := self._known(text):
            return [known]
        text = text.strip().translate(_QUOTES)
        if text[0] + text[-1] in ("[]", "()", "{}"):
            text = text[1:-1].strip()
        quoted = [single or double for single, double in _QUOTED.findall(text)]
        is_printed = quoted and not _QUOTED.sub("", text).strip(" ,;|\n")
        parts = quoted if is_printed else _STRONG.split(text)
        return [item for part in parts if part.strip() for item in self._sentence(part)] or [Item(is_open=True)]

    def _sentence(self, text: str) -> list[Item]:
        """What stands between strong separators: findings joined by commas, slashes, "and"."""
        if known := self._known(text):
            return [known]
        parts = [part for piece in _WEAK.split(text) for part in _SEPARATING.split(piece)]
        items = [self._part(part) for part in parts if part.strip()]
        return [self._unread(text)] if any(itertools.starmap(_is_shared, itertools.pairwise(items))) else items

    def _part(self, text: str) -> Item:
        """One part without separators."""
        text = _ENCLOSED.sub(r"\2", text.strip())
        item = self._known(text) or self._phrase(text)
        return item or self._unread(text)

    def _unread(self, text: str) -> Item:
        """What is not understood, or kept as a finding of its own."""
        reach = "both" if words.says_state(text) or tuple(fold(text).split()) in words.STATES else ""
        if self.other_findings != "keep":
            return Item(unread=text.strip(), reach=reach)
        # A known finding's word in it may mean anything: then it does not say that the others are absent.
        name = " ".join(text.split()).strip(" -?'\"[](){}")
        name = "" if self.finding(name) else name  # "-Mass" is no Mass
        is_open = not name or self._holds_finding(name)
        return Item(present=(self._kept.setdefault(fold(name), name),) if name else (), is_open=is_open, reach=reach)

    def _phrase(self, text: str) -> Item | None:
        """Words that are understood one and all, or None."""
        text = re.sub(r"[()\[\]:=]", " ", text.translate(DASHES)).strip()
        is_hedged, hedge_is_last = "?" in (text[:1], text[-1:]), not text.startswith("?")
        text = text.strip("? ")
        if not is_words(text):
            return None
        phrase = self._squeezed.get(fold(text).replace(" ", "")) or tuple(fold(text).split())
        if self._cover(phrase) is None:
            phrase = tuple(fold(_CAMEL.sub(" ", text)).split())
        covered = self._cover(phrase)
        if is_hedged:
            return self._say("uncertain", phrase, "before" if hedge_is_last else "after")
        if covered is not None:
            return Item(present=covered) if covered else Item(kind=text)
        for state, prefixes in words.PREFIXES.items():
            for length in (3, 2, 1):
                if phrase[:length] in prefixes:
                    return self._say(state, phrase[length:], "after")
        for state, endings in words.ENDINGS.items():
            for length in (2, 1):
                if phrase[-length:] in endings:
                    return self._say(state, phrase[:-length], "before")
        return None

    def _say(self, state: str, phrase: Phrase, reach: str) -> Item | None:
        """That a finding is in a state; None where it is unclear which: "no viral pneumonia" may be a bacterial one."""
        covered = (self._by_phrase[phrase],) if phrase in self._by_phrase else self._cover(phrase)
        if not covered or len(covered) > 1 or NO_FINDING in covered:
            return None
        if state == "absent" and phrase not in self._by_phrase:
            return None
        return _said(state, covered)._replace(reach=reach)

    def _cover(self, phrase: Phrase) -> Phrase | None:
        """Findings that words name, longest names first; () of kinds of pneumonia alone; None if a word is left."""
        findings: list[str] = []
        kinds = qualifiers = place = 0
        while place < len(phrase):
            for end in range(len(phrase), place, -1):
                piece = phrase[place:end]
                if piece in self._by_phrase:
                    findings.append(self._by_phrase[piece])
                elif piece not in words.BESIDE:
                    continue
                kinds += piece in words.KINDS
                qualifiers += piece in words.EXTENTS
                place = end
                break
            else:
                return None
        if qualifiers and (not findings or NO_FINDING in findings):
            return None
        if findings:
            return tuple(findings) if not kinds or PNEUMONIA in findings else None
        return () if kinds else None

    def join(self, items: list[Item]) -> str:
        """One text of all parts: present in the order as written, absent, and whether the list is open.

        Raises:
          Unread: if a part is not understood, or they contradict each other.
        """
        present = dict.fromkeys(name for item in items for name in item.present)
        absent = dict.fromkeys(name for item in items for name in item.absent)
        uncertain = dict.fromkeys(name for item in items for name in item.uncertain)
        unread = [item.unread for item in items if item.unread]
        kinds = [item.kind for item in items if item.kind and PNEUMONIA not in present]
        if self.other_findings == "keep":
            present |= dict.fromkeys(self._kept.setdefault(fold(kind), kind) for kind in kinds)
        else:
            unread += kinds
        if unread:
            raise Unread(unread)
        is_open = any(item.is_open for item in items) or (bool(uncertain) and self.uncertain == "unknown")
        if self.uncertain == "positive":
            present |= uncertain
        elif self.uncertain == "negative":
            absent |= uncertain
        _refuse_contradictions(present, absent)
        listed = list(present) if NO_FINDING in present else [*present, *(ABSENT + name for name in absent)]
        return "|".join([*listed, OPEN] if is_open and listed == list(present) and listed else listed)


def _is_shared(item: Item, after: Item) -> bool:
    """Whether "no effusion, pneumonia", "effusion, pneumonia absent" or "pneumonia, negative" may deny both or one."""
    before_too = after.reach == "before" != item.reach and not after.present
    return "both" in (item.reach, after.reach) or item.reach == "after" != after.reach or before_too


def _refuse_contradictions(present: Iterable[str], absent: Iterable[str]) -> None:
    both = sorted(set(present) & set(absent))
    if both:
        raise Unread(contradiction=f"{both[0]} and no {both[0]}")
    others = sorted(set(present) - {NO_FINDING, words.DEVICES})
    if NO_FINDING in present and others:
        raise Unread(contradiction=f"{NO_FINDING} and {', '.join(others)}")
