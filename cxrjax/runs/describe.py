"""A data set at a glance: who is in it, where the classes differ beside the lungs, what is missing, bad or there twice.

Tables are DataFrames, contact sheets arrays; `write` makes files of them. P, NP and NF are those of
`tasks.PNEUMONIA_CLASSES` (NF is part of NP); "other" is NP without NF.
Shares are 0..1, and NaN where there is nothing to take a share of.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxrjax.analysis import subgroups as groupings
from cxrjax.base import files
from cxrjax.base.tasks import PNEUMONIA_CLASSES, present
from cxrjax.data import classes
from cxrjax.report import pages
from cxrjax.report.figures import sheets
from cxrjax.report.language import ENGLISH
from cxrjax.report.rows import enlarged
from cxrjax.storage.store import BAD_COLUMNS, About, ImageStore, hash_rows, patient_ids, read_bad_images

CLEAR_DIFFERENCE, CLEAR_ERRORS = 0.10, 2.5  # of two shares, and in its standard errors
SHOWN = 100  # rows of a long table on the page; its file has them all
_SHEETS = ("P", "NF", "other", "unlabelled")  # classes with a sheet of images


class Description(NamedTuple):
    """What is known of a data set; each table is documented where it is made."""

    about: About
    classes: pd.DataFrame
    groups: pd.DataFrame
    differences: pd.DataFrame
    findings: pd.DataFrame
    images_a_patient: pd.DataFrame
    most_images: int  # of one patient
    patients_unknown: int  # images; each counts as a patient of its own
    duplicates: pd.DataFrame
    bad: pd.DataFrame  # what was left out or is doubtful: `store.BAD_COLUMNS`


def describe(store: ImageStore, about: About) -> Description:
    """All tables of a data set; reads every pixel once, an image at a time."""
    table = store.table.assign(patient=patient_ids(store.table))
    unknown = int((store.table["patient"] == "").sum())
    classes, groups = class_counts(table, about.listed), group_counts(table)
    patients = dict(zip(classes["class"], classes["patients"], strict=True))
    differences, most_images = clear_differences(groups, patients), int(table["patient"].value_counts().max())
    by_patient, alike, bad = images_a_patient(table), duplicates(store), bad_images(store, about)
    tables = (classes, groups, differences, findings(table), by_patient)
    return Description(about, *tables, most_images, unknown, alike, bad)


def members(labels: pd.Series) -> dict[str, np.ndarray]:
    """Membership of P, NP, NF, other and unlabelled as {class: [N] bool}, from labels as in a store."""
    member = {c.name: classes.members(labels, c) for c in PNEUMONIA_CLASSES}
    return {**member, "other": member["NP"] & ~member["NF"], "unlabelled": (labels == "").to_numpy(bool)}


def class_counts(table: pd.DataFrame, listed: Mapping[str, int]) -> pd.DataFrame:
    """Size of each class.

    Args:
      table: of a store.
      listed: `About.listed`, label as written -> images in the source's table.

    Returns:
      A row for P, NP, NF, other, unlabelled and all: class, images, patients, listed, missing (listed but not there:
      never downloaded, or bad); the last two are NA where nothing is listed.
    """
    in_list = members(pd.Series(list(listed), dtype=str))
    number = np.fromiter(listed.values(), int, len(listed))
    rows = []
    for name, member in {**members(table["labels"]), "all": np.ones(len(table), bool)}.items():
        expected = number[in_list.get(name, np.ones(len(number), bool))].sum() if listed else pd.NA
        rows.append((name, int(member.sum()), table["patient"][member].nunique(), expected))
    result = pd.DataFrame(rows, columns=["class", "images", "patients", "listed"]).astype({"listed": "Int64"})
    return result.assign(missing=result["listed"] - result["images"])


def group_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Images by view, sex, age, follow-up and split, crossed with the classes.

    Returns:
      A row a group: variable, group, images, patients, then images of P, NP, NF, other, unlabelled, then share_P,
      share_NP, share_NF, share_other: which share of that class's images is in this group.
    """
    member = pd.DataFrame(members(table["labels"]), index=table.index)
    parts = []
    for variable, group in _groupings(table).items():
        by = group.rename("group")
        part = member.groupby(by, observed=True).sum()
        part.insert(0, "images", by.value_counts())
        part.insert(1, "patients", table["patient"].groupby(by, observed=True).nunique())
        part.insert(0, "variable", variable)
        parts.append(part.reset_index().astype({"group": str}))
    result = pd.concat(parts, ignore_index=True)
    for name in ("P", "NP", "NF", "other"):
        result[f"share_{name}"] = result[name] / (member[name].sum() or np.nan)
    return result[["variable", "group", *result.columns.drop(["variable", "group"])]]


def _groupings(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Variable -> group of each image, a categorical in the order of a table."""
    return {
        "view": groupings.named(table["view"]),
        "sex": groupings.named(table["sex"]),
        "age": groupings.age_band(table["age"]),
        "follow-up": groupings.followup_band(table["followup"]),
        "split": groupings.named(table["split"]),
    }


def clear_differences(groups: pd.DataFrame, patients: Mapping[str, int]) -> pd.DataFrame:
    """Where view, sex, age or follow-up differ between P and NF or NP, so that a network may learn them instead.

    Two shares differ clearly if they do by `CLEAR_DIFFERENCE` and by `CLEAR_ERRORS` standard errors of two proportions,
    in which patients count, since the images of one are alike. Of each variable the group that differs most is told.

    Args:
      groups: see `group_counts`.
      patients: of each class.

    Returns:
      A row a variable with a clear difference: variable, group, share_P, share_NF, share_NP.
    """
    p, n = groups["share_P"], patients["P"]
    gaps = pd.DataFrame({name: _clear_gap(p, groups[f"share_{name}"], n, patients[name]) for name in ("NF", "NP")})
    most = gaps.max(axis=1).round(9).where(groups["variable"] != "split").dropna()  # of AP and PA alike the first
    rows = most.groupby(groups["variable"], sort=False).idxmax()
    return groups.loc[rows, ["variable", "group", "share_P", "share_NF", "share_NP"]].reset_index(drop=True)


def _clear_gap(p: pd.Series, q: pd.Series, n: int, m: int) -> pd.Series:
    """Absolute differences of shares of n and of m patients, NaN where not clear."""
    gap, pooled = (p - q).abs(), (p * n + q * m) / ((n + m) or np.nan)
    error = (pooled * (1 - pooled).clip(lower=0) * (n + m) / (n * m or np.nan)) ** 0.5
    return gap.where((gap >= CLEAR_DIFFERENCE) & (gap > CLEAR_ERRORS * error))


def findings(table: pd.DataFrame) -> pd.DataFrame:
    """How often each label occurs, and with pneumonia.

    Returns:
      A row a label, most frequent beside pneumonia first: finding, images, patients, alone (images with no other
      label), in_P (images), share_of_P, in_NP, share_of_NP.
    """
    member = members(table["labels"])
    each = pd.DataFrame({"image": np.arange(len(table)), "patient": table["patient"].to_numpy(), "in_P": member["P"]})
    each["finding"] = [sorted(present(labels)) for labels in table["labels"]]
    each["alone"] = each["finding"].str.len() == 1
    each = each[~member["unlabelled"]].explode("finding").dropna(subset="finding")
    result = each.groupby("finding", as_index=False).agg(
        images=("image", "size"), patients=("patient", "nunique"), alone=("alone", "sum"), in_P=("in_P", "sum")
    )
    result["share_of_P"] = result["in_P"] / (member["P"].sum() or np.nan)
    result["in_NP"] = result["images"] - result["in_P"]
    result["share_of_NP"] = result["in_NP"] / (member["NP"].sum() or np.nan)
    return result.sort_values(["in_P", "images", "finding"], ascending=[False, False, True], ignore_index=True)


def images_a_patient(table: pd.DataFrame) -> pd.DataFrame:
    """Patients by how many images they have: images_a_patient (a band), patients, images."""
    number = table["patient"].value_counts()
    by = number.groupby(groupings.images_band(number).rename("images_a_patient"), observed=False)
    return by.agg(patients="size", images="sum").reset_index().astype({"images_a_patient": str})


def duplicates(store: ImageStore) -> pd.DataFrame:
    """Groups of images whose pixels are equal.

    Returns:
      A row an image that is not alone: group (0, 1, ... as they come), image, patient, labels, across_patients and
      across_labels (bool, of its group).
    """
    hashes = hash_rows(store.images, np.arange(len(store.images)))
    digests = pd.Series([hashes[row] for row in range(len(hashes))], dtype=object)
    result = store.table[["image", "patient", "labels"]].reset_index(drop=True)
    result.insert(0, "group", digests)
    result = result[digests.duplicated(keep=False)]
    result = result.assign(group=pd.factorize(result["group"])[0])
    for name, column in (("across_patients", "patient"), ("across_labels", "labels")):
        result[name] = result.groupby("group")[column].transform("nunique") > 1
    return result.sort_values("group", kind="stable", ignore_index=True)


def bad_images(store: ImageStore, about: About) -> pd.DataFrame:
    """What was left out or is doubtful, as `store.read_bad_images`; of a store in memory only what `about` says."""
    if store.folder:
        return read_bad_images(store.folder)
    rows = [(image, image, True, False, reason) for image, reason in about.bad_images.items()]
    return pd.DataFrame(rows, columns=list(BAD_COLUMNS)).astype({"left_out": bool, "passed_over": bool})


def contact_sheets(store: ImageStore, seed: int) -> dict[str, np.ndarray]:
    """Some images of each class that has any: class (P, NF, other, unlabelled) -> u8 [height, width]."""
    member, drawn = members(store.table["labels"]), {}
    for name in _SHEETS:
        rows = sheets.contact_rows(store.table, member[name], seed)
        title = f"{name}: {len(rows)} of {member[name].sum():,} images, drawn with seed {seed}"
        if len(rows):
            drawn[name] = sheets.contact_sheet(store.images, store.table, rows, title)
    return drawn


def summary(description: Description) -> dict[str, Any]:
    """What describe.json holds: the counts, and `notes`, sentences that a user of the data should know."""
    sizes = description.classes.astype(object).where(description.classes.notna(), None).set_index("class")
    groups = description.duplicates.drop_duplicates("group")
    return {
        "source": description.about.source,
        "made": description.about.made,
        "enlarged": description.about.enlarged,
        "classes": sizes.to_dict("index"),
        "most_images_of_a_patient": description.most_images,
        "patients_unknown": description.patients_unknown,
        "left_out": int((description.bad["left_out"] & ~description.bad["passed_over"]).sum()),
        "doubtful": int((~description.bad["left_out"]).sum()),
        "duplicates": {
            "groups": len(groups),
            "images": len(description.duplicates),
            "across_patients": int(groups["across_patients"].sum()),
            "across_labels": int(groups["across_labels"].sum()),
        },
        "notes": notes(description),
    }


def notes(description: Description) -> list[str]:
    """Sentences on what may mislead a network or its user."""
    sentences = []
    if unknown := description.patients_unknown:
        of = int(description.classes.set_index("class")["images"]["all"])
        sentences.append(f"The patient of {unknown} of the {of} images is unknown. Each counts as a separate patient.")
    for row in description.differences.to_dict("records"):
        shares = [
            f"{100 * row[f'share_{name}']:.0f} % of {name}" for name in ("P", "NF", "NP") if row[f"share_{name}"] >= 0
        ]
        what = f"{row['variable'].capitalize()}: “{row['group']}” is {', '.join(shares)}"
        sentences.append(f"{what}. A network may use such a difference instead of the disease.")
    groups = description.duplicates.drop_duplicates("group")
    for column, what in (("patients", "patients, so they may be on both sides of a split"), ("labels", "labels")):
        if number := int(groups[f"across_{column}"].sum()):
            sentences.append(f"{number} group(s) of identical images have different {what}.")
    if wrong := int(description.groups["images"][description.groups["group"] == groupings.IMPOSSIBLE_AGE].sum()):
        sentences.append(f"{wrong} image(s) have an age {groupings.IMPOSSIBLE_AGE} years. This must be a typing error.")
    if without := int(description.classes["images"][description.classes["class"] == "unlabelled"].sum()):
        sentences.append(f"{without} image(s) have no label and belong to no class.")
    return sentences


def sentence(description: Description, where: Path) -> str:
    """The description in one line; `where` is its page."""
    counts = summary(description)
    images, equal = {name: row["images"] for name, row in counts["classes"].items()}, counts["duplicates"]
    unlabelled = f", {images['unlabelled']} unlabelled" if images["unlabelled"] else ""
    differing = ", ".join(description.differences["variable"])
    differing = f"P differs clearly from NF or NP in {differing}; " if differing else ""
    return (
        f"describe: {images['all']} images of {counts['classes']['all']['patients']} patients; {images['P']} P, "
        f"{images['NP']} NP ({images['NF']} NF){unlabelled}; {counts['left_out']} bad, {counts['doubtful']} doubtful; "
        f"{equal['groups']} group(s) of identical images, {equal['across_patients']} across patients; "
        f"{differing}page: {where}"
    )


def html(description: Description, pictures: Mapping[str, bytes]) -> str:
    """One HTML page with its pictures (class -> PNG) inside."""
    tables = {name: table for name, table in description._asdict().items() if isinstance(table, pd.DataFrame)}
    told = ~description.groups["group"].isin((groupings.UNKNOWN, groupings.NO_FOLLOWUP))
    unknown = ~told.groupby(description.groups["variable"]).transform("any")  # of variables that say nothing
    values = {
        **{name: table.astype(object).to_dict("records") for name, table in tables.items()},
        "groups": description.groups[~unknown].astype(object).to_dict("records"),
        "unknown": ENGLISH.listed(list(dict.fromkeys(description.groups["variable"][unknown]))),
        "summary": summary(description),
        "enlarged": enlarged(description.about.enlarged, ENGLISH),
        "pictures": {name: pages.inline(png) for name, png in pictures.items()},
        "shown": SHOWN,
        "clear": {"points": round(100 * CLEAR_DIFFERENCE), "errors": CLEAR_ERRORS},
    }
    return pages.html("describe.html.jinja", ENGLISH, values)


def write(folder: Path, description: Description, drawn: Mapping[str, np.ndarray]) -> None:
    """Writes tables, sheets, describe.json and, last, describe.html; a sheet of an earlier data set does not stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("classes", "groups", "findings", "images_a_patient", "duplicates"):
        table: pd.DataFrame = getattr(description, name)
        files.write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.7g"))
    pictures = {name: pages.png(sheet) for name, sheet in drawn.items()}
    for name in _SHEETS:
        (folder / f"contact_{name.lower()}.png").unlink(missing_ok=True)
    for name, png in pictures.items():
        files.write_bytes(folder / f"contact_{name.lower()}.png", png)
    files.write_json(folder / "describe.json", summary(description))
    files.write_text(folder / "describe.html", html(description, pictures))
