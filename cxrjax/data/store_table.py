"""A store's table: what a source's table, its folders and its DICOM headers say of the images that were read."""

from __future__ import annotations

import pandas as pd

from cxrjax.data import attributes, copies, patients, sources
from cxrjax.data.dicom import Details
from cxrjax.data.reading import Done
from cxrjax.data.sources import Bad, Source
from cxrjax.storage.store import COLUMNS


def table_of(source: Source, done: list[Done]) -> tuple[pd.DataFrame, list[str], patients.Account, list[Bad]]:
    """The table's rows of these images, in its order, with what their DICOM headers add; what was understood of them,
    a sentence each; whose they are; and which have equal pixels."""
    nothing = ("",) * len(source.table)
    table = source.table.assign(by_pattern=source.patients or nothing, class_folder=source.folders or nothing)
    table = table[table["image"].isin({image.image for image in done})].reset_index(drop=True)
    headers = pd.DataFrame([image.details for image in done], columns=list(Details._fields), dtype=str)
    notes = list(source.notes)
    for name, of_column, of_header in _attributes(source, headers):
        in_column = table[name] != ""
        written = table[name].where(in_column, headers[name])
        table[name] = table[name].map(of_column).where(in_column, headers[name].map(of_header))
        notes.append(attributes.line(name, written, table[name]))
    written = table["age"].astype(object).where(table["age"].notna(), "").astype(str)
    written = written.where(written != "", headers["age"])
    table["age"] = sources.years(written)
    unread = written[(written != "") & table["age"].isna()]
    notes.append(f"age: {len(unread)} not understood, such as {unread.iloc[0]!r}: unknown" if len(unread) else "")
    ids = {patients.REGEX: table["by_pattern"], patients.COLUMN: table["patient"], patients.HEADER: headers["patient"]}
    table["patient"], account = patients.resolve(
        list(table["image"]), ids, list(table["class_folder"]), list(table["labels"])
    )
    table, equal = copies.without_copies(table, [image.sha256 for image in done])
    left_out = account.images - len(table)
    account = account._replace(images=len(table), unknown=account.unknown - left_out)
    copied = f"{left_out} images of unknown patients have the same pixels as others and are left out (bad_images.csv)"
    notes += [*account.lines(), copied if left_out else ""]
    problems = [Bad(image, image, reason, is_out, passed_over=is_out) for image, reason, is_out in equal]
    return table[list(COLUMNS)], [note for note in notes if note], account, problems


def _attributes(source: Source, headers: pd.DataFrame) -> list[tuple[str, dict[str, str], dict[str, str]]]:
    """Sex and view: value as written -> as read, in the source's column and in the headers."""
    sex, view = (source.meanings.get(name, {}) for name in ("sex", "view"))
    read_sex, read_view = attributes.read_sex, attributes.read_view
    return [
        ("sex", read_sex(source.table["sex"], sex), read_sex(headers["sex"], sex, standard=True)),
        ("view", read_view(source.table["view"], view), read_view(headers["view"], view)),
    ]
