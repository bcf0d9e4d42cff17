"""Patients by the conventions of names: the whole set or a whole class, plausibly, or not at all."""

import pytest

from cxrjax.data.conventions import by_name


def named(images, depth=1):
    """Of class folders, which are the first `depth` folders of each image."""
    folders = ["/".join(image.split("/")[:depth]) for image in images]
    return by_name(images, folders, folders)


def numbered(text, count):
    return [text.replace("#", str(i)) for i in range(count)]


@pytest.mark.parametrize(
    ("images", "patients", "rule"),
    [
        (
            ["train/patient00001/study1/view1_frontal.jpg", "train/patient00001/study2/view1_frontal.jpg"],
            ["patient00001", "patient00001"],
            "CheXpert",
        ),
        (
            ["files/p10/p10000032/s50414267/02aa.jpg", "files/p11/p11000032/s50414268/02ab.jpg"],
            ["p10000032", "p11000032"],
            "MIMIC-CXR",
        ),
        (["NORMAL/00000013_005.png", "PNEUMONIA/00000013_006.png"], ["13", "13"], "NIH ChestX-ray14"),
        (["CHNCXR_0001_0.png", "CHNCXR_0002_1.png"], ["CHNCXR_0001", "CHNCXR_0002"], "Shenzhen"),
        (["MCUCXR_0001_0.png", "MCUCXR_0104_1.png"], ["MCUCXR_0001", "MCUCXR_0104"], "Montgomery"),
        (["JPCLN001.png", "JPCNN001.png"], ["JPCLN001", "JPCNN001"], "JSRT"),
        (["CXR1_1_IM-0001-3001.png", "CXR1_1_IM-0001-4001.png"], ["1", "1"], "Open-i (Indiana)"),
        (["sub-S03044_ses-E1_vp-ap_dx.png", "sub-S03045_ses-E1_vp-ap_dx.png"], ["sub-S03044", "sub-S03045"], "BIDS"),
        (
            [
                "NORMAL/IM-0115-0001.jpeg",
                "NORMAL/NORMAL2-IM-0620-0001.jpeg",
                "PNEUMONIA/person12_virus_46.jpeg",
                "PNEUMONIA/person12_bacteria_47.jpeg",
            ],
            ["NORMAL/IM-0115", "NORMAL/NORMAL2-IM-0620", "PNEUMONIA/person12", "PNEUMONIA/person12"],
            "Kermany et al.",
        ),
    ],
)
def test_data_sets_are_known_by_their_names(images, patients, rule):
    labels = [image.split("/")[0] + "bacteria" * ("bacteria" in image) for image in images]  # finer than the classes
    for by in (by_name(images, [""] * len(images), labels), named(images, images[0].count("/"))):
        assert by.patients.tolist() == patients
        assert set(by.rules) == {f"file names as in {rule}"}


@pytest.mark.parametrize(
    "images",
    [
        [*numbered("COVID/COVID-#.png", 12), *numbered("Normal/Normal-#.png", 12)],
        numbered("c/d3f1a0b2c4d5e6f708192a3b4c5d6e#.png", 12),
        numbered("c/0004cfab-14fd-4e49-80ba-63a80b6bddd#.png", 10),
        numbered("c/2168401113669640124878577175220092091#.png", 12),
        numbered("NORMAL/#.png", 12) + numbered("PNEUMONIA/#.png", 12),
        numbered("c/20180312_00#.png", 10),  # date and number
        numbered("NORMAL/IM-0001-000#.jpeg", 9),  # one series, or Kermany's first patient nine times?
        numbered("NORMAL/person1_virus_#.jpeg", 12),  # one patient in all images
        [*numbered("x/PA/#.png", 12), *numbered("x/LAT/#.png", 12)],
        [*numbered("x/2018/#.png", 4), *numbered("x/2019/#.png", 4), *numbered("x/2020-03/#.png", 4)],
        [f"x/images_{part:03d}/{i}.png" for part in range(6) for i in range(2)],
        [f"x/{site}/{i}.png" for site in ("Berlin", "Madrid", "Lyon") for i in range(40)],
        ["x/p7/1.png", *numbered("x/#.png", 11)],
    ],
)
def test_names_that_tell_no_patient(images):
    assert set(named(images).patients) == {""}


def test_a_convention_of_a_part_is_told_and_not_used():
    images = [*numbered("person#_virus_1.png", 20), *numbered("x#.png", 10)]
    by = by_name(images, [""] * 30, [""] * 30)
    assert set(by.patients) == {""}
    assert by.notes == [
        "20 of 30 file names are as in Kermany et al.: not used, because the others are not "
        "(--patient_regex can give the pattern)"
    ]


def test_a_convention_of_a_whole_class_is_used_and_one_stray_of_a_hundred_is_not_in_its_way():
    images = [*numbered("PNEUMONIA/person#_virus_1.png", 100), "PNEUMONIA/z.png", *numbered("NORMAL/x#.png", 10)]
    by = named(images)
    assert by.patients.tolist() == [*numbered("PNEUMONIA/person#", 100), *[""] * 11]


@pytest.mark.parametrize(
    ("images", "depth"),
    [
        ([f"NORMAL/Patient_{i}/Thorax_PA/IM-0001-0001.jpeg" for i in range(12)], 1),
        ([f"Patient_{i}/Thorax_PA/IM-0001-0001.jpeg" for i in range(12)], 0),
        ([f"set/PAT{i:03d}/STUD001/SER001/IMG001" for i in range(12)], 0),
        (
            [
                f"NORMAL/{name}/Thorax PA - 3/IM-0001-0001.dcm"
                for name in ("DOE_JOHN", "ROE^ANA", "Poe, E", "A B", "C", "D")
            ],
            1,
        ),
        ([f"NORMAL/PA/Patient {i}/image1.png" for i in range(12)], 1),
        ([f"NORMAL/p{i:03d}/{i}{j}.png" for i in range(6) for j in range(2)], 1),  # no file name repeats
        ([f"train/NORMAL/{i}/1.png" for i in range(1000, 1012)], 2),
        ([f"{city}/Patient_{i}/1.png" for i, city in enumerate(["Berlin", "Madrid"] * 6)], 0),
    ],
)
def test_a_folder_a_patient_as_pacs_viewers_export(images, depth):
    parts = [image.split("/") for image in images]
    level = next(k for k in range(depth, 5) if len({p[k] for p in parts}) > 2)
    assert named(images, depth).patients.tolist() == [p[level] for p in parts]


def test_folders_of_one_name_in_two_classes():
    """Counted anew in each class: others. Else the same patient; both are told."""
    anew = [f"{label}/Patient_{i}/a.png" for label in ("NORMAL", "PNEUMONIA") for i in range(1, 7)]
    by = named(anew)
    assert len(set(by.patients)) == 12
    assert "numbers start again in several of NORMAL, PNEUMONIA" in by.notes[0]
    same = [f"NORMAL/{name}/a.png" for name in "DEFGHI"] + [f"PNEUMONIA/{name}/a.png" for name in "IJKLMN"]
    by = named(same)
    assert by.patients.tolist() == list("DEFGHIIJKLMN")
    assert by.notes == ["folders of the same name in several of NORMAL, PNEUMONIA are taken as one patient"]


def test_classes_of_a_table_are_no_patients():
    images = [f"{label}/{i}.png" for label in ("a", "b", "c") for i in range(3)]
    assert set(by_name(images, [""] * 9, [image[0] for image in images]).patients) == {""}


@pytest.mark.parametrize(
    "folders",
    [
        ["mild", "moderate", "severe"],
        ["GE", "Philips", "Siemens", "Fuji", "Agfa"],
        ["adult", "child"],
        [f"Site{letter}" for letter in "ABCDEFGH"],
        [f"reader_{i}" for i in range(1, 8)],
    ],
)
def test_few_folders_of_files_of_the_same_names_may_be_anything(folders):
    """Grades, devices, sites, readers: other names in each class make them no more."""
    same = [f"{label}/{folder}/{i}.png" for label in ("NORMAL", "PNEUMONIA") for folder in folders for i in range(3)]
    other = [path.replace("NORMAL/", "NORMAL/x") for path in same]
    assert {*named(same).patients, *named(other).patients} == {""}


def test_folders_of_dicom_media_are_patients_and_no_views():
    images = [f"DICOM/PA00000{i}/ST000000/SE000000/IM00000{j}" for i in range(4) for j in range(3)]
    assert named(images, 0).patients.tolist() == [f"PA00000{i}" for i in range(4) for _ in range(3)]
