"""Codes with values survive text."""

import pytest

from cxrjax.base import codes


def test_codes_come_back_from_their_text_with_every_value():
    text = codes.join([codes.code("settings_differ", names="out", a="a b; c=d", b="é\n"), "", codes.code("no_image")])
    assert codes.parse(text) == [("settings_differ", {"names": "out", "a": "a b; c=d", "b": "é\n"}), ("no_image", {})]
    assert codes.parse("") == []
    assert codes.parse(codes.tag(text, metric="auroc"))[1] == ("no_image", {"metric": "auroc"})


@pytest.mark.parametrize("given", [("no_such_code", {}), ("undefined_in_seeds", {"n": 1}), ("no_image", {"n": 1})])
def test_other_codes_and_values_are_refused(given):
    name, values = given
    with pytest.raises(ValueError, match=name):
        codes.code(name, **values)
