"""What the compiled kernels of kinetic Monte Carlo share: how they are compiled, calls into the cache, random numbers.

Random numbers: xoshiro256++ seeded by splitmix64 (D. Blackman, S. Vigna, ACM Trans. Math. Softw. 47, 36 (2021)).
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# Without numba's runtime no references to arrays are counted, which takes atomic instructions inside of loops and half
# the time of an event. Such functions can make no array and no view of one.
kernel = njit(cache=True, _nrt=False)
inlined = njit(cache=True, _nrt=False, inline="always")


@kernel
def copy_record(record, snapshots, step):
    """snapshots[step] = record, for ions' records (N, 4)."""
    for ion in range(record.shape[0]):
        for column in range(record.shape[1]):
            snapshots[step, ion, column] = record[ion, column]


@intrinsic
def prefetch(typing, array, index):
    """Call an element of an array, numbered in its C order, into the cache; nothing waits for it."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), cgutils.voidptr_t)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t] + 3 * [cgutils.int32_t])
        read, keep, of_data = (ir.Constant(cgutils.int32_t, value) for value in (0, 3, 1))
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(prefetch, [pointer, read, keep, of_data])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@intrinsic
def exponent(typing, number):
    """e of a positive normal number in [2^(e−1), 2^e), read from its bits."""

    def generate(context, builder, signature, arguments):
        bits = builder.bitcast(arguments[0], ir.IntType(64))
        biased = builder.lshr(bits, ir.Constant(ir.IntType(64), 52))
        return builder.sub(biased, ir.Constant(ir.IntType(64), 1022))

    return types.int64(types.float64), generate


@njit(cache=True)
def seeded(seed):
    """State of xoshiro256++, (4,) uint64, from a 64-bit seed by splitmix64."""
    state = np.empty(4, np.uint64)
    x = seed
    for i in range(4):
        x += np.uint64(0x9E3779B97F4A7C15)
        y = x
        y = (y ^ (y >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        y = (y ^ (y >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state[i] = y ^ (y >> np.uint64(31))
    return state


@inlined
def _rotated(x, bits):
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@inlined
def uniform(rng):
    """Uniform in [0, 1), 53 bits, from the next output of xoshiro256++."""
    out = _rotated(rng[0] + rng[3], 23) + rng[0]
    shifted = rng[1] << np.uint64(17)
    rng[2] ^= rng[0]
    rng[3] ^= rng[1]
    rng[1] ^= rng[2]
    rng[0] ^= rng[3]
    rng[2] ^= shifted
    rng[3] = _rotated(rng[3], 45)
    return np.int64(out >> np.uint64(11)) * 2.0**-53


@kernel
def draw_uniform(rng, out):
    """Fill a flat array with the next numbers of `uniform`; the state stays in registers meanwhile."""
    a, b, c, d = rng[0], rng[1], rng[2], rng[3]
    for n in range(len(out)):
        out[n] = np.int64((_rotated(a + d, 23) + a) >> np.uint64(11)) * 2.0**-53
        shifted = b << np.uint64(17)
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= shifted
        d = _rotated(d, 45)
    rng[0], rng[1], rng[2], rng[3] = a, b, c, d
