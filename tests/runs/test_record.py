"""What is written of a run is read again; half of it, or damage, is not taken for it."""

import numpy as np
import pandas as pd
import pytest

from cxrjax.base.types import InputError
from cxrjax.runs import record

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
TABLE = pd.DataFrame({"parametrisation": ["octaves"], "aim": ["P"], "score": [0.5], "right": [True]})


def test_dreams_come_back(tmp_path):
    record.write(tmp_path / record.DREAMS, {"seeds": PICTURE}, {"transfer": TABLE}, {"octaves": {"dead": 0}})
    found = record.read_dreams(tmp_path)
    np.testing.assert_array_equal(found.pictures["seeds"], PICTURE)
    pd.testing.assert_frame_equal(found.transfer, TABLE)
    assert found.numbers == {"octaves": {"dead": 0}}
    assert record.read_maps(tmp_path) is None


def test_nothing_is_read_of_what_is_not_finished(tmp_path):
    assert record.read_dreams(tmp_path) is None
    record.write(tmp_path / record.DREAMS, {}, {"transfer": TABLE}, {})
    (tmp_path / record.DREAMS / "numbers.json").unlink()
    assert record.read_dreams(tmp_path) is None


def test_damage_is_named(tmp_path):
    record.write(tmp_path / record.MAPS, {}, {"focus": TABLE, "agreement": TABLE}, {})
    (tmp_path / record.MAPS / "focus.csv").unlink()
    with pytest.raises(InputError, match="maps holds damaged files"):
        record.read_maps(tmp_path)
