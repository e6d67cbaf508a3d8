"""Synthetic crystals for tests, as the text of a CIF."""


def cif(space_group: int, lengths_A: tuple, *sites: str, angles: tuple = (90, 90, 90)) -> str:
    """Cell (a, b, c in Å; angles in degrees), number of the space group, and lines "label element x y z occupancy"."""
    cell = [
        *(f"_cell_length_{name} {length}" for name, length in zip("abc", lengths_A, strict=True)),
        *(f"_cell_angle_{name} {angle}" for name, angle in zip(("alpha", "beta", "gamma"), angles, strict=True)),
    ]
    columns = ["label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy"]
    table = ["loop_", *(f"_atom_site_{name}" for name in columns), *sites]
    return "\n".join(["data_x", *cell, f"_space_group_IT_number {space_group}", *table, ""])
