"""What a reader of a run must know: weights that have seen the images that they are tested on."""

import dataclasses

import pytest

from cxrjax.base.codes import code
from cxrjax.models import registry
from cxrjax.models.pretrained import Weights, WeightsInfo
from cxrjax.report.language import language, reasons
from cxrjax.runs import notes

INFO = WeightsInfo("torchxrayvision", "x.pth", "0", "alexnet", (), registry.TORCHVISION)
NIH = ["00000013_005.png", "images/00000099_000.png", "00013992_001.png"]


def weights(*trained_on):
    return Weights({}, dataclasses.replace(INFO, trained_on=trained_on))


@pytest.mark.parametrize("trained_on", [("NIH",), ("CheXpert", "RSNA"), ("SIIM",), ("Google",)])
def test_weights_that_have_seen_nihs_images_are_told_where_there_are_some(trained_on):
    seen = notes.seen_by_weights(weights(*trained_on), [*NIH, "person1_bacteria_2.jpeg"])
    assert seen == {"n": 3, "of": 4, "trained_on": ",".join(trained_on)}
    for lang, word in (("en", "WARNING"), ("es", "ATENCIÓN")):
        sentence = reasons(code("weights_have_seen", **seen), language(lang))
        assert sentence.startswith(word) and ", ".join(trained_on) in sentence and "3" in sentence


@pytest.mark.parametrize(
    ("pretrained", "images"),
    [
        (None, NIH),
        (weights("ImageNet"), NIH),
        (weights("CheXpert", "MIMIC"), NIH),
        (weights("NIH"), ["person1_bacteria_2.jpeg", "10000013_005.png", "00000013.png"]),
    ],
)
def test_others_are_not(pretrained, images):
    assert notes.seen_by_weights(pretrained, images) is None
