"""Views of flat arrays that cost no reference count.

Reference counts are atomic additions on one cache line: two threads that slice the same buffer in every step of a
small network spend longer there than in its arithmetic.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.emit.emitter import INDEX, item_bytes
from fastmlp.kernels.tiles import TILE


@intrinsic
def panels(typingctx, buffer, offset, count, rows):
    """``buffer[offset:].reshape(count, rows, lanes)`` of a flat array, without a reference count."""
    lanes = TILE.lanes(item_bytes(buffer))
    result = types.Array(buffer.dtype, 3, "C")

    def codegen(context, builder, signature, arguments):
        buffer_type = signature.args[0]
        source = cgutils.create_struct_proxy(buffer_type)(context, builder, arguments[0])
        item = item_bytes(buffer_type)
        count, rows = arguments[2], arguments[3]
        constant = lambda value: ir.Constant(INDEX, value)  # noqa: E731
        view = cgutils.create_struct_proxy(result)(context, builder)
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        view.nitems = builder.mul(builder.mul(count, rows), constant(lanes))
        view.itemsize = constant(item)
        view.data = builder.gep(source.data, [arguments[1]])
        view.shape = cgutils.pack_array(builder, [count, rows, constant(lanes)])
        row_bytes = constant(lanes * item)
        view.strides = cgutils.pack_array(
            builder, [builder.mul(rows, row_bytes), row_bytes, constant(item)]
        )
        return view._getvalue()

    return result(buffer, offset, count, rows), codegen


@intrinsic
def row_at(typingctx, buffer, offset, count):
    """``buffer.reshape(-1)[offset : offset + count]`` of a contiguous array."""
    result = types.Array(buffer.dtype, 1, "C")

    def codegen(context, builder, signature, arguments):
        source = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        item = ir.Constant(INDEX, item_bytes(signature.args[0]))
        view = cgutils.create_struct_proxy(result)(context, builder)
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        view.nitems = arguments[2]
        view.itemsize = item
        view.data = builder.gep(source.data, [arguments[1]])
        view.shape = cgutils.pack_array(builder, [arguments[2]])
        view.strides = cgutils.pack_array(builder, [item])
        return view._getvalue()

    return result(buffer, offset, count), codegen


@intrinsic(prefer_literal=True)
def stack_vectors(typingctx, like, count):
    """An array [count, lanes] of `like`'s type on the stack, while the caller runs; `count` is a constant."""
    lanes = TILE.lanes(item_bytes(like))
    result = types.Array(like.dtype, 2, "C")
    rows = count.literal_value

    def codegen(context, builder, signature, arguments):
        item = item_bytes(signature.args[0])
        constant = lambda value: ir.Constant(INDEX, value)  # noqa: E731
        view = cgutils.create_struct_proxy(result)(context, builder)
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        view.nitems = constant(rows * lanes)
        view.itemsize = constant(item)
        kind = context.get_data_type(like.dtype)
        view.data = cgutils.alloca_once(builder, kind, size=rows * lanes)
        view.shape = cgutils.pack_array(builder, [constant(rows), constant(lanes)])
        view.strides = cgutils.pack_array(builder, [constant(lanes * item), constant(item)])
        return view._getvalue()

    return result(like, count), codegen


@intrinsic
def borrowed(typingctx, array):
    """The same array, of whose memory somebody else keeps count; None stays None."""
    if isinstance(array, types.NoneType):
        return array(array), lambda context, builder, signature, arguments: arguments[0]

    def codegen(context, builder, signature, arguments):
        view = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), codegen
