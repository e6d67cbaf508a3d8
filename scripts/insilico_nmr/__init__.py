"""Solid-state NMR of ion conductors from first principles: the library under the study's scripts.

Pure functions without Snakemake and without global state. Conventions: lengths in Å, energies in eV,
temperatures in K, times in s (MD steps in fs), rates in 1/s, electric field gradients in atomic units,
shieldings in ppm; units stand in names where another unit could be meant.
"""

__version__ = "0.2.0"
