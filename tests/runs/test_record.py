"""What is written of a run is read again; half of it, or damage, is not taken for it."""

import numpy as np
import pandas as pd
import pytest

from cxrjax.base import InputError
from cxrjax.runs import run_folder

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
NUMBERS = {"octaves": {"dead": 0}}
TABLE = pd.DataFrame({"parametrisation": ["octaves"], "aim": ["NA"], "score": [0.5], "right": [True]})


def test_dreams_come_back(tmp_path):
    run_folder.write_record(tmp_path / run_folder.DREAMS, {"seeds": PICTURE}, {"transfer": TABLE}, NUMBERS)
    found = run_folder.read_dreams(tmp_path)
    np.testing.assert_array_equal(found.pictures["seeds"], PICTURE)
    pd.testing.assert_frame_equal(found.transfer, TABLE)
    assert found.numbers == {"octaves": {"dead": 0}}
    assert run_folder.read_maps(tmp_path) is None


def test_nothing_is_read_of_what_is_not_finished(tmp_path):
    assert run_folder.read_dreams(tmp_path) is None
    run_folder.write_record(tmp_path / run_folder.DREAMS, {}, {"transfer": TABLE}, {})
    (tmp_path / run_folder.DREAMS / "numbers.json").unlink()
    assert run_folder.read_dreams(tmp_path) is None


def test_damage_is_named(tmp_path):
    run_folder.write_record(tmp_path / run_folder.MAPS, {}, {"focus": TABLE, "agreement": TABLE}, {})
    (tmp_path / run_folder.MAPS / "focus.csv").unlink()
    with pytest.raises(InputError, match="maps holds damaged files"):
        run_folder.read_maps(tmp_path)
