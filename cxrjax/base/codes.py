"""What a table says without words: codes with values, in text that a CSV file can hold. `cxrjax.report` has the words.

A code stands alone, `no_positive_image`, or with its values, `undefined_in_seeds n=3 of=10`; several are parted by
`; `. `CODES` has all that metrics and analysis use, with the values of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

CODES: Mapping[str, tuple[str, ...]] = {
    # Why a metric is undefined; `metric` where the column speaks of several.
    "no_image": (),
    "no_positive_image": (),
    "no_negative_image": (),
    "none_called_positive": (),
    "all_called_positive": (),
    "no_overlap": (),  # the scores of the two classes do not overlap, or are constant
    "fit_not_converged": (),
    "unexplained": (),  # NaN where no rule of its row holds
    "undefined_in_seeds": ("n", "of"),  # mean and SD leave these seeds out
    "one_seed": (),  # so that nothing is said of the spread over seeds
    "seeds_share_images": (),  # all of the external set: no interval for other images follows from the seeds' spread
    "unknown_patients": (),  # so that nobody can tell who is on both sides of a split
    # Why there is no interval, or no test.
    "undefined": (),  # the metric itself is
    "one_patient": (),  # all images are of one patient
    "one_positive_patient": (),  # all positive images are of one patient
    "one_negative_patient": (),
    "end_of_range": ("value",),  # the metric is at the end of its range
    "undefined_in_draws": ("share",),  # of the draws, 0..1
    "extreme_in_draws": ("share",),  # 0, 1 or undefined in this share of the draws
    "same_in_every_draw": (),
    "same_in_every_patient": (),
    "undefined_without_a_patient": (),  # if some one patient is left out
    "same_without_any_patient": (),  # whichever patient is left out
    "too_skewed": ("share",),  # for BCa: share of the draws that exceed the metric
    "raised_by_resampling": (),  # so that no interval comes from them
    "student_t": (),  # the interval is Student's t in place of BCa, for the reason that follows
    "no_variance": (),  # the placement values do not vary, so that the estimated variance is 0
    "one_pair": (),  # fewer than two pairs of runs
    "no_difference_varies": (),  # the differences of the runs are all the same
    "follows_from_splits": (),  # a fact of the splits, of which there is nothing to test
    "p_of_seeds": (),  # p is twice the median of the seeds', which share images; no t nor interval follows
    # Notes of floors.
    "majority_of_training": (),  # the more frequent class of each seed's training images
    "metadata": ("used",),  # of view, sex, age, followup: those that vary, parted by commas
    "no_metadata": (),  # view, age, sex and follow-up number are not given or do not vary
    "no_film": (),  # view, age and sex are not given or do not vary
    "probe": ("strengths",),  # C, parted by commas, as the folds of the seeds chose
    "is_probe": (),  # the network itself is one
    "many_images": ("most",),  # more training images than that
    "no_probe": (),  # nothing is frozen, or an earlier version made the run
    "not_trained": (),  # --floors trains it
    # Notes of a run.
    "shuffled_labels": (),  # a control: only chance and mistakes can be found
    "phantom": (),  # the images are drawn
    # Of the listed images of both classes; each class by its name.
    "partly_present": ("n", "of", "positive", "others_n", "others_of", "others"),
    "all_negatives": ("n", "negative"),  # all enter every run, so that the SD covers no draw of them
    "oversampled": (),  # training images of the rarer class are repeated until both classes are equally many
    "train_ratio": ("ratio",),  # so many negatives for each positive in training, positives being thinned
    "undersampled": (),  # training images of the commoner class are thinned until both classes are equally many
    "started_from": ("run",),  # each seed's retrained layers begin as that seed of another run ended
    "patients_on_both_sides": ("by", "share"),  # of validation images, 0..1, by which split
    "patients_unknown": ("n", "of"),  # images whose patient nothing tells, so that some may be on both sides
    "split_off": ("wanted", "share", "largest"),  # of the images, 0..1; images of the largest patient
    "weights_have_seen": ("n", "of", "trained_on"),  # images of the run that are NIH's by their names, as are those
    "external_copies": ("n", "of"),  # images of the external set that took part in the runs, and are left out
    "held_out": ("test",),  # --test: its patients are in no run
    # --labels: images of all whose labels are of this file, change, are unknown now; for both, training, evaluation
    "relabelled": ("file", "images", "of", "changed", "unknown", "purpose"),
    "matched": ("used", "n", "of"),  # --match: pairs of a run, of so many positives
    # What --augment_bank=auto took, and why.
    "bank": ("slots",),
    "no_bank_linear": (),
    "no_bank_frozen": (),
    "no_bank_device": (),
    "no_bank_epochs": ("slots", "epochs"),
    "no_bank_room": ("slots", "needed", "free"),  # GB that it would add, and GB free on the cache's disk
    # Notes of a comparison of two runs, a and b.
    "same_settings": (),
    "settings_differ": ("names", "a", "b"),  # each parted by commas
    "only_common_seeds": ("n", "a", "b"),  # of a and of b: its seeds, `0-9`
    "other_images": (),  # other draws, views or prepared data take part
    "seeds_validate_other_images": ("n", "of"),  # such a pair shares its seed alone; DeLong's test says nothing of it
    "delong_significant": ("n", "of"),  # seeds with p < 0.05
    "common_images": ("n", "positives", "patients"),  # of two sets of scores
    # Why there are no thresholds by priors.
    "prior_balanced": (),  # the classes were made equal in training
    "prior_weighed": ("loss",),
    # Notes of a recalibration.
    "slope_held": (),  # no slope above 0 is the likeliest, so that it stays 1
    "not_recalibrated": (),  # the local images are of one class
    # Notes of maps.
    "lungs_of_masks": ("folder",),  # where the lungs come from
    "lungs_drawn": (),  # by the phantom
    "lungs_estimated": (),
    "no_lung_mask": ("n",),  # images left out
    "no_box": (),  # so that localisation is not measured
    "boxes_outside_crop": ("n",),  # images left out of localisation
    "no_control": ("network",),  # the run has none; --floors trains it
    "control_not_opened": ("network", "error"),
    "no_trained_maps": ("method", "target"),  # so that nothing is compared
    "not_compared": ("method", "target", "networks"),  # there are no maps of these
    "no_common_metric": ("method", "target", "metric", "network"),  # of an image of which the trained one has one
    "outside_crop": ("n",),  # images left out, whose region lies outside the crop
    "maps_without_pair": ("n", "of"),  # only n of the trained network's maps have one beside them
    "constant_left_out": ("n",),  # images left out, whose maps are constant
    "maps_absent": ("method", "networks"),
    "maps_constant": ("method", "network", "against"),  # maps without an order
    "one_seed_an_image": ("method", "network"),  # no image was mapped by two seeds, so that stability is unknown
    "no_common_seed": ("method", "network", "against"),  # no image was mapped by both with the same seed
}


def code(name: str, **values: object) -> str:
    """One code as text.

    >>> code("undefined_in_seeds", n=3, of=10)
    'undefined_in_seeds n=3 of=10'

    Raises:
      ValueError: there is no such code, or its values are others.
    """
    if name not in CODES or set(values) != set(CODES[name]):
        raise ValueError(f"name must be one of CODES with its values, got {name} with {', '.join(values) or 'none'}")
    return _text(name, values)


def parse(text: str) -> list[tuple[str, dict[str, str]]]:
    """The codes of a text, each with its values; none of an empty text.

    >>> parse("too_skewed share=0.98; no_image")
    [('too_skewed', {'share': '0.98'}), ('no_image', {})]
    """
    parts = [part.split(" ") for part in text.split("; ") if part]
    return [
        (name, {key: unquote(value) for key, _, value in (pair.partition("=") for pair in pairs)})
        for name, *pairs in parts
    ]


def tag(text: str, **values: object) -> str:
    """The codes of a text with a further value each: `metric` or `column`, of which they speak.

    >>> tag("no_image; one_patient", metric="auroc")
    'no_image metric=auroc; one_patient metric=auroc'
    """
    return join([_text(name, known | values) for name, known in parse(text)])


def join(texts: list[str]) -> str:
    """Codes as one text; empty ones are left out."""
    return "; ".join(filter(None, texts))


def _text(name: str, values: Mapping[str, object]) -> str:
    return " ".join([name, *(f"{key}={quote(str(value), safe=',/-:+')}" for key, value in values.items())])
