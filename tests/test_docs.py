"""Pages say what the code says: statistics, the run folder, paths, words. What they tell to type: test_pages.py."""

import re

import pytest

from cxrjax.analysis import subgroups, tables
from cxrjax.metrics import bootstrap, registry
from tests.conftest import PAGES, ROOT

PAGE = (ROOT / "docs" / "explanation" / "statistics.md").read_text(encoding="utf-8")


def test_every_metric_is_explained():
    assert set(registry.METRICS) <= set(re.findall(r"`(\w+)`", PAGE))


def test_modules_that_it_names_are_there():
    named = set(re.findall(r"`(\w+\.py)`", PAGE))
    named |= {f"{name}.py" for name in re.findall(r"`(\w+)\.(?!csv`)\w+`", PAGE)}  # a table is no module
    there = {path.name for folder in ("cxrjax", "experiments") for path in (ROOT / folder).rglob("*.py")}
    assert named and named <= there


def test_measured_coverage_and_limits_are_those_of_the_code():
    measured = re.findall(r"^ +(0\.\d\d) +(\d+) +(0\.\d\d) +(.*)$", bootstrap.__doc__ or "", re.MULTILINE)
    rows = [re.findall(r"[\d.]+", line) for line in PAGE.splitlines() if re.match(r"\| 0\.\d\d \|", line)]
    assert (
        rows == [[auroc, patients, share, *rest.split()] for auroc, patients, share, rest in measured]
        and len(rows) == 3
    )
    others = {name for name, metric in registry.METRICS.items() if metric.interval != "bca"}
    assert others == {"auroc", "calibration_slope", "calibration_intercept", "ece"}
    told = " ".join(PAGE.split())
    assert f"{bootstrap.DRAWS:,} times" in told
    assert f"fewer than {subgroups.MIN_PATIENTS} patients, or fewer than {subgroups.MIN_OF_A_CLASS} images" in told


RUN_FOLDER = (ROOT / "docs" / "reference" / "run_folder.md").read_text(encoding="utf-8")


def described(file):
    """Patterns of the columns that the section of a table describes; METRIC is any registered metric."""
    parts = [part for part in re.split(r"^## ", RUN_FOLDER, flags=re.MULTILINE) if ".csv" in part.partition("\n")[0]]
    section = next(part for part in parts if file in part.partition("\n")[0].split() or f"`{file}`" in part)
    cells = " ".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))
    return {name.replace("METRIC", f"({'|'.join(registry.METRICS)})") for name in re.findall(r"`(\w+)`", cells)}


def test_every_column_of_a_run_is_described(case, analysed, tmp_path):
    """Of an invented run that has all tables; what is described is there."""
    held_out = case.tables._replace(test=case.tables.external)
    tables.write(tmp_path, held_out, analysed._replace(test_seeds=analysed.external_seeds))
    every, patterns = set(), {}
    for table in tables.TABLES.values():
        file = f"{table.file}.csv"
        columns = set((tmp_path / file).read_text(encoding="utf-8").partition("\n")[0].split(","))
        patterns[file] = described(file)
        assert not {name for name in columns if not any(re.fullmatch(x, name) for x in patterns[file])}, file
        every |= columns
    assert not [x for x in set().union(*patterns.values()) if not any(re.fullmatch(x, name) for name in every)]


def test_every_file_of_a_run_is_described(small_run):
    written = {f"{path.name}/" if path.is_dir() else path.name for path in small_run.iterdir()}
    assert len(written) > 15
    assert not [name for name in written if f"`{name}`" not in RUN_FOLDER]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_paths_that_a_page_names_are_there(page):
    """Files and folders that begin like some of ours; targets of links, with the heading that a link is to."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:cxrjax|docs|tests|experiments|weights|\.ci|\.github)/[\w./-]*\w/?)`", text)
    made = ("weights/alexnet-imagenet", "weights/vgg16-imagenet")  # by convert_weights
    assert not [path for path in named if not path.startswith(made) and not (ROOT / path).exists()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for link, _, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(#([\w-]+))?\)", prose):
        target = (ROOT / page).parent / link if link else ROOT / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in headings}, anchor


@pytest.mark.parametrize(
    "line", re.findall(r"^\| \*\*.*$", (ROOT / "docs/explanation/glossary.md").read_text(), re.MULTILINE)
)
def test_a_word_of_the_glossary_lives_where_it_says(line):
    word, place = re.match(r"\| \*\*(\w+)\*\*.*`([\w/.]+)` \|$", line).groups()
    assert re.search(rf"\b{word}s?\b", (ROOT / "cxrjax" / place).read_text(encoding="utf-8").lower())


def test_tests_that_the_table_of_inputs_names_are_there():
    text = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"`(?:([a-z/]+)/)?(test_\w+\.py)(?:::(test_\w+))?", text)
    assert len(named) > 20
    for folder, file, test in named:
        files = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob(f"**/{folder}/{file}")]
        assert files, f"{folder}/{file}"
        assert not test or any(f"def {test}(" in content for content in files), f"{file}::{test}"
