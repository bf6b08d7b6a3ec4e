"""Averaging 64 values at once, where the processor looks up bytes in its registers.

With AVX-512 VBMI a table of 256 bytes lies in four registers, and three instructions look up 64
values; elsewhere each value takes two loads. A summand of light has four bytes, so there are four
tables. numba has no vectors: these are functions for its loops, written in LLVM's terms.
"""

from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gopro_tools.averaging import CODE_SHIFT, DARK_BITS, DARK_SHIFT, N_DARK, VECTOR_BIN_SHIFT

HAS_BYTE_LOOKUPS = bool(llvmlite.binding.get_host_cpu_features().get("avx512vbmi"))
"""Whether this processor can run what is defined here."""
N_AT_ONCE = 64
MOST_FRAMES = 257
"""Frames whose bytes add up to 16 bits."""

_Generated = tuple[Any, Callable[..., Any]]
"""Types of a function, and what writes its code."""

_BIT, _BYTE, _WORD, _INT, _LONG = (ir.IntType(n_bits) for n_bits in (1, 8, 16, 32, 64))
_N_LANES = 16
_BYTES, _WORDS = ir.VectorType(_BYTE, 64), ir.VectorType(_WORD, 32)
_INTS, _FLAGS = ir.VectorType(_INT, _N_LANES), ir.VectorType(_BIT, _N_LANES)
_BYTES_OF_SUMMAND = 4


@intrinsic
def add_light_of_64(
    _: Any,
    memory: Any,
    starts: Any,
    place: Any,
    first: Any,
    stop: Any,
    planes: Any,
    sums: Any,
    at: Any,
) -> _Generated:
    """Add what frames ``[first, stop)``, `MOST_FRAMES` at most, give to 64 sums.

    Args:
        memory: uint8, with the frames.
        starts: int64, where each frame begins in it.
        place: Of the first of the 64 values in a frame.
        first: First frame.
        stop: The one after the last.
        planes: (1024,) uint8, the first bytes of all summands, then their second bytes, ...
        sums: uint32, of light; or uint64, with the sums of the codes from bit ``CODE_SHIFT`` on.
        at: Of the first of the 64 sums.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        memory, starts, planes, sums = _data(context, builder, signature, values)
        place, first, stop, at = (values[i] for i in (2, 3, 4, 7))
        tables = [
            [_load(builder, planes, _LONG(256 * byte + 64 * part), _BYTES) for part in range(4)]
            for byte in range(_BYTES_OF_SUMMAND)
        ]
        shifts = [8 * byte for byte in range(_BYTES_OF_SUMMAND)]
        with_codes = sums.type.pointee == _LONG
        if with_codes:
            shifts.append(CODE_SHIFT)
        # Bytes are added up as words: those of even and those of odd values apart.
        totals = [
            [cgutils.alloca_once_value(builder, _all(_WORDS, 0)) for _ in range(2)] for _ in shifts
        ]
        with cgutils.for_range_slice(builder, first, stop, _LONG(1), _LONG) as (frame, _):
            start = builder.load(builder.gep(starts, [frame]))
            codes = _load(builder, memory, builder.add(start, place), _BYTES)
            found = [_looked_up(builder, table, codes) for table in tables]
            if with_codes:
                found.append(codes)
            for byte, (even, odd) in zip(found, totals, strict=True):
                words = builder.bitcast(byte, _WORDS)
                for total, part in (
                    (even, builder.and_(words, _all(_WORDS, 255))),
                    (odd, builder.lshr(words, _all(_WORDS, 8))),
                ):
                    builder.store(builder.add(builder.load(total), part), total)
        wide = ir.VectorType(sums.type.pointee, 32)
        halves = [_all(wide, 0), _all(wide, 0)]
        for shift, total in zip(shifts, totals, strict=True):
            for parity in range(2):
                part = builder.zext(builder.load(total[parity]), wide)
                part = builder.shl(part, _all(wide, shift))
                halves[parity] = builder.add(halves[parity], part)
        order = [i + 32 * parity for i in range(32) for parity in range(2)]
        light = builder.shuffle_vector(*halves, ir.Constant(ir.VectorType(_INT, 64), order))
        target = _pointer(builder, sums, at, light.type)
        light = builder.add(light, builder.load(target, align=4))
        builder.store(light, target, align=4)
        return context.get_dummy_value()

    return types.void(memory, starts, place, first, stop, planes, sums, at), generate


@intrinsic
def codes_of_64(_: Any, sums: Any, bins: Any, margin: Any, codes: Any, at: Any) -> _Generated:
    """Put down the codes of 64 sums of light, and return whether rounding could decide any.

    Args:
        sums: As in `add_light_of_64`.
        bins: uint32; see `_vector_bins` of `gopro_tools.averaging`.
        margin: How far a sum and a limit together may be off by their rounding.
        codes: uint8, where to put them.
        at: Of the first one, among sums and codes.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        sums, bins, codes = _data(context, builder, signature, values)
        at = values[4]
        margin = builder.trunc(values[2], _INT)
        margin = builder.insert_element(ir.Constant(_INTS, ir.Undefined), margin, _INT(0))
        margin = builder.shuffle_vector(margin, margin, _all(_INTS, 0))
        doubtful = _all(_FLAGS, 0)
        for part in range(0, N_AT_ONCE, _N_LANES):
            here = builder.add(at, _LONG(part))
            light = _load(builder, sums, here, ir.VectorType(sums.type.pointee, _N_LANES))
            if sums.type.pointee == _LONG:
                light = builder.trunc(light, _INTS)
            is_dark = builder.icmp_unsigned("<", light, _all(_INTS, 1 << DARK_BITS))
            shift = builder.select(is_dark, _all(_INTS, DARK_SHIFT), _all(_INTS, VECTOR_BIN_SHIFT))
            number = builder.lshr(light, shift)
            inside = builder.sub(light, builder.shl(number, shift))
            skipped = builder.select(is_dark, _all(_INTS, 0), _all(_INTS, N_DARK))
            entry = _gathered(builder, bins, builder.add(number, skipped))
            limit = builder.lshr(entry, _all(_INTS, 9))
            inside = builder.add(inside, margin)
            is_above = builder.icmp_unsigned(">=", inside, limit)
            code = builder.trunc(
                builder.add(entry, builder.zext(is_above, _INTS)), ir.VectorType(_BYTE, _N_LANES)
            )
            builder.store(code, _pointer(builder, codes, here, code.type), align=1)
            # From as far before the limit as behind it; to the end where there are more limits.
            beyond = builder.sub(builder.add(inside, margin), limit)
            has_more = builder.shl(builder.and_(entry, _all(_INTS, 256)), _all(_INTS, 20))
            reach = builder.add(builder.add(margin, margin), has_more)
            doubtful = builder.or_(doubtful, builder.icmp_unsigned("<", beyond, reach))
        return builder.icmp_unsigned("!=", builder.bitcast(doubtful, _WORD), _WORD(0))

    return types.boolean(sums, bins, margin, codes, at), generate


def _data(context: Any, builder: Any, signature: Any, values: Any) -> list[Any]:
    """Where the values of each array among the arguments begin."""
    return [
        context.make_array(kind)(context, builder, value).data
        for kind, value in zip(signature.args, values, strict=True)
        if isinstance(kind, types.Array)
    ]


def _pointer(builder: Any, data: Any, at: Any, kind: ir.Type) -> Any:
    return builder.bitcast(builder.gep(data, [at]), kind.as_pointer())


def _load(builder: Any, data: Any, at: Any, kind: ir.Type) -> Any:
    return builder.load(_pointer(builder, data, at, kind), align=1)


def _all(kind: ir.VectorType, value: int) -> ir.Constant:
    """A vector of equal numbers."""
    return ir.Constant(kind, [value] * kind.count)


def _looked_up(builder: Any, table: list[Any], codes: Any) -> Any:
    """Bytes of a table by 64 codes."""
    permute = builder.module.declare_intrinsic(
        "llvm.x86.avx512.vpermi2var.qi.512", (), ir.FunctionType(_BYTES, [_BYTES] * 3)
    )
    low = builder.call(permute, [table[0], codes, table[1]])
    high = builder.call(permute, [table[2], codes, table[3]])
    return builder.select(builder.icmp_signed("<", codes, _all(_BYTES, 0)), high, low)


def _gathered(builder: Any, table: Any, places: Any) -> Any:
    """Entries of a table of uint32 by 16 places."""
    gather = builder.module.declare_intrinsic(
        "llvm.x86.avx512.mask.gather.dpi.512",
        (),
        ir.FunctionType(_INTS, [_INTS, _BYTE.as_pointer(), _INTS, _FLAGS, _INT]),
    )
    base = builder.bitcast(table, _BYTE.as_pointer())
    return builder.call(gather, [_all(_INTS, 0), base, places, _all(_FLAGS, 1), _INT(4)])
