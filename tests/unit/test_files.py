"""State for going on: kept for the same work, thrown away for another."""

import sys
from types import SimpleNamespace

import pytest
from insilico_nmr.errors import InputError
from insilico_nmr.files import hash_of_program, keep_state_of, read_json


def test_state_of_other_settings_is_not_gone_on_from(tmp_path):
    folder = tmp_path / "state"
    keep_state_of(folder, {"temperature_K": 300}, "data")
    (folder / "chunk").write_text("half of the work")
    keep_state_of(folder, {"temperature_K": 300}, "data")
    assert (folder / "chunk").exists()
    keep_state_of(folder, {"temperature_K": 310}, "data")
    assert not (folder / "chunk").exists()


def test_a_program_is_another_where_it_or_a_module_that_it_loads_changes(tmp_path, monkeypatch):
    script, module = tmp_path / "program.py", tmp_path / "module.py"
    script.write_text("1")
    module.write_text("1")
    alone = hash_of_program(script)
    assert hash_of_program(script) == alone
    monkeypatch.setitem(sys.modules, "insilico_nmr.of_the_test", SimpleNamespace(__file__=str(module)))
    both = hash_of_program(script)
    module.write_text("2")
    changed = hash_of_program(script)
    script.write_text("2")
    assert len({alone, both, changed, hash_of_program(script)}) == 4


def test_what_is_no_json_is_named(tmp_path):
    (tmp_path / "a.nc").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(InputError, match=r"a\.nc: not valid JSON"):
        read_json(tmp_path / "a.nc")
