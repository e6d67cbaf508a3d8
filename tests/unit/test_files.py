"""State for going on: kept for the same work, thrown away for another."""

import pytest
from insilico_nmr.errors import InputError
from insilico_nmr.files import keep_state_of, read_json


def test_state_of_other_settings_is_not_gone_on_from(tmp_path):
    folder = tmp_path / "state"
    keep_state_of(folder, {"temperature_K": 300}, "data")
    (folder / "chunk").write_text("half of the work")
    keep_state_of(folder, {"temperature_K": 300}, "data")
    assert (folder / "chunk").exists()
    keep_state_of(folder, {"temperature_K": 310}, "data")
    assert not (folder / "chunk").exists()


def test_what_is_no_json_is_named(tmp_path):
    (tmp_path / "a.nc").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(InputError, match=r"a\.nc: not valid JSON"):
        read_json(tmp_path / "a.nc")
