"""Vectors inside Numba: LANES floats as one value that lives in a register. load, store, splat, and + - *.

Numba leaves vectors to LLVM's loop vectoriser, which sees one inner loop at a time: it cannot keep a tile of a dozen sums in
registers across two loops. With a vector as a value the kernel says by name what stays where. LLVM turns it into one AVX-512
register, one AVX or two NEON ones, so the same code runs everywhere.

Nothing here checks bounds, and an index must not be negative.
"""

import operator

from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic, models, overload, register_model


def _lanes() -> int:
    """Sixteen where registers hold 64 bytes, else eight (measured with AVX-512: 104 GFLOP/s a core with 16, 63 with 8)."""
    features = config.CPU_FEATURES
    if features is None:
        features = binding.get_host_cpu_features().flatten()
    return 16 if "+avx512f" in features else 8


LANES = _lanes()

_I32 = ir.IntType(32)
_FLOAT = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


class Vector(types.Type):
    """Numba's type of LANES float32 or float64."""

    def __init__(self, scalar):
        self.scalar = scalar
        self.llvm = ir.VectorType(_FLOAT[scalar], LANES)
        super().__init__(name=f"{scalar}x{LANES}")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, vector.llvm)


@intrinsic
def pointer(typing, array):
    """Where the array's numbers begin, for the functions below to use in its place.

    Numba counts references wherever an array is passed on, with a locked instruction that costs more than copying a short row. A
    pointer is not counted. So take it only of an argument: the caller holds that array until the call returns.
    """

    def generate(context, builder, signature, args):
        return cgutils.create_struct_proxy(array)(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), generate


def _address(context, builder, signature, args):
    """The address of args[0][args[1]], for an array or a pointer."""
    base = args[0]
    if isinstance(signature.args[0], types.Array):
        base = cgutils.create_struct_proxy(signature.args[0])(context, builder, base).data
    return builder.gep(base, [args[1]])


def _splat(builder, vector: Vector, scalar):
    return _splat_into(builder, vector.llvm, scalar)


def _splat_into(builder, vector: ir.VectorType, scalar):
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, _I32(0))
    everywhere = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), everywhere)


@intrinsic
def peek(typing, array, i):
    """array[i], without the test for a negative index that costs a third of a short loop."""

    def generate(context, builder, signature, args):
        return builder.load(_address(context, builder, signature, args))

    return array.dtype(array, types.intp), generate


@intrinsic
def poke(typing, array, i, value):
    """array[i] = value, likewise."""

    def generate(context, builder, signature, args):
        builder.store(args[2], _address(context, builder, signature, args))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), generate


@intrinsic
def prefetch(typing, array, i):
    """Ask for the cache line of array[i], which is to be loaded soon; where there is no such memory, nothing happens."""

    def generate(context, builder, signature, args):
        byte = ir.IntType(8).as_pointer()
        shape = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        address = builder.bitcast(_address(context, builder, signature, args), byte)
        reading, into_second_level, data = _I32(0), _I32(2), _I32(1)
        intrinsic = builder.module.declare_intrinsic("llvm.prefetch", [byte], shape)
        builder.call(intrinsic, [address, reading, into_second_level, data])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def in_order(typing):
    """Keep the compiler from moving loads and stores across this point; nothing is executed.

    A loop whose sums fill the registers needs it: LLVM unrolls the loop, brings the loads of two rounds together, and has no
    registers left for them, so sums go to memory and back in every round (measured: 62 GFLOP/s a core, and 101 in order).
    """

    def generate(context, builder, signature, args):
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], side_effect=True)
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def load(typing, array, i):
    """array[i : i + LANES] of a flat array, at any alignment."""
    vector = Vector(array.dtype)

    def generate(context, builder, signature, args):
        address = builder.bitcast(_address(context, builder, signature, args), vector.llvm.as_pointer())
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp), generate


@intrinsic
def store(typing, array, i, v):
    """array[i : i + LANES] = v."""

    def generate(context, builder, signature, args):
        address = builder.bitcast(_address(context, builder, signature, args), v.llvm.as_pointer())
        builder.store(args[2], address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, v), generate


def _mask(builder, bits):
    """Bit k of a whole number says whether lane k takes part."""
    return builder.bitcast(builder.trunc(bits, ir.IntType(LANES)), ir.VectorType(ir.IntType(1), LANES))


@intrinsic
def load_masked(typing, array, i, bits):
    """array[i + lane] in the lanes whose bit is set, and 0 in the others, whose memory is not read: i itself may be negative."""
    vector = Vector(array.dtype)

    def generate(context, builder, signature, args):
        address = builder.bitcast(_address(context, builder, signature, args), vector.llvm.as_pointer())
        masked = [address, _I32(array.dtype.bitwidth // 8), _mask(builder, args[2]), ir.Constant(vector.llvm, None)]
        shape = ir.FunctionType(vector.llvm, [value.type for value in masked])
        name = f"llvm.masked.load.v{LANES}f{array.dtype.bitwidth}.p0"
        return builder.call(cgutils.get_or_insert_function(builder.module, shape, name), masked)

    return vector(array, types.intp, bits), generate


@intrinsic
def store_masked(typing, array, i, v, bits):
    """array[i + lane] = v's, in the lanes whose bit is set."""

    def generate(context, builder, signature, args):
        address = builder.bitcast(_address(context, builder, signature, args), v.llvm.as_pointer())
        masked = [args[2], address, _I32(array.dtype.bitwidth // 8), _mask(builder, args[3])]
        shape = ir.FunctionType(ir.VoidType(), [value.type for value in masked])
        name = f"llvm.masked.store.v{LANES}f{array.dtype.bitwidth}.p0"
        builder.call(cgutils.get_or_insert_function(builder.module, shape, name), masked)
        return context.get_dummy_value()

    return types.void(array, types.intp, v, bits), generate


@intrinsic
def masked(typing, vectors, bits):
    """The vectors of a tuple in the lanes whose bit is set, and 0 in the others."""

    def generate(context, builder, signature, args):
        mask, zeros = _mask(builder, args[1]), ir.Constant(vectors.dtype.llvm, None)
        kept = [builder.select(mask, v, zeros) for v in cgutils.unpack_tuple(builder, args[0])]
        return context.make_tuple(builder, vectors, kept)

    return vectors(vectors, bits), generate


@intrinsic
def load_each(typing, array, i, step, like):
    """As many vectors as the tuple ``like`` has items, ``step`` numbers apart: the first is load(array, i)."""
    vector = Vector(array.dtype)

    def generate(context, builder, signature, args):
        address, loaded = _address(context, builder, signature, args), []
        for _ in range(like.count):
            loaded.append(
                builder.load(builder.bitcast(address, vector.llvm.as_pointer()), align=array.dtype.bitwidth // 8)
            )
            address = builder.gep(address, [args[2]])
        return context.make_tuple(builder, signature.return_type, loaded)

    return types.UniTuple(vector, like.count)(array, types.intp, types.intp, like), generate


@intrinsic
def load_at(typing, array, i, offset, k, like):
    """array[i + offset[k + v]] and the numbers after it, for as many v as the tuple ``like`` has items."""
    vector = Vector(array.dtype)

    def generate(context, builder, signature, args):
        first = _address(context, builder, signature, args)
        offsets = _address(context, builder, types.none(*signature.args[2:]), args[2:])
        loaded = []
        for v in range(like.count):
            address = builder.gep(first, [builder.load(builder.gep(offsets, [args[1].type(v)]))])
            address = builder.bitcast(address, vector.llvm.as_pointer())
            loaded.append(builder.load(address, align=array.dtype.bitwidth // 8))
        return context.make_tuple(builder, signature.return_type, loaded)

    return types.UniTuple(vector, like.count)(array, types.intp, offset, types.intp, like), generate


@intrinsic
def load_rows(typing, array, i, step, like, low, high, zeros):
    """load_each, but zeros, read from an array of them, for those vectors whose number is not in low ... high - 1."""
    vector = Vector(array.dtype)

    def generate(context, builder, signature, args):
        _, _, step, _, low, high, zeros = args
        address, loaded = _address(context, builder, signature, args), []
        nothing = cgutils.create_struct_proxy(signature.args[6])(context, builder, zeros).data
        for number in map(step.type, range(like.count)):
            inside = builder.and_(builder.icmp_signed("<=", low, number), builder.icmp_signed("<", number, high))
            row = builder.select(inside, builder.gep(address, [builder.mul(step, number)]), nothing)
            loaded.append(builder.load(builder.bitcast(row, vector.llvm.as_pointer()), align=array.dtype.bitwidth // 8))
        return context.make_tuple(builder, signature.return_type, loaded)

    numbers = types.intp, types.intp, like, types.intp, types.intp
    return types.UniTuple(vector, like.count)(array, *numbers, zeros), generate


@intrinsic
def store_each(typing, array, i, step, vectors):
    """The vectors of a tuple to array[i], array[i + step] and so on."""

    def generate(context, builder, signature, args):
        address = _address(context, builder, signature, args)
        for v in cgutils.unpack_tuple(builder, args[3]):
            builder.store(v, builder.bitcast(address, v.type.as_pointer()), align=array.dtype.bitwidth // 8)
            address = builder.gep(address, [args[2]])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, vectors), generate


def _grid(builder, first, step, count: int, width: int, vector: Vector):
    """The addresses of ``count`` vectors: rows of ``width`` side by side, ``step`` numbers apart."""
    for i in range(count // width):
        row = builder.gep(first, [builder.mul(step, step.type(i))])
        for v in range(width):
            yield builder.bitcast(builder.gep(row, [step.type(v * LANES)]), vector.llvm.as_pointer())


@intrinsic
def load_grid(typing, array, i, step, like, width):
    """As many vectors as the tuple ``like`` has items: rows of as many as ``width`` has, ``step`` numbers apart."""
    vector = Vector(array.dtype)

    def generate(context, builder, signature, args):
        first = _address(context, builder, signature, args)
        addresses = _grid(builder, first, args[2], like.count, width.count, vector)
        loaded = [builder.load(address, align=array.dtype.bitwidth // 8) for address in addresses]
        return context.make_tuple(builder, signature.return_type, loaded)

    return types.UniTuple(vector, like.count)(array, types.intp, types.intp, like, width), generate


@intrinsic
def store_grid(typing, array, i, step, vectors, width):
    """The vectors of a tuple to where load_grid finds them."""

    def generate(context, builder, signature, args):
        first = _address(context, builder, signature, args)
        addresses = _grid(builder, first, args[2], vectors.count, width.count, vectors.dtype)
        for v, address in zip(cgutils.unpack_tuple(builder, args[3]), addresses):
            builder.store(v, address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, vectors, width), generate


@intrinsic
def splat(typing, like, number):
    """The number in every lane, in the precision of the array ``like``."""
    vector = Vector(like.dtype)

    def generate(context, builder, signature, args):
        return _splat(builder, vector, args[1])

    return vector(like, like.dtype), generate


@intrinsic
def splat_each(typing, like, number, items):
    """As many of these vectors as the tuple ``items`` has."""
    vector = Vector(like.dtype)

    def generate(context, builder, signature, args):
        return context.make_tuple(builder, signature.return_type, [_splat(builder, vector, args[1])] * items.count)

    return types.UniTuple(vector, items.count)(like, like.dtype, items), generate


@intrinsic
def splat_like(typing, v, number):
    """The whole number in every lane of a vector like v."""

    def generate(context, builder, signature, args):
        return _splat(builder, v, builder.sitofp(args[1], _FLOAT[v.scalar]))

    return v(v, types.intp), generate


@intrinsic
def constant(typing, v, number):
    """The number in every lane of a vector like v."""

    def generate(context, builder, signature, args):
        return _splat(builder, v, args[1])

    return v(v, v.scalar), generate


@intrinsic
def splat_at(typing, array, i):
    """array[i] in every lane: one broadcasting load."""
    vector = Vector(array.dtype)

    def generate(context, builder, signature, args):
        return _splat(builder, vector, builder.load(_address(context, builder, signature, args)))

    return vector(array, types.intp), generate


def _turn_eight(builder, rows):
    """Three steps for 8 x 8, of which only the last crosses the middle of a register, as AVX does at twice the cost.

    First the numbers of neighbouring rows alternate, within each half of a register; then pairs of them do. So the first column's
    upper four numbers stand beside the fifth column's; the last step joins upper and lower fours.
    """

    def picks(*lanes):
        return ir.Constant(ir.VectorType(_I32, LANES), lanes)

    numbers = picks(0, 8, 1, 9, 4, 12, 5, 13), picks(2, 10, 3, 11, 6, 14, 7, 15)
    pairs = picks(0, 1, 8, 9, 4, 5, 12, 13), picks(2, 3, 10, 11, 6, 7, 14, 15)
    fours = picks(0, 1, 2, 3, 8, 9, 10, 11), picks(4, 5, 6, 7, 12, 13, 14, 15)
    both = [[builder.shuffle_vector(*rows[r : r + 2], lanes) for lanes in numbers] for r in (0, 2, 4, 6)]
    upper, lower = (
        [builder.shuffle_vector(a, b, lanes) for a, b in zip(*two) for lanes in pairs] for two in (both[:2], both[2:])
    )
    return [builder.shuffle_vector(a, b, lanes) for lanes in fours for a, b in zip(upper, lower)]


def _turn_by_dealing(builder, rows):
    """One step deals the first half of the rows and the second alternately into each other, lane by lane, as one shuffles cards. A
    number in row r, lane k is then in row 2r + (k's highest bit), lane 2k + (r's highest bit), each modulo LANES: so after as many
    steps as LANES has bits, r and k have changed places.
    """
    half = LANES // 2
    masks = [ir.Constant(ir.VectorType(_I32, LANES), lanes) for lanes in (_ALTERNATELY[:LANES], _ALTERNATELY[LANES:])]
    for _ in range(half.bit_length()):
        pairs = zip(rows[:half], rows[half:])
        rows = [builder.shuffle_vector(a, b, mask) for a, b in pairs for mask in masks]
    return rows


@intrinsic
def turned(typing, vectors):
    """LANES vectors as the rows of a square: its columns."""
    turn = _turn_eight if LANES == 8 else _turn_by_dealing

    def generate(context, builder, signature, args):
        return context.make_tuple(builder, signature.return_type, turn(builder, cgutils.unpack_tuple(builder, args[0])))

    return types.UniTuple(vectors.dtype, LANES)(vectors), generate


def _lanes_of_both(first: list[int], second: list[int]):
    """An intrinsic (a, b) that picks two vectors from the lanes of a, numbered from 0, and those of b after them."""

    @intrinsic
    def operation(typing, a, b):
        def generate(context, builder, signature, args):
            masks = (ir.Constant(ir.VectorType(_I32, LANES), lanes) for lanes in (first, second))
            picked = [builder.shuffle_vector(*args, mask) for mask in masks]
            return context.make_tuple(builder, signature.return_type, picked)

        return types.UniTuple(a, 2)(a, a), generate

    return operation


unzip = _lanes_of_both(list(range(0, 2 * LANES, 2)), list(range(1, 2 * LANES, 2)))
"""(even lanes, odd lanes) of a and, after it, b."""

_ALTERNATELY = [lane for k in range(LANES) for lane in (k, LANES + k)]
interleave = _lanes_of_both(_ALTERNATELY[:LANES], _ALTERNATELY[LANES:])
"""The inverse: a's and b's lanes alternately, in two vectors."""


@intrinsic
def multiply_add(typing, sums, array, i, step, x):
    """sums[m, v] + array[i + m step] x[v]: an outer product added to the sums, rows of as many vectors as x has."""

    def generate(context, builder, signature, args):
        sums, xs = cgutils.unpack_tuple(builder, args[0]), cgutils.unpack_tuple(builder, args[4])
        address, results = _address(context, builder, signature.return_type(*signature.args[1:]), args[1:]), []
        for m in range(len(sums) // len(xs)):
            factor = _splat(builder, x.dtype, builder.load(address))
            for total, v in zip(sums[m * len(xs) :], xs):
                term = builder.fmul(factor, v, flags=("contract",))
                results.append(builder.fadd(total, term, flags=("contract",)))
            address = builder.gep(address, [args[3]])
        return context.make_tuple(builder, signature.return_type, results)

    return sums(sums, array, types.intp, types.intp, x), generate


@intrinsic
def add_outer(typing, sums, a, b):
    """sums[m, v] + a[m] b[v], lane by lane."""

    def generate(context, builder, signature, args):
        sums, a, b = (cgutils.unpack_tuple(builder, vectors) for vectors in args)
        pairs = ((one, other) for one in a for other in b)
        terms = [builder.fmul(one, other, flags=("contract",)) for one, other in pairs]
        results = [builder.fadd(total, term, flags=("contract",)) for total, term in zip(sums, terms)]
        return context.make_tuple(builder, signature.return_type, results)

    return sums(sums, a, b), generate


@intrinsic
def add_lane_sums(typing, array, i, vectors):
    """array[i + v] += the sum of the lanes of vectors[v]; and += 0 as far as the last whole vector reaches.

    The steps are those of ``_turn_by_dealing``, but the two rows that each makes of two are added up at once. So one row is
    left, whose lane v holds the sum of row v.
    """
    vector = vectors.dtype
    masks = [ir.Constant(ir.VectorType(_I32, LANES), lanes) for lanes in (_ALTERNATELY[:LANES], _ALTERNATELY[LANES:])]

    def generate(context, builder, signature, args):
        first, rows = _address(context, builder, signature, args), cgutils.unpack_tuple(builder, args[2])
        for start in range(0, len(rows), LANES):
            some = rows[start : start + LANES]
            some += [ir.Constant(vector.llvm, None)] * (LANES - len(some))
            while len(some) > 1:
                pairs = zip(some[: len(some) // 2], some[len(some) // 2 :])
                some = [builder.fadd(*(builder.shuffle_vector(*pair, mask) for mask in masks)) for pair in pairs]
            address = builder.bitcast(builder.gep(first, [args[1].type(start)]), vector.llvm.as_pointer())
            before = builder.load(address, align=array.dtype.bitwidth // 8)
            builder.store(builder.fadd(before, some[0]), address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vectors), generate


@intrinsic
def at_least(typing, v, least):
    """v, a vector or a tuple of them, but ``least`` where it is below that; NaN stays."""

    def generate(context, builder, signature, args):
        def floor(one):  # one instruction where it is written so
            return builder.select(builder.fcmp_ordered(">", args[1], one), args[1], one)

        if v == least:
            return floor(args[0])
        return context.make_tuple(builder, v, list(map(floor, cgutils.unpack_tuple(builder, args[0]))))

    return v(v, least), generate


@intrinsic
def power_of_two(typing, v):
    """2^n for float32 v = 3 2^22 + n: moved up, the last bits of v are an exponent."""
    bits = ir.VectorType(_I32, LANES)

    def generate(context, builder, signature, args):
        mantissa_bits, bias = (ir.Constant(bits, [number] * LANES) for number in (23, 127 << 23))
        exponent = builder.shl(builder.bitcast(args[0], bits), mantissa_bits)
        return builder.bitcast(builder.add(exponent, bias), v.llvm)

    return v(v), generate


@intrinsic
def exp_libm(typing, v):
    """e^v by the C library, lane by lane."""

    def generate(context, builder, signature, args):
        shape = ir.FunctionType(v.llvm, [v.llvm])
        name = f"llvm.exp.v{LANES}f{v.scalar.bitwidth}"
        return builder.call(cgutils.get_or_insert_function(builder.module, shape, name), args)

    return v(v), generate


def _arithmetic(instruction: str):
    @intrinsic
    def operation(typing, a, b):
        def generate(context, builder, signature, args):
            return getattr(builder, instruction)(*args, flags=("contract",))  # a*b + c may become one instruction

        return a(a, b), generate

    return operation


def _overload(operation, instruction: str) -> None:
    on_vectors = _arithmetic(instruction)

    @overload(operation)
    def typed(a, b):
        if isinstance(a, Vector) and a == b:
            return lambda a, b: on_vectors(a, b)
        return None


_overload(operator.add, "fadd")
_overload(operator.sub, "fsub")
_overload(operator.mul, "fmul")
