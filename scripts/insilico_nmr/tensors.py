"""Tensor conventions of the study, and the scalars that NMR reads from a tensor. Everything vectorised.

Field gradients are symmetric, traceless, in atomic units, |V_zz| ≥ |V_yy| ≥ |V_xx|, η = (V_xx − V_yy)/V_zz.
Shieldings are in ppm, in Haeberlen order |σ_zz − iso| ≥ |σ_xx − iso| ≥ |σ_yy − iso|; span = largest − smallest.
Euler angles are active, R = R_z(α)R_y(β)R_z(γ), with the principal axes as columns of R.
"""

import numpy as np

# Five orthonormal symmetric traceless matrices (Frobenius norm 1), in the order of real l = 2 spherical
# harmonics m = −2..2: xy, yz, z², xz, x²−y². `components @ L2_BASIS` is a 3×3 tensor. Shape (5, 3, 3).
_S = np.sqrt(0.5)
L2_BASIS = np.array(
    [
        [[0, _S, 0], [_S, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, _S], [0, _S, 0]],
        np.diag([-1, -1, 2]) / np.sqrt(6),
        [[0, 0, _S], [0, 0, 0], [_S, 0, 0]],
        np.diag([_S, -_S, 0]),
    ]
)

# The six elements of a symmetric tensor, in the order xx yy zz xy xz yz.
ROWS, COLUMNS = np.array([0, 1, 2, 0, 0, 1]), np.array([0, 1, 2, 1, 2, 2])

LEVI_CIVITA = np.zeros((3, 3, 3))
LEVI_CIVITA[[0, 1, 2], [1, 2, 0], [2, 0, 1]] = 1
LEVI_CIVITA[[0, 1, 2], [2, 0, 1], [1, 2, 0]] = -1

# Signs of principal axes under which a right-handed frame stays an equivalent one.
HALF_TURNS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


def to_components(tensors: np.ndarray, basis: np.ndarray = L2_BASIS) -> np.ndarray:
    """Project tensors (..., 3, 3) on the matrices of a basis (c, 3, 3), symmetric traceless by default: (..., c)."""
    return np.einsum("...ij,cij->...c", tensors, basis)


def from_components(components: np.ndarray, basis: np.ndarray = L2_BASIS) -> np.ndarray:
    """Tensors (..., 3, 3) of components (..., c) in a basis (c, 3, 3), symmetric traceless by default."""
    return np.einsum("...c,cij->...ij", components, basis)


def traceless_symmetric(tensors: np.ndarray) -> np.ndarray:
    """Symmetric traceless part of tensors, shape (..., 3, 3)."""
    symmetric = 0.5 * (tensors + np.swapaxes(tensors, -1, -2))
    return symmetric - np.trace(symmetric, axis1=-2, axis2=-1)[..., None, None] / 3 * np.eye(3)


def _ordered_eigensystem(tensors: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (..., 3) and right-handed axes (..., 3, 3; columns), sorted by |value|, then taken in `order`."""
    values, axes = np.linalg.eigh(tensors)
    rank = np.argsort(np.abs(values), axis=-1)[..., order]
    values = np.take_along_axis(values, rank, axis=-1)
    axes = np.take_along_axis(axes, rank[..., None, :], axis=-1)
    axes = axes * np.where(np.linalg.det(axes) < 0, -1.0, 1.0)[..., None, None]
    return values, axes


def efg_principal(tensors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal values (V_xx, V_yy, V_zz), shape (..., 3), and axes as columns, shape (..., 3, 3).

    Takes field gradients of shape (..., 3, 3). Order |V_zz| ≥ |V_yy| ≥ |V_xx|; the axes are right-handed.
    """
    return _ordered_eigensystem(tensors, np.array([0, 1, 2]))


def asymmetry(principal_values: np.ndarray) -> np.ndarray:
    """η = (V_xx − V_yy)/V_zz of principal values (..., 3); 0 where the tensor vanishes."""
    zz = principal_values[..., 2]
    safe = np.where(zz == 0, 1.0, zz)
    return np.where(zz == 0, 0.0, (principal_values[..., 0] - principal_values[..., 1]) / safe)


def shielding_principal(tensors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Isotropic value (...), Haeberlen values (σ_xx, σ_yy, σ_zz) (..., 3) and axes (..., 3, 3) of shieldings.

    Takes shape (..., 3, 3), ppm; the antisymmetric part does not enter (it is second order in a spectrum).
    """
    iso = np.trace(tensors, axis1=-2, axis2=-1) / 3
    deviations, axes = _ordered_eigensystem(traceless_symmetric(tensors), np.array([1, 0, 2]))
    return iso, deviations + iso[..., None], axes


def shift_ppm(isotropic_ppm: np.ndarray, reference_ppm: float) -> np.ndarray:
    """Shifts δ of isotropic shieldings (...), ppm, against the reference compound's.

    R. K. Harris et al., Pure Appl. Chem. 80, 59 (2008): δ = (σ_ref − σ)/(1 − σ_ref).
    """
    return (reference_ppm - isotropic_ppm) / (1 - reference_ppm * 1e-6)


def reduced_anisotropy(iso: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ζ = σ_zz − σ_iso and η, (...), of isotropic and Haeberlen values (..., 3); η is 0 where ζ is."""
    zeta = values[..., 2] - iso
    safe = np.where(zeta == 0, 1.0, zeta)
    return zeta, np.where(zeta == 0, 0.0, (values[..., 1] - values[..., 0]) / safe)


def anisotropy_and_span(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """σ_zz − (σ_xx + σ_yy)/2 and largest − smallest, (...), of Haeberlen values (..., 3)."""
    return values[..., 2] - values[..., :2].mean(axis=-1), np.ptp(values, axis=-1)


def euler_angles(axes: np.ndarray) -> np.ndarray:
    """Euler angles (α, β, γ) in degrees, shape (..., 3), of rotations R_z(α)R_y(β)R_z(γ), shape (..., 3, 3).

    Of the four equivalent sets (a principal axis has no sense of direction) the one with 0 ≤ β ≤ 90°,
    0 ≤ γ < 180° and 0 ≤ α < 360° is returned. At β = 0, γ is set to 0.
    """
    flip = np.where(axes[..., 2, 2] < 0, -1.0, 1.0)
    # A turn by 180° about the x axis of the principal frame reverses z and y and keeps the frame right-handed.
    axes = axes * np.stack([np.ones_like(flip), flip, flip], axis=-1)[..., None, :]
    # Not arccos of the cosine: near the pole that is blind to angles below 1e-8.
    sine = np.hypot(axes[..., 0, 2], axes[..., 1, 2])
    beta = np.arctan2(sine, axes[..., 2, 2])
    pole = sine < 1e-10
    alpha = np.where(pole, np.arctan2(axes[..., 1, 0], axes[..., 0, 0]), np.arctan2(axes[..., 1, 2], axes[..., 0, 2]))
    gamma = np.where(pole, 0.0, np.arctan2(axes[..., 2, 1], -axes[..., 2, 0]))
    # Another 180° about z: γ is defined modulo 180° (at the pole that freedom is in α instead).
    gamma_deg = np.degrees(gamma) % 180.0
    alpha_deg = np.where(pole, np.degrees(alpha) % 180.0, np.degrees(alpha) % 360.0)
    return np.stack([alpha_deg, np.degrees(beta), gamma_deg], axis=-1)


def euler_differences_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Differences (..., 3) of α, β and γ, 0 to 180°, between principal frames (..., 3, 3; axes as columns).

    Each of the four equivalent frames of the second has its own angles; those nearest in sum to the first's are taken.
    Where β is near 0, only α + γ is defined.
    """
    frames = second[..., None, :, :] * HALF_TURNS[:, None, :]
    away = np.abs((_raw_euler_deg(frames) - _raw_euler_deg(first)[..., None, :] + 180) % 360 - 180)
    nearest = away.sum(axis=-1).argmin(axis=-1)
    return np.take_along_axis(away, nearest[..., None, None], axis=-2)[..., 0, :]


def _raw_euler_deg(axes: np.ndarray) -> np.ndarray:
    """α, β, γ of frames as they are, β from 0 to 180°."""
    beta = np.arctan2(np.hypot(axes[..., 0, 2], axes[..., 1, 2]), axes[..., 2, 2])
    alpha = np.arctan2(axes[..., 1, 2], axes[..., 0, 2])
    return np.degrees(np.stack([alpha, beta, np.arctan2(axes[..., 2, 1], -axes[..., 2, 0])], axis=-1))


def axis_angle_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle in degrees, 0 to 90, between axes without direction; unit vectors of shape (..., 3)."""
    return np.degrees(np.arccos(np.clip(np.abs((first * second).sum(-1)), 0.0, 1.0)))


def frame_angle_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle in degrees, 0 to 120, of the smallest rotation between principal frames (..., 3, 3; axes as columns).

    Principal axes have no sense of direction: of the four equivalent right-handed frames the nearest is taken.
    """
    diagonal = np.einsum("...ki,...ki->...i", first, second)
    trace = (diagonal @ HALF_TURNS.T).max(axis=-1)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1.0, 1.0)))
