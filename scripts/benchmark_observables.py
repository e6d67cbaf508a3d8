"""Seconds that each observable of one temperature takes after its propagator, and how powder averages converge.

Powder averages: largest error, over all pairs of sites, of the mean of sin(ω_a t_p)·sin(ω_b t_p) relative to its
largest diagonal element, by directions on a hemisphere, for Gauss-Legendre rings, Lebedev's rules and ZCW sets, against
rings of REFERENCE_DEGREE; and of a static pattern (area between it and one of 400 subdivisions) for the octahedron's
interpolation and for ZCW sets without interpolation, as binned. The first line of a scheme that stays below 0.1 % is
marked. For few states, time of exponentials of jumps and phases, and its ratio to SciPy's.
"""

import argparse
import time

import numpy as np
from insilico_nmr import echo, powder, spectra
from insilico_nmr.effective_process import generator_of, without_one_replica
from insilico_nmr.errors import run_script
from insilico_nmr.exchange import exchange_spectra, frequency_axis, joint_at
from insilico_nmr.generator import evolution
from insilico_nmr.nuclei import Nucleus, quadrupolar_nucleus
from insilico_nmr.tensors import efg_principal
from scipy.linalg import expm
from simulate_relaxation import rows_of

CONVERGED = 1e-3
EVOLUTION_TIMES_S = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4)
REFERENCE_DEGREE = 1000
BINS = 513  # odd: the central line lies in the middle of one


def timings(propagator: echo.Propagator, states: echo.SiteTensors, nucleus: Nucleus) -> dict[str, float]:
    """Seconds for each observable: echoes and correlation with their errors over replicas, committee, samples and DFT,
    line shapes and exchange spectra of the mean tensors."""
    sets = [states.mean, *states.members, *states.samples, *states.scaled]

    def frozen_echoes() -> None:
        for evolution_s in EVOLUTION_TIMES_S:
            kernels = [echo.evolution_kernel(tensors, evolution_s, nucleus) for tensors in sets]
            contract_all(kernels)

    def matrix_echoes() -> None:
        generator = generator_of(propagator, states.mean)
        fewer = [process for _, process in without_one_replica(propagator, states.mean)]
        processes = [(generator, tensors) for tensors in sets] + [(process, states.mean) for process in fewer]
        for evolution_s in EVOLUTION_TIMES_S:
            # All orientations for the mean alone, as simulate_nmr.py has it.
            kernels = [
                echo.matrix_kernel(
                    process, propagator.populations, tensors, evolution_s, nucleus,
                    most_directions=powder.SPREAD_DIRECTIONS if number else None,
                )
                for number, (process, tensors) in enumerate(processes)
            ]  # fmt: skip
            contract_all(kernels)

    def contract_all(kernels: list[np.ndarray]) -> None:
        for kernel in kernels:
            echo.frozen_echo(propagator.joint, kernel, nucleus)
        echo.frozen_echo(propagator.replicas, kernels[0], nucleus)

    def correlation() -> None:
        for tensors in sets:
            echo.contract(echo.tensor_kernel(tensors), propagator.joint)

    def exchange() -> None:
        axis = frequency_axis(states.mean, nucleus, 64)
        joint = joint_at(propagator, propagator.time_s[len(propagator.time_s) // 2])
        generator = generator_of(propagator, states.mean)
        exchange_spectra(generator, propagator.populations, joint[None], states.mean, nucleus, axis, 2000.0)

    def line_shapes() -> None:
        generator = generator_of(propagator, states.mean)
        spectra.motional_spectra(generator, propagator.limit, states.mean, nucleus, 500.0)

    def rates() -> None:
        rows_of(propagator, states, nucleus, [4.7, 9.4], None)

    work = {"five echoes, frozen form": frozen_echoes, "five echoes, matrix form": matrix_echoes}
    work |= {"tensor correlation": correlation}
    if nucleus.spin == 1.5:
        work["2D exchange"] = exchange
    work |= {"relaxation in two fields": rates, "spectra (rigid, exchange, fast)": line_shapes}
    seconds = {}
    for name, run in work.items():
        run()  # compiles
        started = time.perf_counter()
        run()
        seconds[name] = time.perf_counter() - started
    return seconds


def kernel_errors(tensors: np.ndarray, nucleus: Nucleus, evolution_s: float) -> list[tuple[str, int, float]]:
    """Scheme, directions and error of the echo's powder average."""

    def kernel(directions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        sines = np.sin(evolution_s * echo.evolution_frequency(tensors, directions, nucleus))
        return (sines * weights[:, None]).T @ sines

    reference = kernel(*powder.gauss_legendre(REFERENCE_DEGREE))
    scale = np.diag(reference).max()
    grids = [("Gauss-Legendre", powder.gauss_legendre(degree)) for degree in (9, 15, 21, 29, 41, 59, 83, 119)]
    grids += [("Lebedev", powder.lebedev(degree)) for degree in (9, 15, 21, 29, 41, 59, 83, 119)]
    grids += [("ZCW", powder.zcw(count)) for count in (50, 200, 1000, 5000, 20_000, 100_000)]
    grids += [("as echoes choose", echo.orientations(tensors, evolution_s, nucleus))]
    return [(name, len(grid[1]), float(np.abs(kernel(*grid) - reference).max() / scale)) for name, grid in grids]


def pattern_errors(tensor: np.ndarray, nucleus: Nucleus) -> list[tuple[str, int, float]]:
    """Scheme, directions and error of a static pattern without broadening."""
    values = efg_principal(tensor)[0]
    widest = 1.2 * abs(powder.frequency_unit(nucleus)) * np.abs(values).max()
    axis = np.linspace(-widest, widest, BINS)
    step = axis[1] - axis[0]
    reference = spectra.powder_pattern(values, axis, nucleus, subdivisions=400)
    found = []
    for subdivisions in (8, 16, 32, 64, 96):
        pattern = spectra.powder_pattern(values, axis, nucleus, subdivisions=subdivisions)
        corners = (subdivisions + 1) * (subdivisions + 2) // 2
        found.append(("octahedron, interpolated", corners, float(np.abs(pattern - reference).sum() * step)))
    multipliers, intensities = powder.transitions(nucleus.spin)
    edges = np.append(axis - step / 2, axis[-1] + step / 2)
    for count in (1000, 10000, 100000, 1000000):
        directions, weights = powder.zcw(count)
        splitting = powder.quadrupolar_frequency(tensor, directions, nucleus)
        pattern = sum(
            share * np.histogram(multiplier * splitting, edges, weights=weights)[0]
            for multiplier, share in zip(multipliers, intensities, strict=True)
        )
        found.append(("ZCW, binned", len(weights), float(np.abs(pattern / step - reference).sum() * step)))
    return found


def show_exponentials(generator: np.ndarray, tensors: np.ndarray, nucleus: Nucleus) -> None:
    """Print the time for one exponential of an evolution time of 100 µs, and its ratio to that of scipy.linalg.expm."""
    directions, _ = powder.zcw(2000)
    omega = echo.evolution_frequency(tensors, directions, nucleus)
    exponents = EVOLUTION_TIMES_S[-1] * (generator + 1j * omega[:, :, None] * np.eye(len(tensors)))
    seconds = []
    for run in (lambda: evolution(generator, omega, EVOLUTION_TIMES_S[-1]), lambda: expm(exponents)):
        run()
        started = time.perf_counter()
        run()
        seconds.append((time.perf_counter() - started) / len(omega))
    own, reference = seconds
    print(f"exponential of {len(tensors)} states: {1e6 * own:.1f} µs, SciPy's {reference / own:.1f} times that")


def show(title: str, errors: list[tuple[str, int, float]]) -> None:
    """Print a table of errors; the first below CONVERGED after which a scheme stays there is marked."""
    print(f"\n{title}\n{'scheme':26} {'directions':>10} {'error / %':>10}")
    marked = set()
    for number, (name, count, error) in enumerate(errors):
        settled = all(later < CONVERGED for other, _, later in errors[number:] if other == name)
        mark = " <" if settled and name not in marked else ""
        marked |= {name} if mark else set()
        print(f"{name:26} {count:10d} {100 * error:10.2g}{mark}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--propagator", required=True, help="two-time propagator of one temperature (NetCDF)")
    parser.add_argument("--site-tensors", required=True, help="site tensors at that temperature (JSON)")
    parser.add_argument("--isotope", required=True, help="observed nucleus, of spin 1 or 3/2, such as 7Li")
    arguments = parser.parse_args()

    nucleus = quadrupolar_nucleus(arguments.isotope)
    propagator, states = echo.load_observed(arguments.propagator, arguments.site_tensors, nucleus.isotope)
    seconds = timings(propagator, states, nucleus)
    print(f"{len(states.mean)} states, {len(propagator.time_s)} times, {len(propagator.replicas)} replicas, "
          f"{len(states.members)} committee members, {len(states.samples)} samples")  # fmt: skip
    for name, value in seconds.items():
        print(f"{name:34} {value:7.3f} s")
    print(f"{'all':34} {sum(seconds.values()):7.3f} s")
    show_exponentials(generator_of(propagator, states.mean), states.mean, nucleus)
    for evolution_s in (1e-5, 1e-4):
        show(f"echo, t_p = {1e6 * evolution_s:g} µs", kernel_errors(states.mean, nucleus, evolution_s))
    show("static pattern of the first site", pattern_errors(states.mean[0], nucleus))


if __name__ == "__main__":
    run_script(main)
