"""The inner loops of writing PNG files, for `gopro_tools.machine_code`: deflate (RFC 1951).

Rows as differences to the row above are mostly small numbers without a pattern, so that searching
for repetitions, which is what takes deflate its time, finds next to nothing. Only runs of zeros are
looked for, eight bytes at a time; all else is Huffman-coded, two bytes a look-up.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from gopro_tools.machine_code import INNER_OPTIONS, OPTIONS
from gopro_tools.png_encoder import LONGEST_RUN, N_SYMBOLS

_END = 256
_LENGTHS = 257
"""First of the symbols for lengths of runs."""
_MOST_BITS = 13
"""Of a code, so that four fit into a word with what is left of the codes before them."""
_STRETCH, _EVERY, _FEW = 512, 16, 1 << 15
"""Words: symbols are counted in one stretch of 16, in a short stream in all."""

# Unsigned throughout, as numba turns a mix of uint64 and int64 into float64.
_0, _3, _4, _7, _16, _32, _48, _56 = (np.uint64(n) for n in (0, 3, 4, 7, 16, 32, 48, 56))
_BYTE, _PAIR = np.uint64(0xFF), np.uint64(0xFFFF)
_LENGTH_SHIFT = np.uint64(27)
_CODE_MASK = np.uint64((1 << 27) - 1)
"""An entry of a table: the bits to write, first one lowest, and from bit 27 on their number."""


@intrinsic
def _store_word(_: Any, out: Any, at: Any, word: Any) -> Any:
    """Write eight bytes at any place of a uint8 array, lowest first."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, values[0])
        place = builder.gep(array.data, [values[1]])
        builder.store(values[2], builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(out, at, word), generate


@njit(**OPTIONS)
def deflate(
    words: Any,
    n_rest: Any,
    counts: Any,
    nodes: Any,
    entries: Any,
    pairs: Any,
    runs: Any,
    out: Any,
    stop: Any,
) -> None:
    """One block of deflate, from ``out[stop[0]]`` on; then ``stop[0]`` is where it ends.

    Args:
        words: uint64, the bytes to compress, eight in each but the last, which has ``n_rest``.
        n_rest: 0 to 7.
        counts: (286,) int64, of each symbol.
        nodes: (3, 572) int64: work space.
        entries: (286,) uint32, of each symbol.
        pairs: (65536,) uint32, of each pair of bytes, the first one in the lower bits.
        runs: (259,) uint32, of runs of zeros that follow a zero, by their length from 3 on.
        out: uint8, at least 13 bits for each byte and 1024 bytes more.
        stop: (1,) int64.
    """
    whole = words[: len(words) - 1]
    _count(whole, counts)
    _set_lengths(counts, nodes)
    lengths = nodes[2]
    _set_entries(lengths, entries)
    _set_tables(entries, pairs, runs)
    at, bits, n_bits = _put_header(out, np.uint64(stop[0]), lengths)
    at, bits, n_bits = _put_words(out, at, bits, n_bits, whole, entries, pairs, runs)
    rest = words[len(words) - 1]
    for i in range(n_rest):
        byte = rest >> np.uint64(8 * i) & _BYTE
        at, bits, n_bits = _put_entry(out, at, bits, n_bits, entries[byte])
    at, bits, n_bits = _put_entry(out, at, bits, n_bits, entries[_END])
    _store_word(out, at, bits)
    stop[0] = np.int64(at) + (1 if n_bits else 0)


@njit(**INNER_OPTIONS)
def _symbol_of_run(length: Any) -> Any:
    """(symbol, number of extra bits) for a length of 3 to 257."""
    past = length - 3
    n_extra = 0
    while past >> n_extra >= 8:
        n_extra += 1
    return _LENGTHS + 4 * n_extra + (past >> n_extra), n_extra


@njit(**INNER_OPTIONS)
def _count(words: Any, counts: Any) -> None:
    """About how often each symbol is needed, at least 1."""
    counts[:] = 0
    step = _STRETCH * (_EVERY if len(words) > _FEW else 1)
    for first in range(0, len(words), step):
        stop = min(first + _STRETCH, len(words))
        i = first
        while i < stop:
            word = words[i]
            if word == _0:
                begin = i
                while i < stop and words[i] == _0:
                    i += 1
                left = 8 * (i - begin) - 1  # odd, as is what whole runs of 258 leave
                counts[0] += 1
                counts[N_SYMBOLS - 1] += left // LONGEST_RUN
                rest = left % LONGEST_RUN
                counts[_symbol_of_run(rest)[0] if rest >= 3 else 0] += 1
            else:
                for byte in range(8):
                    counts[word >> np.uint64(8 * byte) & _BYTE] += 1
                i += 1
    for symbol in range(N_SYMBOLS):
        counts[symbol] = _EVERY * counts[symbol] + 1


@njit(**INNER_OPTIONS)
def _set_lengths(counts: Any, nodes: Any) -> None:
    """``nodes[2, :286]`` = lengths of the codes, at most 13, that use up all codes there are."""
    order, weights, depths = nodes[0, :N_SYMBOLS], nodes[1], nodes[2]
    for i in range(N_SYMBOLS):  # sorted by insertion
        j = i
        while j > 0 and counts[order[j - 1]] > counts[i]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i
    # Huffman's tree: leaves in order, then inner nodes, whose weights come in order, too.
    n_nodes = 2 * N_SYMBOLS - 1
    for i in range(N_SYMBOLS):
        weights[i] = counts[order[i]]
    leaf, inner = 0, N_SYMBOLS
    parent_of = depths  # until depths are known
    for made in range(N_SYMBOLS, n_nodes):
        weights[made] = 0
        for _i in range(2):
            takes_leaf = leaf < N_SYMBOLS and (inner == made or weights[leaf] <= weights[inner])
            taken = leaf if takes_leaf else inner
            if takes_leaf:
                leaf += 1
            else:
                inner += 1
            weights[made] += weights[taken]
            parent_of[taken] = made
    weights[n_nodes - 1] = 0  # from here on depths
    for i in range(n_nodes - 2, -1, -1):
        weights[i] = weights[parent_of[i]] + 1
    room = 1 << _MOST_BITS
    for i in range(N_SYMBOLS):
        weights[i] = min(weights[i], _MOST_BITS)
        room -= 1 << (_MOST_BITS - weights[i])
    # Too many short codes: rare symbols give way, the least of those that cost least first.
    while room < 0:
        longest = -1
        for i in range(N_SYMBOLS):
            if weights[i] < _MOST_BITS and (longest < 0 or weights[i] > weights[longest]):
                longest = i
        weights[longest] += 1
        room += 1 << (_MOST_BITS - weights[longest])
    # What is left over goes to frequent symbols.
    for i in range(N_SYMBOLS - 1, -1, -1):
        while weights[i] > 1 and room >= 1 << (_MOST_BITS - weights[i]):
            room -= 1 << (_MOST_BITS - weights[i])
            weights[i] -= 1
    for i in range(N_SYMBOLS):
        depths[order[i]] = weights[i]


@njit(**INNER_OPTIONS)
def _set_entries(lengths: Any, entries: Any) -> None:
    """Canonical codes, in the order of lengths, then of symbols; their first bit lowest."""
    code = 0
    for length in range(1, _MOST_BITS + 1):
        for symbol in range(N_SYMBOLS):
            if lengths[symbol] == length:
                turned = 0
                for bit in range(length):
                    turned |= (code >> bit & 1) << (length - 1 - bit)
                entries[symbol] = turned | length << 27
                code += 1
        code <<= 1


@njit(**INNER_OPTIONS)
def _set_tables(entries: Any, pairs: Any, runs: Any) -> None:
    mask = np.uint32((1 << 27) - 1)
    shift = np.uint32(27)
    for second in range(256):
        code, length = entries[second] & mask, entries[second] >> shift
        for first in range(256):
            n_before = entries[first] >> shift
            pairs[256 * second + first] = (
                (entries[first] & mask) | code << n_before | (n_before + length) << shift
            )
    for length in range(3, LONGEST_RUN):
        symbol, n_extra = _symbol_of_run(length)
        extra = length - 3 & (1 << n_extra) - 1
        n_bits = np.int64(entries[symbol] >> shift)
        code = np.int64(entries[symbol] & mask) | extra << n_bits
        # One more bit, 0, for the only distance: 1.
        runs[length] = code | (n_bits + n_extra + 1) << 27
    runs[LONGEST_RUN] = entries[N_SYMBOLS - 1] + (np.uint32(1) << shift)


@njit(**INNER_OPTIONS)
def _put(out: Any, at: Any, bits: Any, n_bits: Any, code: Any, length: Any) -> Any:
    """Write up to 52 bits behind the 7 or fewer that wait for a whole byte."""
    bits |= code << n_bits
    n_bits += length
    _store_word(out, at, bits)
    return at + (n_bits >> _3), bits >> (n_bits & _56), n_bits & _7


@njit(**INNER_OPTIONS)
def _put_entry(out: Any, at: Any, bits: Any, n_bits: Any, entry: Any) -> Any:
    wide = np.uint64(entry)
    return _put(out, at, bits, n_bits, wide & _CODE_MASK, wide >> _LENGTH_SHIFT)


@njit(**INNER_OPTIONS)
def _put_header(out: Any, at: Any, lengths: Any) -> Any:
    """The only block, and the lengths of its codes, each in 4 bits; one distance with 1 bit."""
    # Last block, own codes; 286 - 257 lengths, 1 - 1 distance, 19 - 4 lengths of lengths.
    header = np.uint64(0b101 | 29 << 3 | 0 << 8 | 15 << 13)
    at, bits, n_bits = _put(out, at, _0, _0, header, np.uint64(17))
    for i in range(19):  # repetitions come first, which are not used, then 0 to 15
        at, bits, n_bits = _put(out, at, bits, n_bits, _0 if i < 3 else _4, _3)
    for symbol in range(N_SYMBOLS + 1):
        length = lengths[symbol] if symbol < N_SYMBOLS else 1
        turned = length >> 3 | length >> 1 & 2 | length << 1 & 4 | length << 3 & 8
        at, bits, n_bits = _put(out, at, bits, n_bits, np.uint64(turned), _4)
    return at, bits, n_bits


@njit(**INNER_OPTIONS)
def _put_words(
    out: Any, at: Any, bits: Any, n_bits: Any, words: Any, entries: Any, pairs: Any, runs: Any
) -> Any:
    i = 0
    while i < len(words):
        word = words[i]
        if word == _0:
            begin = i
            while i < len(words) and words[i] == _0:
                i += 1
            left = 8 * (i - begin) - 1
            at, bits, n_bits = _put_entry(out, at, bits, n_bits, entries[0])
            while left >= 3:
                run = min(left, LONGEST_RUN)
                at, bits, n_bits = _put_entry(out, at, bits, n_bits, runs[run])
                left -= run
            if left:  # 1, as it is odd
                at, bits, n_bits = _put_entry(out, at, bits, n_bits, entries[0])
            continue
        one, two = np.uint64(pairs[word & _PAIR]), np.uint64(pairs[word >> _16 & _PAIR])
        length = one >> _LENGTH_SHIFT
        code = (one & _CODE_MASK) | (two & _CODE_MASK) << length
        at, bits, n_bits = _put(out, at, bits, n_bits, code, length + (two >> _LENGTH_SHIFT))
        one, two = np.uint64(pairs[word >> _32 & _PAIR]), np.uint64(pairs[word >> _48])
        length = one >> _LENGTH_SHIFT
        code = (one & _CODE_MASK) | (two & _CODE_MASK) << length
        at, bits, n_bits = _put(out, at, bits, n_bits, code, length + (two >> _LENGTH_SHIFT))
        i += 1
    return at, bits, n_bits
