"""Averaging 64 values at once, where the processor looks them up in its registers.

A table of 256 summands of light takes sixteen registers of AVX-512. Where it has VBMI, the table is
four of bytes, and three instructions look up one byte of 64 summands; elsewhere it is one of whole
summands, and eight instructions look up 16 of them. Without AVX-512 each value takes two loads.
numba has no vectors: these are functions for its loops, written in LLVM's terms.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gopro_tools.averaging import CODE_SHIFT, DARK_BITS, DARK_SHIFT, N_DARK, VECTOR_BIN_SHIFT

_FEATURES = llvmlite.binding.get_host_cpu_features()
_HAS_BYTE_LOOKUPS = bool(_FEATURES.get("avx512vbmi"))
HAS_LOOKUPS = _HAS_BYTE_LOOKUPS or bool(_FEATURES.get("avx512bw"))
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
_INT_TABLE = 1024
"""Where the table of whole summands begins, after those of bytes."""
_AHEAD = 1024
"""How far ahead of the values that are added memory is fetched."""


class _ByteSum:
    """Sums of 64 bytes each, as words: those of even and those of odd values apart."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder
        self._totals = [cgutils.alloca_once_value(builder, _all(_WORDS, 0)) for _ in range(2)]

    def add(self, found: Any) -> None:
        builder = self._builder
        words = builder.bitcast(found, _WORDS)
        parts = builder.and_(words, _all(_WORDS, 255)), builder.lshr(words, _all(_WORDS, 8))
        for total, part in zip(self._totals, parts, strict=True):
            builder.store(builder.add(builder.load(total), part), total)

    def halves(self, kind: ir.Type, shift: int) -> list[Any]:
        """The sums of even and of odd values, wider and shifted."""
        builder, wide = self._builder, ir.VectorType(kind, 32)
        parts = [builder.zext(builder.load(total), wide) for total in self._totals]
        return [builder.shl(part, _all(wide, shift)) for part in parts]


class _ByteLookups:
    """Sums of light of 64 values, byte by byte of the summands."""

    def __init__(self, builder: Any, tables: Any) -> None:
        self._builder = builder
        self._tables = [
            [_load(builder, tables, _LONG(256 * byte + 64 * part), _BYTES) for part in range(4)]
            for byte in range(_BYTES_OF_SUMMAND)
        ]
        self._sums = [_ByteSum(builder) for _ in self._tables]

    def add(self, memory: Any, here: Any) -> None:
        """Add the light of the 64 codes that begin here."""
        codes = _load(self._builder, memory, here, _BYTES)
        found = [_byte_looked_up(self._builder, table, codes) for table in self._tables]
        for total, byte in zip(self._sums, found, strict=True):
            total.add(byte)

    def total(self, kind: ir.Type) -> Any:
        """The sums as a vector of 64 numbers of a kind."""
        halves = [total.halves(kind, 8 * byte) for byte, total in enumerate(self._sums)]
        add = self._builder.add
        return _in_order(self._builder, [reduce(add, half) for half in zip(*halves, strict=True)])


class _IntLookups:
    """Sums of light of 64 values, 16 at a time."""

    def __init__(self, builder: Any, tables: Any) -> None:
        self._builder = builder
        self._table = [
            _load(builder, tables, _LONG(_INT_TABLE + 64 * part), _INTS) for part in range(16)
        ]
        self._totals = [
            cgutils.alloca_once_value(builder, _all(_INTS, 0)) for _ in range(N_AT_ONCE // _N_LANES)
        ]

    def add(self, memory: Any, here: Any) -> None:
        """Add the light of the 64 codes that begin here."""
        builder = self._builder
        few = ir.VectorType(_BYTE, _N_LANES)
        for part, total in enumerate(self._totals):
            at = builder.add(here, _LONG(_N_LANES * part))
            codes = builder.zext(_load(builder, memory, at, few), _INTS)
            found = _int_looked_up(builder, self._table, codes)
            builder.store(builder.add(builder.load(total), found), total)

    def total(self, kind: ir.Type) -> Any:
        """The sums as a vector of 64 numbers of a kind."""
        builder = self._builder
        parts = [builder.load(total) for total in self._totals]
        while len(parts) > 1:
            parts = [_joined(builder, *parts[i : i + 2]) for i in range(0, len(parts), 2)]
        wide = ir.VectorType(kind, N_AT_ONCE)
        return parts[0] if parts[0].type == wide else builder.zext(parts[0], wide)


@intrinsic
def add_light_of_64(
    _: Any,
    memory: Any,
    starts: Any,
    place: Any,
    first: Any,
    stop: Any,
    tables: Any,
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
        tables: (2048,) uint8; see `_Tables.in_registers` of `gopro_tools.averaging`.
        sums: uint32, of light; or uint64, with the sums of the codes from bit ``CODE_SHIFT`` on.
        at: Of the first of the 64 sums.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        memory, starts, tables, sums = _data(context, builder, signature, values)
        place, first, stop, at = (values[i] for i in (2, 3, 4, 7))
        kind = sums.type.pointee
        light = (_ByteLookups if _HAS_BYTE_LOOKUPS else _IntLookups)(builder, tables)
        of_codes = _ByteSum(builder) if kind == _LONG else None
        with cgutils.for_range_slice(builder, first, stop, _LONG(1), _LONG) as (frame, _):
            start = builder.load(builder.gep(starts, [frame]))
            here = builder.add(start, place)
            _fetch(builder, memory, builder.add(here, _LONG(_AHEAD)))
            light.add(memory, here)
            if of_codes is not None:
                of_codes.add(_load(builder, memory, here, _BYTES))
        found = light.total(kind)
        if of_codes is not None:
            found = builder.add(found, _in_order(builder, of_codes.halves(kind, CODE_SHIFT)))
        target = _pointer(builder, sums, at, found.type)
        builder.store(builder.add(found, builder.load(target, align=4)), target, align=4)
        return context.get_dummy_value()

    return types.void(memory, starts, place, first, stop, tables, sums, at), generate


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


def _fetch(builder: Any, data: Any, at: Any) -> None:
    """Have memory on its way before it is read: processors foresee few places at once."""
    prefetch = builder.module.declare_intrinsic(
        "llvm.prefetch.p0i8",
        (),
        ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _INT, _INT, _INT]),
    )
    builder.call(prefetch, [builder.gep(data, [at]), _INT(0), _INT(3), _INT(1)])


def _joined(builder: Any, first: Any, second: Any) -> Any:
    """One vector behind the other."""
    order = list(range(2 * first.type.count))
    return builder.shuffle_vector(
        first, second, ir.Constant(ir.VectorType(_INT, len(order)), order)
    )


def _in_order(builder: Any, halves: Sequence[Any]) -> Any:
    """What is known of even and of odd values, in their order."""
    order = [i + 32 * parity for i in range(32) for parity in range(2)]
    return builder.shuffle_vector(*halves, ir.Constant(ir.VectorType(_INT, N_AT_ONCE), order))


def _byte_looked_up(builder: Any, table: list[Any], codes: Any) -> Any:
    """Bytes of a table by 64 codes."""
    permute = builder.module.declare_intrinsic(
        "llvm.x86.avx512.vpermi2var.qi.512", (), ir.FunctionType(_BYTES, [_BYTES] * 3)
    )
    low = builder.call(permute, [table[0], codes, table[1]])
    high = builder.call(permute, [table[2], codes, table[3]])
    return builder.select(builder.icmp_signed("<", codes, _all(_BYTES, 0)), high, low)


def _int_looked_up(builder: Any, table: list[Any], codes: Any) -> Any:
    """Numbers of a table by 16 codes: each instruction looks up in 32 of the 256."""
    permute = builder.module.declare_intrinsic(
        "llvm.x86.avx512.vpermi2var.d.512", (), ir.FunctionType(_INTS, [_INTS] * 3)
    )
    found = [
        builder.call(permute, [table[i], codes, table[i + 1]]) for i in range(0, len(table), 2)
    ]
    for bit in (32, 64, 128):
        is_set = builder.icmp_unsigned("!=", builder.and_(codes, _all(_INTS, bit)), _all(_INTS, 0))
        found = [builder.select(is_set, found[i + 1], found[i]) for i in range(0, len(found), 2)]
    return found[0]


def _gathered(builder: Any, table: Any, places: Any) -> Any:
    """Entries of a table of uint32 by 16 places."""
    gather = builder.module.declare_intrinsic(
        "llvm.x86.avx512.mask.gather.dpi.512",
        (),
        ir.FunctionType(_INTS, [_INTS, _BYTE.as_pointer(), _INTS, _FLAGS, _INT]),
    )
    base = builder.bitcast(table, _BYTE.as_pointer())
    return builder.call(gather, [_all(_INTS, 0), base, places, _all(_FLAGS, 1), _INT(4)])
