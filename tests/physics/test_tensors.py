"""Conventions of tensors and nuclei that every number of the study rests on."""

import numpy as np
import pytest
from insilico_nmr import tensors
from insilico_nmr.errors import InputError
from insilico_nmr.nuclei import nucleus, quadrupolar_nucleus
from scipy.spatial.transform import Rotation


def rotations(count: int, seed: int = 0) -> np.ndarray:
    return Rotation.random(count, random_state=seed).as_matrix()


def random_tensors(count: int, seed: int = 1) -> np.ndarray:
    return tensors.from_components(np.random.default_rng(seed).normal(size=(count, 5)))


def test_lithium_7_coupling_per_atomic_unit():
    lithium = quadrupolar_nucleus("7Li")
    assert lithium.spin == 1.5
    assert lithium.coupling_per_au == pytest.approx(-9.422e6, rel=1e-4)


def test_published_coupling_of_heavy_water():
    # eQ/h of 2H, the often-used 0.6715 MHz per a.u. (Pyykkö: Q = 2.8578 mb).
    assert quadrupolar_nucleus("2H").coupling_per_au == pytest.approx(0.6715e6, rel=1e-3)


def test_nuclei_without_quadrupole_moment_are_refused():
    with pytest.raises(InputError, match="no quadrupole moment"):
        quadrupolar_nucleus("31P")
    with pytest.raises(InputError, match="unknown isotope '8Li'"):
        nucleus("8Li")


def test_components_are_an_isometry():
    components = np.random.default_rng(0).normal(size=(20, 5))
    matrices = tensors.from_components(components)
    np.testing.assert_allclose(tensors.to_components(matrices), components, atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(matrices, axis=(1, 2)), np.linalg.norm(components, axis=1))
    np.testing.assert_allclose(np.trace(matrices, axis1=1, axis2=2), 0, atol=1e-14)


def test_traceless_symmetric_part_drops_trace_and_antisymmetry():
    general = np.random.default_rng(3).normal(size=(5, 3, 3))
    part = tensors.traceless_symmetric(general)
    antisymmetric = 0.5 * (general - general.swapaxes(1, 2))
    trace = np.trace(general, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
    np.testing.assert_allclose(part + antisymmetric + trace, general, atol=1e-14)


def test_principal_order_and_axes_of_field_gradients():
    matrices = random_tensors(200)
    values, axes = tensors.efg_principal(matrices)
    magnitudes = np.abs(values)
    assert (np.diff(magnitudes, axis=1) >= 0).all()
    np.testing.assert_allclose(np.linalg.det(axes), 1.0)
    rebuilt = np.einsum("nij,nj,nkj->nik", axes, values, axes)
    np.testing.assert_allclose(rebuilt, matrices, atol=1e-13)
    eta = tensors.asymmetry(values)
    assert (eta >= 0).all()
    assert (eta <= 1 + 1e-12).all()


def test_known_tensor():
    values, axes = tensors.efg_principal(np.diag([2.0, -0.5, -1.5]))
    np.testing.assert_allclose(values, [-0.5, -1.5, 2.0])
    assert tensors.asymmetry(values) == pytest.approx(0.5)
    np.testing.assert_allclose(np.abs(axes[:, 2]), [1, 0, 0], atol=1e-15)


def test_asymmetry_of_a_vanishing_tensor_is_zero():
    assert tensors.asymmetry(np.zeros(3)) == 0


def test_principal_values_do_not_depend_on_the_frame():
    matrices, turns = random_tensors(50), rotations(50)
    turned = np.einsum("nij,njk,nlk->nil", turns, matrices, turns)
    np.testing.assert_allclose(tensors.efg_principal(turned)[0], tensors.efg_principal(matrices)[0], atol=1e-13)


def test_haeberlen_order_of_shieldings():
    rng = np.random.default_rng(5)
    shieldings = 90 + 10 * rng.normal(size=(200, 3, 3))
    iso, values, axes = tensors.shielding_principal(shieldings)
    deviation = np.abs(values - iso[:, None])
    assert (deviation[:, 2] >= deviation[:, 0] - 1e-12).all()
    assert (deviation[:, 0] >= deviation[:, 1] - 1e-12).all()
    np.testing.assert_allclose(iso, np.trace(shieldings, axis1=1, axis2=2) / 3)
    symmetric = 0.5 * (shieldings + shieldings.swapaxes(1, 2))
    np.testing.assert_allclose(np.einsum("nij,nj,nkj->nik", axes, values, axes), symmetric, atol=1e-11)


def test_haeberlen_order_differs_from_that_of_field_gradients():
    _, values, _ = tensors.shielding_principal(np.diag([100.0, 110.0, 150.0]))
    np.testing.assert_allclose(values, [100, 110, 150])  # deviations −20, −10, +30
    efg, _ = tensors.efg_principal(np.diag([-20.0, -10.0, 30.0]))
    np.testing.assert_allclose(efg, [-10, -20, 30])


def equivalent_frames(axes: np.ndarray) -> np.ndarray:
    """The four right-handed frames of the same principal axes, shape (n, 4, 3, 3)."""
    signs = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return axes[:, None] * signs[None, :, None, :]


@pytest.mark.parametrize("beta", [None, 0.0, 180.0, 90.0])
def test_euler_angles_round_trip_to_an_equivalent_frame(beta):
    if beta is None:
        axes = rotations(300)
    else:
        angles = np.random.default_rng(2).uniform(0, 360, size=(50, 2))
        turns = np.stack([angles[:, 0], np.full(50, beta), angles[:, 1]], axis=1)
        axes = Rotation.from_euler("ZYZ", turns, degrees=True).as_matrix()
    alpha_beta_gamma = tensors.euler_angles(axes)
    assert ((alpha_beta_gamma >= 0) & (alpha_beta_gamma <= [360, 90 + 1e-9, 180])).all()
    back = Rotation.from_euler("ZYZ", alpha_beta_gamma, degrees=True).as_matrix()
    distance = np.abs(equivalent_frames(axes) - back[:, None]).max(axis=(2, 3)).min(axis=1)
    assert distance.max() < 1e-7


def test_euler_angles_are_the_same_for_equivalent_frames():
    frames = equivalent_frames(rotations(100, seed=7))
    angles = tensors.euler_angles(frames)
    np.testing.assert_allclose(angles, np.broadcast_to(angles[:, :1], angles.shape), atol=1e-8)


def test_euler_differences_are_those_of_the_nearest_equivalent_set():
    first = Rotation.from_euler("ZYZ", [[350, 40, 20], [100, 80, 5]], degrees=True).as_matrix()
    second = Rotation.from_euler("ZYZ", [[4, 43, 15], [103, 81, 178]], degrees=True).as_matrix()
    frames = equivalent_frames(second)
    for number in range(4):
        found = tensors.euler_differences_deg(first, frames[:, number])
        np.testing.assert_allclose(found, [[14, 3, 5], [3, 1, 7]], atol=1e-9)


def test_axis_angle_has_no_sense_of_direction():
    z, tilted = np.array([0, 0, 1.0]), np.array([np.sin(0.3), 0, np.cos(0.3)])
    assert tensors.axis_angle_deg(z, tilted) == pytest.approx(np.degrees(0.3))
    assert tensors.axis_angle_deg(-z, tilted) == pytest.approx(np.degrees(0.3))
