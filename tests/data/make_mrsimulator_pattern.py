"""Make mrsimulator_patterns.npz: static first-order patterns of single transitions by mrsimulator 1.0.0.

Needs mrsimulator, which is no dependency of the study: `pip install --no-deps --target DIR mrsimulator==1.0.0
csdmpy==0.7.0 astropy==8.0.2 pyerfa astropy-iers-data`, then `PYTHONPATH=DIR python make_mrsimulator_pattern.py`.
Each pattern is that of one transition m → m−1, told by D = (m−1)² − m², normalised to sum 1.
"""

from pathlib import Path

import numpy as np
from mrsimulator import Simulator, Site, SpinSystem
from mrsimulator.method import Method, SpectralDimension
from mrsimulator.method.event import SpectralEvent

COUPLING_HZ = 100e3
WINDOW_HZ = 240e3
BINS = 512
CASES = [("2H", 1), ("7Li", 2), ("27Al", 2), ("27Al", 4)]
ASYMMETRIES = [0.0, 0.3, 1.0]


def pattern(isotope: str, difference: int, eta: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and intensities, shape (BINS,), of the transition with this D."""
    system = SpinSystem(sites=[Site(isotope=isotope, quadrupolar={"Cq": COUPLING_HZ, "eta": eta})])
    event = SpectralEvent(freq_contrib=["Quad1_2"], transition_queries=[{"ch1": {"P": [-1], "D": [difference]}}])
    dimension = SpectralDimension(count=BINS, spectral_width=WINDOW_HZ, events=[event])
    method = Method(channels=[isotope], magnetic_flux_density=9.4, rotor_frequency=0, spectral_dimensions=[dimension])
    simulator = Simulator(spin_systems=[system], methods=[method])
    simulator.config.integration_density = 150
    simulator.config.integration_volume = "hemisphere"
    simulator.run()
    data = simulator.methods[0].simulation
    axis = data.x[0]
    axis.to("Hz")
    intensity = data.y[0].components[0].real
    return axis.coordinates.value, intensity / intensity.sum()


def main() -> None:
    names, patterns = [], []
    for isotope, difference in CASES:
        for eta in ASYMMETRIES:
            axis_Hz, intensity = pattern(isotope, difference, eta)
            names.append((isotope, difference, eta))
            patterns.append(intensity)
    np.savez_compressed(
        Path(__file__).with_name("mrsimulator_patterns.npz"),
        axis_Hz=axis_Hz,
        isotope=[name[0] for name in names],
        difference=[name[1] for name in names],
        eta=[name[2] for name in names],
        intensity=np.array(patterns, dtype=np.float32),
        coupling_Hz=COUPLING_HZ,
    )


if __name__ == "__main__":
    main()
