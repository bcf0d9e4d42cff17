"""Sex and view by the set of values of their column."""

import pytest

from cxrjax.base import InputError
from cxrjax.data.attributes import fold_meanings, line, read_sex, read_view


@pytest.mark.parametrize(
    ("values", "sexes"),
    [
        ("F M", "F M"),
        ("m F O", "M F "),
        ("H M", "M F"),  # hombre, mujer
        ("H F", "M F"),  # homme, femme
        ("m w", "M F"),
        ("M K", "M F"),  # man, kvinna
        ("V M", " "),  # varón and mujer, or vrouw and man
        ("V M Varón", "M F M"),
        ("V M vrouw", "F M F"),
        ("M", ""),
        ("M O", " "),
        ("F", "F"),
        ("Mujer Hombre", "F M"),
        ("Mujer Hombre M F", "F M M F"),
        ("Mujer Hombre M H", "F M F M"),
        ("Mujer Hombre M", "F M "),
        ("Mujer Homme M F", "F M  F"),  # of two languages: M may be either's
        ("male FEMALE Man", "M F M"),
        ("weiblich männlich", "F M"),
        ("0 1", " "),
        ("1 2", " "),
        ("M F 7", "M F "),
        ("男 女", "M F"),
    ],
)
def test_sex_is_read_by_the_set_of_values(values, sexes):
    assert list(read_sex(values.split()).values()) == sexes.split(" ")


def test_the_standard_decides_a_doubt_and_no_more():
    assert read_sex(["M", "O"], standard=True) == {"M": "M", "O": ""}
    assert read_sex(["Mujer", "M"], standard=True) == {"Mujer": "F", "M": "M"}
    assert read_sex(["H", "M"], standard=True) == {"H": "M", "M": "F"}  # typed by someone who did not know it


def test_what_the_user_says_stands_above():
    numbers = fold_meanings("sex", {"1": "M", "2": "f"})
    assert read_sex(["1", "2", "3", "F"], numbers) == {"1": "M", "2": "F", "3": "", "F": "F"}
    assert read_sex(["M", "V"], fold_meanings("sex", {"V": "M", "m": "F"})) == {"M": "F", "V": "M"}
    assert read_view(["0", "1"], fold_meanings("view", {"0": "AP", "1": "PA"})) == {"0": "AP", "1": "PA"}
    with pytest.raises(InputError, match=r"--columns=sex=... must say F, M of each value, not WOMAN"):
        fold_meanings("sex", {"1": "woman"})


@pytest.mark.parametrize(
    ("view", "texts"),
    [
        (
            "PA",
            ["PA", "pa", "P-A", "p.a.", "postero-anterior", "Posteroanterior", "Chest PA", "PA erect", "Frontal PA"],
        ),
        ("AP", ["AP", "AP supine", "Antero Posterior", "ap_portable", "AP_horizontal", "Antéro-postérieur"]),
        ("LATERAL", ["L", "Lat", "LATERAL", "Profil"]),
        ("LL", ["LL", "left lateral"]),
        ("RLD", ["RLD"]),
        ("", ["", "Frontal", "0", "PA/AP", "PA and lateral", "COSTAL", "UNKNOWN"]),
    ],
)
def test_views(view, texts):
    assert read_view(texts) == dict.fromkeys(texts, view)


def test_what_was_read_as_what_is_told():
    def read(written):
        return line("sex", written, [read_sex(written)[text] for text in written])

    assert read(["Mujer", "M", "Mujer", "", "O"]) == (
        "sex: 'Mujer' is F (2); unknown: 'M' (1), none (1), 'O' (1); --columns=sex=NAME:M=... says what a value means"
    )
    assert read(["F", "M", "M"]) == "sex: M (2), F (1)"
    assert "--columns" not in read(["F", "O", ""])
    assert read(["", ""]) == ""
    assert "'z5' (1) and 3 more" in read([f"z{i}" for i in range(9)])


def test_values_of_other_columns_mean_what_they_say():
    with pytest.raises(InputError, match="the meaning of values only for sex and view, not for age"):
        fold_meanings("age", {"1": "M"})
