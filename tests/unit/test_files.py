"""State for going on: kept for the same work, thrown away for another."""

from insilico_nmr.files import keep_state_of


def test_state_of_other_settings_is_not_gone_on_from(tmp_path):
    folder = tmp_path / "state"
    keep_state_of(folder, {"temperature_K": 300}, "data")
    (folder / "chunk").write_text("half of the work")
    keep_state_of(folder, {"temperature_K": 300}, "data")
    assert (folder / "chunk").exists()
    keep_state_of(folder, {"temperature_K": 310}, "data")
    assert not (folder / "chunk").exists()
