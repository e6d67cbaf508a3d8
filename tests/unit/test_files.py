"""State for going on: kept for the same work, thrown away for another."""

import pytest
from insilico_nmr import source_files
from insilico_nmr.errors import InputError
from insilico_nmr.files import keep_state_of, read_json


def test_state_of_other_settings_is_not_gone_on_from(tmp_path):
    folder = tmp_path / "state"
    keep_state_of(folder, __file__, {"temperature_K": 300}, "data")
    (folder / "chunk").write_text("half of the work")
    keep_state_of(folder, __file__, {"temperature_K": 300}, "data")
    assert (folder / "chunk").exists()
    keep_state_of(folder, __file__, {"temperature_K": 310}, "data")
    assert not (folder / "chunk").exists()


def test_a_program_is_another_where_it_or_a_module_that_it_imports_changes(tmp_path, monkeypatch, capsys):
    """Also one that a module imports within a function, as potentials do their networks."""
    monkeypatch.setattr(source_files, "SCRIPTS", tmp_path)
    package = tmp_path / "insilico_nmr"
    package.mkdir()
    script, near, far = tmp_path / "program.py", package / "near.py", package / "far.py"

    def made_of(of_script="", of_far="") -> str:
        source_files.imported.cache_clear()
        source_files.substance.cache_clear()
        script.write_text(f"from insilico_nmr.near import work\n{of_script}")
        near.write_text("def work():\n    from insilico_nmr import far\n")
        far.write_text(of_far)
        return source_files.hash_of_program(script)

    assert made_of() == made_of()
    assert made_of(of_far='"""What it is about."""  # or not') == made_of(of_far='"""Said in other words."""')
    assert len({made_of(), made_of("x = 1"), made_of(of_far="x = 1")}) == 3
    (tmp_path / "state").mkdir()
    made_of()
    keep_state_of(tmp_path / "state", script, "settings")
    (tmp_path / "state" / "chunk").write_text("half of the work")
    made_of(of_far="x = 2")
    keep_state_of(tmp_path / "state", script, "settings")
    assert not (tmp_path / "state" / "chunk").exists()
    assert "is of other code, settings or data; starting anew" in capsys.readouterr().err


def test_what_is_no_json_is_named(tmp_path):
    (tmp_path / "a.nc").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(InputError, match=r"a\.nc: not valid JSON"):
        read_json(tmp_path / "a.nc")
