"""The tape: order, accumulation, freeing, depth, memory, and no work that nobody asked for."""

import gc
import threading
import weakref

import numpy as np
import pytest

from minseg.autograd import Function, Parameter, Tensor, no_grad, tensor, topological
from minseg.backend import use_backend
from minseg.errors import BackendError, DtypeError, GraphError, ShapeError


def leaf(value, dtype=np.float64):
    return tensor(np.array(value, dtype), requires_grad=True)


def test_a_tensor_used_twice_is_visited_once_its_gradient_is_complete():
    a = leaf(3.0)
    b = a + a
    c = b + b
    c.backward()
    assert a.grad == 4


def test_a_diamond_adds_the_gradients_of_both_ways():
    x = leaf(3.0)
    y = x * x
    z = y * 2 + y * y * x  # 2 x^2 + x^5
    z.backward()
    assert x.grad == 4 * 3 + 5 * 3**4


def test_a_shortcut_waits_for_the_long_way():
    x = leaf(2.0)
    y = x * 3
    z = y
    for _ in range(5):
        z = z * 2 + y
    z.backward()  # z = 63 y
    assert x.grad == 189


def test_topological_order_puts_users_first():
    x = leaf(1.0)
    a = x * 2
    b = a * 3
    c = a + b
    order = topological(c.node)
    assert order == [c.node, b.node, a.node]


def chain(length):
    x = leaf(1.0)
    y = x
    for _ in range(length):
        y = y + 1
    return x, y


def test_a_chain_of_50000_operations_needs_no_recursion():
    x, y = chain(50_000)
    y.backward()
    assert x.grad == 1


def test_freeing_a_deep_graph_needs_no_stack():
    """Each Tensor holds the Function that made it, which holds the edge to the next: destroyed one inside the other, they would
    overflow the small stack of this thread."""

    def build_and_drop():
        x, y = chain(50_000)
        del y
        x, y = chain(20_000)
        y.backward(retain_graph=True)
        del y
        done.append(x.grad)

    done = []
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=build_and_drop)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert done == [1]


# ------------------------------------------------------------------------------------------------------ backward, and again


def test_a_second_backward_says_that_the_graph_was_freed():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward()
    with pytest.raises(GraphError, match=r"the graph through Sum was freed .* retain_graph=True"):
        y.backward()
    assert x.grad.tolist() == [2, 4]


def test_a_backward_through_a_partly_freed_graph_changes_nothing():
    x, w = leaf(2.0), leaf(3.0)
    shared = x * x
    first, second = shared + 1, shared * w
    first.backward()
    with pytest.raises(GraphError, match="the graph through Mul was freed"):
        second.backward()
    assert w.grad is None
    assert x.grad == 4


def test_retain_graph_allows_another_backward():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [6, 12]


def test_gradients_accumulate_until_they_are_none():
    w = Parameter(np.array([1.0, 2.0]))
    for _ in range(3):
        (w * 2).sum().backward()
    assert w.grad.tolist() == [6, 6]
    w.grad = None
    (w * 2).sum().backward()
    assert w.grad.tolist() == [2, 2]


def test_each_leaf_has_a_gradient_of_its_own():
    a, b = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    gradient = np.array([5.0, 7.0])
    (a + b).backward(gradient)
    a.grad *= 0  # neither b's nor the caller's array
    assert b.grad.tolist() == [5, 7]
    assert gradient.tolist() == [5, 7]


def test_gradients_of_sums_can_be_written_to():
    x = leaf([[1.0, 2.0]])
    x.sum().backward()
    x.grad[0, 0] = 3
    assert x.grad.flags.c_contiguous
    assert x.grad.tolist() == [[3, 1]]


def test_only_leaves_keep_a_gradient():
    x = leaf(1.0)
    y = x * 2
    (y * 3).backward()
    assert y.grad is None
    assert x.grad == 6


def test_a_leaf_can_be_the_root():
    x = leaf([1.0, 2.0])
    x.backward(np.array([3.0, 4.0]))
    x.backward(tensor(np.array([1.0, 1.0])))
    assert x.grad.tolist() == [4, 5]
    y = leaf(2.0)
    y.backward()
    assert y.grad == 1


def test_a_gradient_may_be_given():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    (x * x).backward(np.array([[1.0, 0.0], [0.0, -1.0]]))
    assert x.grad.tolist() == [[2, 0], [0, -8]]


def test_backward_needs_a_gradient_that_fits():
    y = leaf([1.0, 2.0]) * 2
    with pytest.raises(GraphError, match=r"shape \(2,\) needs a gradient"):
        y.backward()
    with pytest.raises(ShapeError, match=r"array of shape \(2,\), got \(2, 1\) float64"):
        y.backward(np.ones((2, 1)))
    with pytest.raises(ShapeError, match=r"array of shape \(2,\), got None list"):
        y.backward([1.0, 1.0])
    with pytest.raises(DtypeError, match="must be float64, got float32"):
        y.backward(np.ones(2, np.float32))


def test_backward_of_what_needs_no_gradient_is_an_error():
    with pytest.raises(GraphError, match="needs no gradient"):
        (tensor([1.0]) * 2).backward()


# ------------------------------------------------------------------------------------------------- what is recorded, and kept


def test_no_grad_records_nothing():
    x = leaf([1.0])
    with no_grad():
        y = x * x
        with no_grad():
            pass
        z = x * x
    for t in (y, z):
        assert not t.requires_grad
        assert t.node is None
    assert (x * x).requires_grad


def test_no_grad_ends_with_an_exception():
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert (leaf([1.0]) * 2).requires_grad


def test_detach_cuts_the_history():
    x = leaf(3.0)
    (x * (x * 2).detach()).backward()
    assert x.grad == 6


def test_integers_cannot_need_gradients():
    with pytest.raises(DtypeError, match="only float tensors can need gradients, got int64"):
        tensor([1, 2], requires_grad=True)


def array_dies(reference):
    gc.collect()
    return reference() is None


def test_saved_arrays_are_freed_by_backward():
    x = leaf(np.ones(5))
    y = x * 2
    z = (y * y).sum()
    saved = weakref.ref(y.data)
    del y
    assert not array_dies(saved)  # Mul needs it
    z.backward()
    assert array_dies(saved)


def test_saved_arrays_are_kept_with_retain_graph():
    x = leaf(np.ones(5))
    y = x * 2
    z = (y * y).sum()
    saved = weakref.ref(y.data)
    del y
    z.backward(retain_graph=True)
    assert not array_dies(saved)
    del z
    assert array_dies(saved)


def test_what_no_backward_needs_is_not_kept_by_the_graph():
    x = leaf(np.ones(5))
    y = x * 2
    z = (y + 1).sum()  # neither Add nor Sum looks at y again
    unneeded = weakref.ref(y.data)
    del y
    assert array_dies(unneeded)
    z.backward()
    assert x.grad.tolist() == [2] * 5


def test_without_recording_nothing_is_saved():
    x = tensor(np.ones(5))
    y = x.exp()
    assert y.node is None
    reference = weakref.ref(y.data)
    z = y * y
    del y
    assert array_dies(reference)
    assert z.data is not None


class Spy(Function):
    """a * b, noting which gradients it computed."""

    equation = "test.spy"
    computed: tuple = ()

    def forward(self, a, b):
        self.save(a=a if self.needs[1] else None, b=b if self.needs[0] else None)
        return a * b

    def backward(self, gy):
        Spy.computed = self.needs
        return gy * self.saved.b if self.needs[0] else None, gy * self.saved.a if self.needs[1] else None


@pytest.mark.parametrize(("wants_a", "wants_b"), [(True, False), (False, True), (True, True)])
def test_a_function_knows_which_gradients_are_needed(wants_a, wants_b):
    a, b = tensor([2.0], requires_grad=wants_a), tensor([3.0], requires_grad=wants_b)
    y = Spy.apply(a, b)
    assert (y.node.saved.a is not None) == wants_b
    y.backward()
    assert Spy.computed == (wants_a, wants_b)
    assert (None if a.grad is None else a.grad.tolist()) == ([3] if wants_a else None)
    assert (None if b.grad is None else b.grad.tolist()) == ([2] if wants_b else None)


def test_a_part_of_the_graph_that_needs_no_gradient_is_not_visited():
    constant = Spy.apply(tensor([2.0]), tensor([3.0]))
    Spy.computed = ()
    (leaf([1.0], np.float32) * constant).backward()
    assert constant.node is None
    assert Spy.computed == ()


def test_backward_runs_on_the_backend_of_its_forward():
    with use_backend("numpy"):
        x = leaf(np.ones((2, 2)))
        y = x.sum()
    with use_backend("numba"):
        y.backward()
        assert y.node.kernels.name == "numpy"


class Wrong(Function):
    equation = "test.wrong"

    def forward(self, x, *, gradient):
        self.gradient = gradient
        return x * 2

    def backward(self, gy):
        return (self.gradient,)


@pytest.mark.parametrize("gradient", [np.ones(2), np.ones(3, np.float32)])
def test_a_gradient_of_another_shape_or_dtype_names_the_function(gradient):
    with pytest.raises(ShapeError, match=r"Wrong\.backward returned .* for an input \(3,\) float64 \[test\.wrong\]"):
        Wrong.apply(leaf(np.ones(3)), gradient=gradient).backward(np.ones(3))


def test_a_missing_gradient_is_noticed():
    class Short(Wrong):
        def backward(self, gy):
            return ()

    with pytest.raises(ValueError, match="zip"):
        Short.apply(leaf([1.0]), gradient=None).backward()


def test_arrays_of_another_kind_are_refused_and_none_is_no_input():
    class Foreign:
        shape, dtype = (1,), np.dtype(np.float64)

    class Optional(Function):
        def forward(self, x, bias):
            return x if bias is None else x + bias

        def backward(self, gy):
            return gy, None

    x = leaf([1.0])
    Optional.apply(x, None).backward()
    assert x.grad == 1
    with pytest.raises(BackendError, match=r"Optional: an input is a .*Foreign"):
        Optional.apply(x, Tensor(Foreign()))


def test_extra_outputs_are_tensors_without_gradient():
    class WithIndex(Function):
        def forward(self, x):
            return x.max(), x.argmax()

        def backward(self, gy):
            return (np.array([0.0, 1.0]) * gy,)

    x = leaf([1.0, 2.0])
    y, index = WithIndex.apply(x)
    assert isinstance(index, Tensor)
    assert index.data == 1
    assert not index.requires_grad
    y.backward()
    assert x.grad.tolist() == [0, 1]


def test_tensor_keeps_arrays_and_makes_float32_of_lists():
    assert tensor([1.0, 2]).dtype == np.float32
    assert tensor([1, 2]).dtype == np.int64
    assert tensor(np.ones(1)).dtype == np.float64
    assert tensor([1, 2], dtype=np.float64).dtype == np.float64
    assert tensor(2.0).shape == ()
    x = leaf([1.0])
    assert tensor(x).data is x.data
    assert tensor(x.data, dtype=np.float64).data is x.data
    assert not tensor(x).requires_grad


def test_repr_tells_value_dtype_and_origin():
    x = leaf([1.0, 2.0])
    assert repr(x) == "Tensor([1. 2.], float64, requires_grad)"
    assert repr(x + 1) == "Tensor([2. 3.], float64, made by Add)"
    assert repr(x.detach()) == "Tensor([1. 2.], float64)"
