"""What a reader of a run must know: weights that have seen the images that they are tested on, an uneven split."""

import dataclasses

import pandas as pd
import pytest

from cxrjax.base.codes import code
from cxrjax.base.config import ExperimentConfig
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


@pytest.mark.parametrize(("n_val", "told"), [(38, True), (24, False)])
def test_a_split_far_from_its_share_names_the_largest_patient(n_val, told):
    config = ExperimentConfig("p_vs_nf", "p_vs_nf", val_fraction=0.5)
    seeds = pd.DataFrame({"n_train": [45 - n_val], "n_val": [n_val], "contaminated_share": [0.0]})
    codes = notes._of_split(config, {"patients_unknown": 0, "largest_patient": 38}, seeds)
    assert codes == (["split_off wanted=0.5 share=0.844 largest=38"] if told else [])
