"""Matched draws: strata by hand, equal numbers in each, whatever the order of the rows."""

import numpy as np
import pandas as pd
import pytest

from cxrjax.base import InputError, tasks
from cxrjax.data import cohort, matching

NF = tasks.get("p_vs_nf")


def table(n=400, seed=0):
    """Positives are older, seen later and more often AP; some of sex, age and view are unknown."""
    rng = np.random.default_rng(seed)
    is_positive = rng.random(n) < 0.4
    return pd.DataFrame(
        {
            "image": [f"{i:05d}.png" for i in rng.permutation(n)],
            "patient": rng.integers(0, n // 3, n).astype(str),
            "labels": np.where(is_positive, "Pneumonia", "No Finding"),
            "view": np.where(rng.random(n) < 0.2 + 0.5 * is_positive, "AP", rng.choice(["PA", ""], n)),
            "sex": rng.choice(["F", "M", ""], n),
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 100, n)),
            "followup": (rng.exponential(6 + 9 * is_positive)).astype(int),
        }
    )


def test_strata_by_hand():
    t = pd.DataFrame(
        {
            "followup": [0, 1, 2, 3, 9, 10, 29, 30, 99], "age": [0, 19, 20, 39.5, 40, np.nan, np.nan, 119, 100],
            "sex": ["F", "M", "", "", "F", "M", "F", "F", "F"],
        }
    )  # fmt: skip
    assert matching.strata(t, ("followup",)).tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert pd.Series(matching.strata(t, ("age",))).map({0: "unknown", 1: 0, 2: 20, 3: 40, 4: 100}).tolist() == [
        0, 0, 20, 20, 40, "unknown", "unknown", 100, 100
    ]  # fmt: skip
    both = matching.strata(t, ("followup", "sex"))
    assert (both[3] != both[4]) and both[7] == both[8] and len(np.unique(both)) == 8


@pytest.mark.parametrize("by", [("view",), ("view", "followup"), ("sex", "age"), matching.VARIABLES])
@pytest.mark.parametrize("seed", range(3))
def test_each_stratum_has_as_many_of_either_class_and_as_many_as_it_can(by, seed):
    t = table()
    stratum, positive = matching.strata(t, by), (t["labels"] == "Pneumonia").to_numpy()
    drawn = cohort.draw(t, NF, seed, match=by)
    for number in np.unique(stratum):
        inside = stratum == number
        here = drawn.label[inside[drawn.index]]
        assert here.sum() == len(here) - here.sum() == min((inside & positive).sum(), (inside & ~positive).sum())
    split = cohort.split(drawn, seed)
    assert not set(drawn.patient[split.train]) & set(drawn.patient[split.val])


def test_a_draw_is_of_its_seed_and_not_of_the_order_of_rows():
    t = table()
    other = t.sample(frac=1, random_state=1).reset_index(drop=True)
    names = [list(t["image"].to_numpy()[cohort.draw(t, NF, seed, match=("view",)).index]) for seed in range(4)]
    assert names == [
        list(other["image"].to_numpy()[cohort.draw(other, NF, seed, match=("view",)).index]) for seed in range(4)
    ]
    assert len({tuple(drawn) for drawn in names}) == 4 and all(drawn == sorted(drawn) for drawn in names)


def test_what_cannot_be_matched_is_refused():
    t = table()
    with pytest.raises(InputError, match="--match=sex: sex is the same or unknown of all 400 images"):
        cohort.draw(t.assign(sex=""), NF, 0, match=("sex",))
    with pytest.raises(InputError, match="no stratum holds images of both classes"):
        cohort.draw(t.assign(view=np.where(t["labels"] == "Pneumonia", "AP", "PA")), NF, 0, match=("view",))
    for text in ("height", "view,view", "view,", "View"):
        with pytest.raises(InputError, match=r"--match must be of view,sex,age,followup, each once"):
            matching.variables(text)


def test_pairs_of_real_images(shared):
    """Counted beforehand from the table alone: min(P, NF) of each view and follow-up bin."""
    listed = pd.read_csv(shared / "nih-2k" / "Data_Entry_2017_v2020.csv")
    t = listed[listed["Image Index"].isin({path.name for path in (shared / "nih-2k" / "images").iterdir()})]
    t = pd.DataFrame(
        {
            "image": t["Image Index"], "labels": t["Finding Labels"], "patient": t["Patient ID"].astype(str),
            "view": t["View Position"], "followup": t["Follow-up #"],
        }
    ).reset_index(drop=True)  # fmt: skip
    bins = pd.cut(t["followup"], [-1, 0, 2, 9, 29, 999])
    p, nf = t["labels"].str.contains("Pneumonia"), t["labels"] == "No Finding"
    pairs = pd.DataFrame({"p": p, "nf": nf}).groupby([t["view"], bins], observed=True).sum().min(axis=1).sum()
    drawn = cohort.draw(t, NF, 0, match=("view", "followup"))
    assert drawn.label.sum() == len(drawn.label) - drawn.label.sum() == pairs
    assert 255 <= pairs <= 275
