# %% [markdown]
# # 04 · Neurons, activations, starts
#
# **What you will build:** a layer of neurons, four activations and their slopes, the right size for weights to start
# with, and batch and instance normalisation, forward and backward.
#
# **The picture at the end:** the size of a signal on its way through fifty layers, from four starts: it dies, it
# explodes, or it lives; and with normalisation it does not matter how it started.
#
# Read [03 · Gradients that prove themselves](03_gradients_that_prove_themselves.ipynb) first.

# %% [markdown]
# ## A neuron draws a line
#
# A neuron multiplies each of its inputs by a weight, adds the products and a bias, and then bends the result by an
# *activation*. Take two inputs, so that we can draw everything: each point of the square below is one pair of inputs,
# from -2 to 2. The bias and the weights say where the line z = 0 runs, the activation what happens on either side.

# %%
import numpy as np

from minseg import data, ops, tensor, use_backend, viz
from minseg.nn import init
from minseg.testing.tutorials import check, erratum, printed, show

use_backend("numpy")  # everything here is small
rng = np.random.default_rng(0)
axis = np.linspace(-2, 2, 81)
points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)  # 6561 pairs of inputs
z = (points @ np.array([1.0, -0.5]) + 0.4).reshape(81, 81)
viz.gallery_figure(
    {
        "the sum z": z,
        "step": (z > 0).astype(float),
        "sigmoid": 1 / (1 + np.exp(-z)),
        "ReLU": np.maximum(0, z),
    }
)

# %% [markdown]
# A *layer* is many neurons that read the same inputs: the weights of each are a row of a matrix. D1 prints it for one
# sample, and it is right:

# %%
printed("EQ-D1-4")

# %% [markdown]
# In code many samples go through at once, each a row of x. Then the formula has an index for the sample n, one for
# the output o and one for the input i.

# %%
show("dense.affine")

# %% [markdown]
# A loop for each index, and the same as one matrix product. `ops.linear` is the second, with gradients.


# %%
def linear_slowly(x, W, b):
    N, O, I = len(x), len(W), W.shape[1]
    z = np.zeros((N, O))
    for n, o in np.ndindex(N, O):
        z[n, o] = b[o]
        for i in range(I):
            z[n, o] += W[o, i] * x[n, i]
    return z


x, W, b = rng.standard_normal((5, 3)), rng.standard_normal((4, 3)), rng.standard_normal(4)
slow = linear_slowly(x, W, b)
assert np.allclose(slow, x @ W.T + b)
assert np.allclose(slow, ops.linear(tensor(x), tensor(W), tensor(b)).numpy())
viz.matrices_figure({"x: five samples": x, "W: four neurons": W, "z = x W' + b": slow}, form=".1f")

# %% [markdown]
# **Exercise 4.1.** Write the layer in one line of NumPy. The weights here form a square, so a wrong order will not
# raise an error: check yourself where each index goes.


# %% tags=["exercise"]
def affine(x, W, b):
    """x (N, I), W (O, I), b (O): the sums z (N, O)."""
    raise NotImplementedError("exercise 4.1")


# %%
check("4.1", affine)

# %% [markdown]
# D1 explains its formula in a legend. Does the legend describe what is printed?

# %%
erratum("ERR-09")

# %% [markdown]
# Backward, a layer is three products: what arrives at the sums goes back to the inputs through the same weights, and
# each weight's gradient is what it was multiplied with, times what arrived.

# %%
show("dense.grad_x", "dense.grad_w", "dense.grad_b")

# %%
tx, tW, tb = (tensor(a, requires_grad=True) for a in (x, W, b))
cotangent = rng.standard_normal((5, 4))
ops.linear(tx, tW, tb).backward(cotangent)
assert np.allclose(tx.grad, cotangent @ W)
assert np.allclose(tW.grad, cotangent.T @ x)
assert np.allclose(tb.grad, cotangent.sum(axis=0))
print("the three gradients of the tape are the three products")

# %% [markdown]
# ## Why anything is bent at all
#
# Two layers without an activation between them are one layer: the product of two matrices is a matrix. However many
# you stack, the line stays a line. With ReLU between them, three neurons fence in a region, which no line can.

# %%
W1, b1 = np.array([[1.0, 0.4], [-0.4, 1.0], [-0.1, -0.9]]), np.array([-0.2, 0.0, 0.0])
W2, b2 = np.array([[-1.0, -1.0, -1.0]]), np.array([0.6])
straight = (points @ W1.T + b1) @ W2.T + b2
assert np.allclose(straight, points @ (W2 @ W1).T + (W2 @ b1 + b2))  # one layer would do
bent = np.maximum(0, points @ W1.T + b1) @ W2.T + b2
viz.gallery_figure(
    {
        "two layers, no activation:\nwhere the result is > 0": (straight > 0).reshape(81, 81) * 1.0,
        "ReLU between them:\nwhere the result is > 0": (bent > 0).reshape(81, 81) * 1.0,
    },
    limits=(0, 1),
)

# %% [markdown]
# ## Four activations
#
# The documents name sigmoid, tanh and ReLU, and one of them says what an activation does: it maps its input "to a
# binary output, 0 or 1". Here they are, with the one function that really does that, the step.

# %%
show("act.relu", "act.sigmoid", "act.tanh", "act.step")

# %%
z = np.linspace(-4, 4, 401)
activations = {
    "ReLU": ops.relu(tensor(z)).numpy(),
    "sigmoid": ops.sigmoid(tensor(z)).numpy(),
    "tanh": ops.tanh(tensor(z)).numpy(),
    "step": (z > 0).astype(float),
}
assert np.allclose(activations["ReLU"], np.maximum(0, z))
assert np.allclose(activations["sigmoid"], 1 / (1 + np.exp(-z)))
assert np.allclose(activations["tanh"], 2 / (1 + np.exp(-2 * z)) - 1)  # a sigmoid, stretched
viz.lines_figure({name: (z, a) for name, a in activations.items()}, "z", "activation")

# %% [markdown]
# None of the three is binary. And it is well that they are not. Look at the slopes, which are what a gradient is
# multiplied with on its way back: the slope of the step is zero everywhere, so nothing before it would ever learn.

# %%
show("act.relu_grad", "act.sigmoid_grad", "act.tanh_grad")

# %%
slopes = {}
for name, function in {"ReLU": ops.relu, "sigmoid": ops.sigmoid, "tanh": ops.tanh}.items():
    t = tensor(z, requires_grad=True)
    function(t).sum().backward()
    slopes[name] = (z, t.grad)
slopes["step"] = (z, np.zeros_like(z))
a = activations["sigmoid"]
assert np.allclose(slopes["sigmoid"][1], a * (1 - a))
assert np.allclose(slopes["tanh"][1], 1 - activations["tanh"] ** 2)
viz.lines_figure(slopes, "z", "slope")

# %%
erratum("ERR-22")

# %% [markdown]
# The sigmoid's slope is 1/4 at best. Ten of them in a row leave a gradient less than a millionth of its size: it
# *vanishes*. ReLU's slope is 1 where the neuron is awake, which is why deep networks use it. At its kink, z = 0, there
# is no slope; like everybody we take 0.
#
# **Exercise 4.2.** Write ReLU's step backward. `a_bar` is the gradient that arrives at its output.


# %% tags=["exercise"]
def relu_backward(z, a_bar):
    """z: ReLU's input, a_bar: the gradient for its output, of one shape. The gradient for z."""
    raise NotImplementedError("exercise 4.2")


# %%
check("4.2", relu_backward)

# %% [markdown]
# ## How to start: not with zeros
#
# Before training, weights must be *something*. If all are equal, all neurons of a layer compute the same, get the same
# gradient and stay the same for ever: a hundred neurons that are one. Each column below is a neuron of the first of
# two layers, each row one of its weights: the gradients after one step back.


# %%
def first_gradient(W1, W2, activation=ops.tanh):
    t = tensor(W1, requires_grad=True)
    hidden = activation(ops.linear(tensor(x), t))
    ops.linear(hidden, tensor(W2)).sum().backward()
    return np.asarray(t.grad).T


viz.matrices_figure(
    {
        "all weights are 0": first_gradient(np.zeros((4, 3)), np.zeros((1, 4))),
        "all are 0.5": first_gradient(np.full((4, 3), 0.5), np.full((1, 4), 0.5)),
        "drawn at random": first_gradient(
            rng.standard_normal((4, 3)) / 2, rng.standard_normal((1, 4)) / 2
        ),
    },
    form=".1f",
)

# %% [markdown]
# So they are drawn at random. Only one number has to be chosen, their standard deviation s, and it must fit. A sum of
# n products has n times the variance of one product, so a layer multiplies the mean square of its signal by n times
# the square of s. ReLU then throws half of it away, because half of the sums are negative:

# %%
n = 256
h = rng.standard_normal((400, n))
s = 1 / np.sqrt(n)
sums = h @ (s * rng.standard_normal((n, n))).T
awake = np.maximum(0, sums)
for name, values in {"inputs": h, "sums z": sums, "activations": awake}.items():
    print(f"mean square of the {name:11} {np.mean(values**2):.3f}")

# %% [markdown]
# To keep the size, s must make up for that half. That is *He's* start. *Xavier's* start keeps the size of a layer
# without ReLU, forward (n inputs) and backward (m outputs) at once.

# %%
show("init.he", "init.xavier")

# %% [markdown]
# For a convolution n counts everything that is added up in one output: channels times the pixels of the window.
#
# **Exercise 4.3.** Write He's standard deviation for a kernel of shape (O, C, R, S).


# %% tags=["exercise"]
def he_std(shape):
    """shape (O, C, R, S) of a convolution's weights that ReLU follows: the standard deviation to start with."""
    raise NotImplementedError("exercise 4.3")


# %%
check("4.3", he_std)

# %% [markdown]
# D3 recommends two remedies for vanishing gradients in one breath: ReLU and Xavier's start. **A puzzle:** what is left
# of a signal after fifty such layers, all 256 wide? You have all the numbers; work it out before you run the cell.


# %%
def sizes(s, normalise=False, layers=50, width=256):
    """The root mean square of a signal after each of many layers with ReLU."""
    rng = np.random.default_rng(1)
    h = rng.standard_normal((128, width))
    rms = [np.sqrt(np.mean(h**2))]
    for _ in range(layers):
        z = h @ (s * rng.standard_normal((width, width))).T
        if normalise:
            z = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5)
        h = np.maximum(0, z)
        rms.append(np.sqrt(np.mean(h**2)))
    return np.array(rms)


xavier, he = sizes(init.xavier_std(256, 256)), sizes(init.he_std(256))
print(f"after 50 layers: Xavier {xavier[-1]:.1e}, He {he[-1]:.2f}; expected 2^-25 = {2.0**-25:.1e}")

# %%
erratum("ERR-37")

# %% [markdown]
# ## Normalisation: measure, and mend
#
# A start fits at the start only; training moves the weights. *Batch normalisation* does not hope, it measures: for
# each channel c it takes mean and variance over all pixels of all images of the batch, shifts by the one and divides
# by the root of the other. Two learned numbers, gamma and beta, then allow the channel any size it needs.

# %%
show("norm.batch")

# %%
show("norm.batch_mean", "norm.batch_var", "norm.batch_stats")

# %% [markdown]
# Slowly, one channel at a time, and as `ops` has it:


# %%
def batch_norm_slowly(x, gamma, beta, eps=1e-5):
    y = np.zeros_like(x)
    N, C, H, W = x.shape
    for c in range(C):
        mean = sum(x[n, c, i, j] for n, i, j in np.ndindex(N, H, W)) / (N * H * W)
        v = sum((x[n, c, i, j] - mean) ** 2 for n, i, j in np.ndindex(N, H, W)) / (N * H * W)
        y[:, c] = gamma[c] * (x[:, c] - mean) / np.sqrt(v + eps) + beta[c]
    return y


x = 3 + 2 * rng.standard_normal((4, 3, 5, 6))
gamma, beta = np.array([1.0, 0.5, 2.0]), np.array([0.0, 1.0, -1.0])
tx, tg, tb = (tensor(a, requires_grad=True) for a in (x, gamma, beta))
y, mean, var = ops.batch_norm_training(tx, tg, tb)
assert np.allclose(y.numpy(), batch_norm_slowly(x, gamma, beta))
for c in range(3):
    after = y.numpy()[:, c]
    print(f"channel {c}: mean {x[:, c].mean():.2f}, spread {x[:, c].std():.2f}", end="")
    print(f"  becomes mean {after.mean():5.2f}, spread {after.std():.2f}")

# %% [markdown]
# **Exercise 4.4.** Write it with NumPy and without loops. Which axes does each mean run over?


# %% tags=["exercise"]
def batch_norm(x, gamma, beta, eps):
    """x (N, C, H, W), gamma (C), beta (C): y (N, C, H, W), normalised over the batch."""
    raise NotImplementedError("exercise 4.4")


# %%
check("4.4", batch_norm)

# %% [markdown]
# Its gradient is the first that is not obvious: each pixel moves the mean and the variance, and through them every
# other pixel. What remains is that the gradient loses its own mean, and its part along the normalised signal. The
# table has it, with that of gamma and beta, and the forms for a layer with ReLU in the same stroke.

# %%
show(
    "norm.batch_grad",
    "norm.batch_grad_weight",
    "norm.batch_grad_bias",
    "norm.batch_eval_grad",
    "norm.batch_relu",
    "norm.batch_relu_grad",
    "norm.batch_relu_grad_weight",
    "norm.batch_relu_grad_bias",
    "norm.batch_relu_eval_grad",
)

# %%
y_bar = rng.standard_normal(x.shape)
y.backward(y_bar)
over = dict(axis=(0, 2, 3), keepdims=True)
root = np.sqrt(x.var(**over) + 1e-5)
x_hat = (x - x.mean(**over)) / root
inside = y_bar - y_bar.mean(**over) - x_hat * (x_hat * y_bar).mean(**over)
assert np.allclose(tx.grad, gamma[:, None, None] / root * inside)
assert np.allclose(tg.grad, (x_hat * y_bar).sum(axis=(0, 2, 3)))
assert np.allclose(tb.grad, y_bar.sum(axis=(0, 2, 3)))
lost = np.abs(np.asarray(tx.grad).sum(axis=(0, 2, 3))).max()
print(
    f"the tape agrees; the gradient of each channel sums to {lost:.0e}: a shift of x changes nothing"
)

# %% [markdown]
# ## When there is no batch
#
# A trained network must answer for one image, alone, and always the same. So during training running means of the
# statistics are kept, each step a small part m of the new, and used ever after. Then the layer is only a factor and a
# shift, which can be folded into the convolution before it: for prediction it costs nothing at all.

# %%
show("norm.running", "norm.fold_weight", "norm.fold_bias")

# %%
running_mean, running_var = np.zeros(3), np.ones(3)
history = []
for _ in range(60):
    batch = 3 + 2 * rng.standard_normal((4, 3, 5, 6))
    _, mean, var = ops.batch_norm_training(tensor(batch))
    running_mean, running_var = ops.running_statistics(
        running_mean, running_var, mean.numpy(), var.numpy(), count=4 * 5 * 6, momentum=0.1
    )
    history.append((running_mean[0], running_var[0]))
kept_mean, kept_var = np.array(history).T
viz.lines_figure(
    {"running mean": (range(60), kept_mean), "running variance": (range(60), kept_var)},
    "step",
    title="On the way from 0 and 1 to the true 3 and 4",
    marks={"true mean": 3, "true variance": 4},
)

# %% [markdown]
# **Exercise 4.5.** Fold: new weights and a new bias, so that the convolution alone gives what the convolution *and*
# the normalisation gave.


# %% tags=["exercise"]
def fold(w, b, gamma, beta, mean, var, eps):
    """w (O, C, R, S), all others (O): the new (w, b)."""
    raise NotImplementedError("exercise 4.5")


# %%
check("4.5", fold)

# %% [markdown]
# ## Each image by itself
#
# *Instance normalisation* measures each image alone. *Layer normalisation*, which transformers use, measures each
# token alone, over its channels. Only the pixels that share a mean differ; the rest of the formula is the same.

# %%
show("norm.instance_mean", "norm.instance", "norm.layer")

# %% [markdown]
# What it is good for shows a micrograph that was taken three times, with less and less light. As a batch they share
# one mean and one spread, and stay different. Each by itself, they become the same picture.

# %%
nuclei = data.open_data("nuclei")
micrograph = nuclei.val[0][0][300:428].astype(float).transpose(2, 0, 1)[:1] / 255
batch = np.stack([light * micrograph for light in (1.0, 0.5, 0.25)])
together = ops.batch_norm_training(tensor(batch))[0].numpy()
alone = ops.instance_norm(tensor(batch)).numpy()
assert np.abs(alone[0] - alone[2]).max() < 0.1 < np.abs(together[0] - together[2]).max()
rows = {"as taken": batch / batch.max(), "batch": together / 4, "instance": alone / 4}
viz.gallery_figure(
    {
        f"{name}, {light} light": pictures[n, 0]
        for name, pictures in rows.items()
        for n, light in enumerate(("full", "half", "quarter"))
    },
    columns=3,
    limits=(0, 1),
)

# %% [markdown]
# That is a gift where light is an accident, and a loss where brightness means something.
#
# ## The picture
#
# Four starts, fifty layers of 256 neurons with ReLU. Weights of Xavier's size lose half of the mean square in each
# layer; half of that size and the signal is gone at once; one and a half times He's, and it explodes. Only He's start
# keeps it. The last two lines are the two worst starts with batch normalisation: flat, and one on top of the other.

# %%
he_s = init.he_std(256)
starts = {
    "1.5 times He": sizes(1.5 * he_s),
    "He": he,
    "Xavier": xavier,
    "half of Xavier": sizes(0.5 * init.xavier_std(256, 256)),
    "1.5 times He, normalised": sizes(1.5 * he_s, normalise=True),
    "half of Xavier, normalised": sizes(0.5 * init.xavier_std(256, 256), normalise=True),
}
depth = np.arange(51)
viz.lines_figure(
    {name: (depth, rms) for name, rms in starts.items()},
    "layer",
    "root mean square of the signal",
    title="The size of a signal over fifty layers",
    log_y=True,
)

# %% [markdown]
# ## What to read next
#
# * [05 · What is a good loss?](05_what_is_a_good_loss.ipynb): what the last layer is told.
# * The formulas of this page with their code: [layers](../minseg/equations/EQUATIONS.md#dense),
#   [activations](../minseg/equations/EQUATIONS.md#act), [normalisation](../minseg/equations/EQUATIONS.md#norm),
#   [starts](../minseg/equations/EQUATIONS.md#init). The code of minseg: [init.py](../minseg/nn/init.py),
#   [activation.py](../minseg/ops/activation.py), [norm.py](../minseg/ops/norm.py).
# * He, Zhang, Ren and Sun, *Delving deep into rectifiers*, 2015; Ioffe and Szegedy, *Batch normalization*, 2015.
# * Solutions of the exercises: [solutions/04.py](solutions/04.py).
