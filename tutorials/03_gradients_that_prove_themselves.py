# %% [markdown]
# # 03 · Gradients that prove themselves
#
# **What you will build:** a tape that remembers a computation and walks it backwards, first for numbers, then for
# arrays; a check that no wrong gradient survives; and the gradients of convolution and pooling, from their equations.
#
# **The picture at the end:** the error of a measured slope against the step it was measured with, a valley between two
# kinds of error. And the graph of your own computation, drawn by the tape.
#
# Read [02 · Sliding windows](02_sliding_windows.ipynb) first. You need the slope of a curve and the chain rule.

# %%
import numpy as np

import minseg
from minseg import explain, ops, tensor, use_backend, viz
from minseg.testing.tutorials import check, erratum, show

use_backend("numpy")
rng = np.random.default_rng(0)

# %% [markdown]
# ## A slope that can be measured
#
# A network learns by moving each weight a little, in the direction that lowers its loss. So for every weight it has
# to know the slope: how much the loss changes, per step of that weight. Slopes can be *measured*: go a little to the
# right, a little to the left, and divide the difference by the distance.

# %%
show("grad.central")


# %%
def measured(f, x, h=1e-5):
    """The slope of f at x."""
    return (f(x + h) - f(x - h)) / (2 * h)


def f(x):
    return x**3 - 2 * x


xs = np.linspace(-1.5, 2, 71)
viz.lines_figure(
    {
        "f(x)": (xs, f(xs)),
        "its slope, by the rules: 3 x x - 2": (xs, 3 * xs**2 - 2),
        "its slope, measured": (xs[::5], measured(f, xs[::5])),
    },
    x_label="x",
    title="A curve and its slope",
)

# %% [markdown]
# **Exercise 3.1.** A function of many numbers has a slope for each: its *gradient*. Measure it, one number at a time.
# Leave x as it was.


# %% tags=["exercise"]
def measured_gradient(f, x, h):
    """f maps an array to one number; the slope of f for each element of x, by central differences."""
    raise NotImplementedError("exercise 3.1")


# %%
check("3.1", measured_gradient)

# %% [markdown]
# Measuring has a price. A network of a million weights would have to run two million times for a single step of
# training. The rest of this notebook gets all slopes from *one* run, and uses measured ones as what they are good for:
# as a judge.
#
# ## The chain rule, walked backwards
#
# A loss is a long chain of small steps, each with a slope that everybody knows: that of a product for one factor is
# the other factor. Along a chain, slopes multiply.

# %%
show("grad.chain")

# %% [markdown]
# Where a value is used twice, its slopes *add up*, one term for each use. Here is a tape in twenty lines: a number
# that remembers what it was made from, and the slope for each of those.


# %%
class Number:
    """A number that remembers (the number it came from, the slope for it) for each of its inputs."""

    def __init__(self, value, made_from=()):
        self.value, self.made_from, self.grad = value, made_from, 0.0

    def __add__(self, other):
        return Number(self.value + other.value, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        return Number(self.value * other.value, [(self, other.value), (other, self.value)])


def exp(a):
    e = np.exp(a.value)
    return Number(e, [(a, e)])


x = Number(0.5)
y = x * x + exp(x)
print(f"y = {y.value:.6f}, made from {len(y.made_from)} numbers")

# %% [markdown]
# To walk back: start with a slope of 1 at the end, and hand to each input its own slope times what has arrived. It
# is tempting to do so by recursion, straight down from each number to what it was made from.


# %%
def walk_straight_down(number, arriving=1.0):
    number.grad += arriving
    for below, slope in number.made_from:
        walk_straight_down(below, number.grad * slope)


a = Number(3.0)
b = a + a
c = b + b  # c = 4 a, so the slope must be 4
walk_straight_down(c)
print(f"the slope of c = (a + a) + (a + a) for a: {a.grad:.0f}")

# %% [markdown]
# **A puzzle.** It is 6, not 4. Where do two come from? Follow it with a pencil: c reaches b twice. At the first visit
# only half of b's slope has arrived, and that half is handed on to a. At the second visit all of it is handed on, the
# first half *again*.
#
# The cure is an order: no number may hand anything on before everything that used it has had its turn. Such an order
# is called *topological*, and one walk finds it.


# %%
def topological(number, seen=None):
    """All numbers below, each after those that it was made from."""
    seen = set() if seen is None else seen
    if number in seen:
        return []
    seen.add(number)
    below = [n for source, _ in number.made_from for n in topological(source, seen)]
    return [*below, number]


def backward(number):
    number.grad = 1.0
    for n in reversed(topological(number)):  # each before those that it was made from
        for source, slope in n.made_from:
            source.grad += n.grad * slope


a = Number(3.0)
c = (a + a) + (a + a)
backward(c)
print(f"the slope of c for a: {a.grad:.0f}")

x = Number(0.5)
y = x * x + exp(x)
backward(y)
slope = measured(lambda v: v * v + np.exp(v), 0.5)
print(f"the slope of x x + exp(x): {x.grad:.9f} on the tape, {slope:.9f} measured")
assert abs(x.grad - slope) < 1e-8

# %% [markdown]
# **Exercise 3.2.** Write the order yourself, for a graph in which every value has a number: `uses[2] == [0, 1]` says
# that value 2 was computed from the values 0 and 1. Begin with the last; each must come *before* all that it was
# computed from.


# %% tags=["exercise"]
def backward_order(uses, last):
    """The numbers of all values that ``last`` depends on, with itself at the front: a list, each once."""
    raise NotImplementedError("exercise 3.2")


# %%
check("3.2", backward_order)

# %% [markdown]
# ## The same for arrays
#
# Nothing changes for arrays, except that what travels backwards is an array too: the slope of the loss for each
# element, written with a bar, and of the same shape. A single operation has a whole table of slopes, J, one for each
# pair of an input and an output; what it hands on is J, turned over, times what has arrived.

# %%
show("grad.backward")

# %% [markdown]
# minseg has a gradient for each operation, and each stands in its registry as an equation of its own. These are the
# ones that Python's operators need:

# %%
show(
    "arith.add", "arith.add_grad", "arith.sub", "arith.sub_grad_b", "arith.neg", "arith.mul", "arith.mul_grad_a",
    "arith.mul_grad_b", "arith.div", "arith.div_grad_a", "arith.div_grad_b", "arith.pow", "arith.pow_grad_a",
    "arith.pow_grad_b", "arith.exp", "arith.exp_grad", "arith.log", "arith.log_grad", "arith.sqrt", "arith.sqrt_grad",
    "arith.abs", "arith.abs_grad", "arith.clip", "arith.clip_grad", "arith.maximum", "arith.maximum_grad_a",
    "arith.maximum_grad_b", "arith.minimum", "arith.minimum_grad_a", "arith.minimum_grad_b", "arith.where",
    "arith.where_grad_a", "arith.where_grad_b",
)  # fmt: skip

# %% [markdown]
# Sums, products of matrices, and everything that moves elements about. Look for the pattern: the gradient of a sum
# *repeats*, the gradient of a repetition *sums*; what was cut out is put back among zeros, what was padded is cut out.

# %%
show(
    "arith.sum", "arith.sum_grad", "arith.broadcast_to", "arith.broadcast_to_grad", "arith.mean", "arith.mean_grad",
    "arith.var", "arith.var_grad", "arith.max", "arith.max_grad", "arith.min", "arith.min_grad", "arith.matmul",
    "arith.matmul_grad_a", "arith.matmul_grad_b", "arith.reshape", "arith.reshape_grad", "arith.permute",
    "arith.permute_grad", "arith.index", "arith.index_grad", "arith.pad", "arith.pad_grad", "arith.concatenate",
    "arith.concatenate_grad_a", "arith.concatenate_grad_b",
)  # fmt: skip

# %% [markdown]
# Broadcasting is the one that everybody forgets. In x + b, with x of shape (2, 3) and b of shape (3,), each element of
# b is used twice, once in each row. So its slopes add up over the rows:

# %%
x = tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
b = tensor(np.zeros(3), requires_grad=True)
arriving = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
(x + b).backward(arriving)
viz.matrices_figure({"what arrives": arriving, "for x": x.grad, "for b": b.grad[None]})

# %% [markdown]
# **Exercise 3.3.** Undo a broadcast. What arrives, g, has the large shape; add it up until it has the small one.


# %% tags=["exercise"]
def sum_to(g, shape):
    """g summed over the axes along which an array of this shape was repeated."""
    raise NotImplementedError("exercise 3.3")


# %%
check("3.3", sum_to)

# %% [markdown]
# ## A judge that cannot be fooled
#
# Now set the two against each other: slopes from the tape, and measured ones. Compared element by element, two
# questions remain. How different is too different? Differences are divided by the size of the slopes, but never by
# almost nothing:

# %%
show("grad.relative_error")

# %% [markdown]
# And of *what* do we measure the slope? Many outputs have to become one number first. The obvious way, to add them
# up, is a trap. Softmax turns numbers into shares that add up to 1, so the slope of their sum is 0, whatever softmax
# does inside. Here is a softmax whose author forgot its gradient:


# %%
class ForgetfulSoftmax(minseg.autograd.Function):
    def forward(self, x):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def backward(self, gy):
        return (np.zeros_like(gy),)


x = rng.standard_normal(5)
tape = tensor(x, requires_grad=True)
ForgetfulSoftmax.apply(tape).sum().backward()
by_hand = [
    measured(
        lambda v, i=i: ForgetfulSoftmax().forward(np.where(np.arange(5) == i, v, x)).sum(), x[i]
    )
    for i in range(5)
]
print(
    "outputs added up:      ",
    "passes" if np.allclose(tape.grad, by_hand, atol=1e-9) else "is found out",
)

# %% [markdown]
# The judge of minseg weighs the outputs with random numbers instead, and moves all inputs at once along a random
# direction, in which no wrong element can hide; then it goes through every element, to name the worst:

# %%
try:
    minseg.gradcheck(ForgetfulSoftmax.apply, [tensor(x, requires_grad=True)])
    print("outputs weighed randomly: passes")
except minseg.errors.GradcheckError as error:
    print("outputs weighed randomly: is found out")
    print(str(error).splitlines()[0])

# %% [markdown]
# This judge sits over every operation of minseg, on every backend: `minseg gradcheck` prints the whole table. The
# real softmax passes:

# %%
print(minseg.gradcheck(lambda z: ops.softmax(z, dim=-1), [tensor(x, requires_grad=True)]))

# %% [markdown]
# ## How small a step?
#
# One thing is left open: h. A large step cuts the curve's corners: the error falls with the square of h. But f is
# only known to sixteen digits, and a small step divides the lost ones by almost nothing. Somewhere between is the
# best:

# %%
steps_h = 10.0 ** np.arange(-15, 0.01, 0.25)
true = np.exp(1.0)
errors = {
    "both sides": np.array([abs(measured(np.exp, 1.0, h) - true) for h in steps_h]),
    "one side only": np.array([abs((np.exp(1.0 + h) - np.exp(1.0)) / h - true) for h in steps_h]),
}
for name, error in errors.items():
    best = error.argmin()
    print(
        f"{name}: an error of {error[best]:.0e} at best, with a step of about {steps_h[best]:.0e}"
    )

# %% [markdown]
# ## The gradient of a convolution
#
# Now the operation that all of this is for. Which slopes does a weight get? Take its equation, and ask for each
# weight w[p, q]: which products is it in? It met the pixel x[i + p, j + q] at every place (i, j). So its slope is a sum
# over all places, of that pixel times what arrives there:

# %%
show("conv.grad_w")

# %% [markdown]
# Read it again: a sum over a sliding window, of products. The gradient of a convolution for its kernel *is* a
# convolution, of the image with what arrives. In loops, for one channel:


# %%
def grad_w_loops(gy, x, R, S):
    gw = np.zeros((R, S))
    for p in range(R):
        for q in range(S):
            for i in range(gy.shape[0]):
                for j in range(gy.shape[1]):
                    gw[p, q] += gy[i, j] * x[i + p, j + q]
    return gw


x, w = rng.standard_normal((6, 7)), rng.standard_normal((3, 2))
gy = rng.standard_normal((4, 6))
w_tape = tensor(w[None, None], requires_grad=True)
ops.conv2d(tensor(x[None, None]), w_tape).backward(gy[None, None])
assert np.allclose(w_tape.grad[0, 0], grad_w_loops(gy, x, 3, 2))
print("loops and ops.conv2d give the same gradient for the kernel")

# %% [markdown]
# And for a pixel? Turn the question round: x[u, v] met the weight w[p, q] at the place (u - p, v - q). The minus is
# back: the gradient for the image is a convolution with the kernel *turned by 180 degrees*, the one that D1 and D3
# print. With strides, channels and groups there are more letters, and the same idea; in `col2im` each pixel collects
# from all columns that it was copied to.

# %%
show(
    "conv.grad_x", "conv.grad_x_dilated", "conv.grad_b", "conv.col2im", "conv.grouped_grad_x", "conv.grouped_grad_w",
)  # fmt: skip

# %% [markdown]
# **Exercise 3.4.** The gradient for the image, for one channel and stride 1: what arrives is gy (I, J), the kernel is
# w (R, S), the image has I + R - 1 rows and J + S - 1 columns.


# %% tags=["exercise"]
def grad_x(gy, w):
    """The slope for each pixel."""
    raise NotImplementedError("exercise 3.4")


# %%
check("3.4", grad_x)

# %% [markdown]
# One of the documents says that training adjusts the weights of the fully connected layer. Is it alone? The gradient
# of the kernel, above, is not 0, and gradient descent moves whatever has one.

# %%
erratum("ERR-71")

# %% [markdown]
# ## The gradient of pooling
#
# A maximum is moved by one number only, the largest; so what arrives goes there and nowhere else. A mean is moved by
# all its numbers alike; so each gets its share.

# %%
show("pool.max2d_grad", "pool.avg2d_grad", "pool.avg2d_inside_grad")

# %% [markdown]
# Both pools on one small image, and where the 1 that arrives at each output goes:

# %%
x = tensor(rng.permutation(16).reshape(1, 1, 4, 4).astype(float), requires_grad=True)
ops.max_pool2d(x, 2).backward(np.ones((1, 1, 2, 2)))
largest, x.grad = x.grad[0, 0], None
ops.avg_pool2d(x, 2).backward(np.ones((1, 1, 2, 2)))
viz.matrices_figure(
    {"image": x.numpy()[0, 0], "to the largest of each four": largest, "to all alike": x.grad[0, 0]}
)

# %% [markdown]
# What if two are equally large? Then the curve has a *kink*: to the right one of them counts, to the left the other,
# and no slope is right for both sides. minseg takes the first. The judge keeps away from kinks, by testing at numbers
# that are all different.
#
# ## The picture
#
# The graph first: a small layer, image to loss, as the tape has recorded it. Every box names the equation that it
# computes; backward walks from the bottom to the top.

# %%
x = tensor(rng.standard_normal((1, 1, 6, 6)))
w = tensor(rng.standard_normal((2, 1, 3, 3)), requires_grad=True)
bias = tensor(np.zeros(2), requires_grad=True)
y = ops.max_pool2d(ops.relu(ops.conv2d(x, w, bias)), 2)
loss = ((y - 1) * (y - 1)).mean()
viz.Drawing(explain.graph_svg(loss, names={"w": w, "b": bias}))

# %% [markdown]
# And the valley. On the right a step too large, on the left a step too small. From both sides, a tenth of the step
# costs a hundredth of the error; from one side, only a tenth. That is why the judge measures from both.

# %%
viz.lines_figure(
    {name: (steps_h, np.maximum(error, 1e-17)) for name, error in errors.items()},
    x_label="step h",
    y_label="error of the measured slope of exp",
    title="A valley between two errors",
    log_x=True,
    log_y=True,
)

# %% [markdown]
# ## What to read next
#
# * [04 · Neurons, activations, starts](04_neurons_activations_starts.ipynb): what is stacked, and how to begin.
# * The tape of minseg, which is the one above for arrays: [tensor.py](../minseg/autograd/tensor.py); and its judge:
#   [gradcheck.py](../minseg/autograd/gradcheck.py).
# * The equations with their code: [arithmetic](../minseg/equations/EQUATIONS.md#arith),
#   [gradients](../minseg/equations/EQUATIONS.md#grad).
# * Solutions of the exercises: [solutions/03.py](solutions/03.py).
