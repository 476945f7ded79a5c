# %% [markdown]
# # 06 · Going downhill
#
# **What you will build:** five optimisers, schedules, penalties, dropout and early stopping, each first by hand; and
# the classifiers of three documents, repaired until they learn.
#
# **The picture at the end:** the paths of five optimisers over one landscape; and training and validation curves that
# part.
#
# Read [05 · What is a good loss?](05_what_is_a_good_loss.ipynb) first.

# %% [markdown]
# ## A loss is a landscape
#
# You have a loss, and its gradient for every weight. What next? Take the smallest network with a hidden layer: one
# neuron in it, one behind it, and two weights in all. It makes $\theta_1 \tanh(\theta_0 x)$ of a number $x$ and shall
# learn a curve of which it sees 16 points. Two weights are a place on a map, and the loss is the height there: the
# darker, the higher. The ring marks weights as somebody might have drawn them at random.

# %%
import numpy as np

from minseg import data, models, nn, no_grad, ops, optim, tensor, use_backend, viz
from minseg.autograd import Parameter, flatten
from minseg.models import printed
from minseg.testing.tutorials import check, erratum, show, steps
from minseg.training import stop_early

use_backend("numpy")
x = np.linspace(-2, 2, 16)
y = 1.5 * np.tanh(0.8 * x)
across, up = np.linspace(-0.5, 4.6, 150), np.linspace(-2, 3.2, 150)
outputs = up[:, None, None] * np.tanh(across[:, None] * x)
landscape = ((outputs - y) ** 2).mean(axis=2)
START = np.array([4.0, -1.5])


def on_the_map(paths, title=""):
    return viz.descent_figure(across, up, landscape, paths, "weight 0", "weight 1", title)


on_the_map({"the start": START[None]})

# %% [markdown]
# A long valley with a bend in it. The lowest place is at (0.8, 1.5), where the network *is* the curve. (In the lower
# left corner another valley begins: both weights with their signs turned are the same network.)
#
# ## One step
#
# The gradient points to where the loss grows fastest. So go the other way, by so much, the *learning rate*; look again;
# and so on. That is all.

# %%
show("opt.gd")

# %% [markdown]
# Slowly, with the gradient by hand as in notebook 03; and fast, with the tape and `optim.SGD`. Both must walk along the
# same path.


# %%
def gradient(theta):
    g = np.zeros(2)
    for n in range(16):
        h = np.tanh(theta[0] * x[n])
        error = theta[1] * h - y[n]
        g += 2 * error * np.array([theta[1] * (1 - h**2) * x[n], h]) / 16
    return g


theta, eta, slow = START, 0.1, [START]
for _ in range(20):
    theta = theta - eta * gradient(theta)
    slow.append(theta)


def walk(make, count):
    """The path (count + 1, 2) of an optimiser from START, and the loss at each place of it."""
    theta = Parameter(START.copy())
    optimizer, path, losses = make([theta]), [], []
    for _ in range(count + 1):
        optimizer.zero_grad()
        loss = ops.mse_loss(theta[1] * ops.tanh(theta[0] * tensor(x)), y)
        loss.backward()
        path.append(theta.numpy())
        losses.append(loss.item())
        optimizer.step()
    return np.array(path), np.array(losses)


path, losses = walk(lambda weights: optim.SGD(weights, lr=0.1), 20)
assert np.allclose(path, slow)
print(f"20 steps: the loss falls from {losses[0]:.2f} to {losses[-1]:.2f}, and both ways agree")

# %% [markdown]
# How large a rate? Too small, and you arrive next week. Too large, and each step lands higher up on the other side
# than the one before. In between there is a narrow band where it leaps about and may come down anywhere. Try it:
# everybody has to, for each new network.

# %%
falls = {}
for eta in (0.01, 0.1, 1.0, 1.2, 1.5):
    path, falls[f"rate {eta}"] = walk(lambda weights, lr=eta: optim.SGD(weights, lr=lr), 40)
    if eta == 1.2:
        print(f"rate 1.2 leaps into the other valley, and to weights {path[-1].round(1)}")
viz.lines_figure(
    {name: (range(41), np.minimum(loss, 1e3)) for name, loss in falls.items()},
    "step",
    "loss",
    title="Five learning rates (cut off at 1000)",
    log_y=True,
)

# %% [markdown]
# ## A few samples at a time
#
# The loss is a mean over all samples, and so is its gradient. With a million samples each step would cost a million
# gradients. *Stochastic* gradient descent takes a few, a *batch*, drawn at random: a rough gradient, but a cheap one,
# and right in the mean.

# %%
show("opt.sgd")

# %% [markdown]
# Here are the 16 samples of the curve in four batches. Each batch has its own opinion; together they have that of all.

# %%
rng = np.random.default_rng(0)
order = rng.permutation(16).reshape(4, 4)
per_batch = []
for batch in order:
    theta = Parameter(START.copy())
    guess = theta[1] * ops.tanh(theta[0] * tensor(x[batch]))
    ops.mse_loss(guess, y[batch]).backward()
    per_batch.append(theta.grad)
assert np.allclose(np.mean(per_batch, axis=0), gradient(START))
viz.matrices_figure(
    {"gradients of four batches": np.array(per_batch), "of all samples": gradient(START)[None]},
    form=".3f",
)

# %% [markdown]
# **Exercise 6.1.** One step of one weight, from the gradients of a batch.


# %% tags=["exercise"]
def sgd_step(theta, g, eta):
    """A weight, the gradient of each sample's loss (B), a rate: the weight after the step."""
    raise NotImplementedError("exercise 6.1")


# %%
check("6.1", sgd_step)

# %% [markdown]
# ## A ball that rolls
#
# In a valley the gradient points at the near wall, hardly ever along the floor. A ball would gather speed along the
# floor and forget the walls. *Momentum* keeps a velocity: what points the same way again and again adds up, what
# changes its sign cancels. (`optim.SGD` has all this; what you call SGD when it has momentum is a matter of taste.)

# %%
show("opt.momentum_v", "opt.momentum_step", "opt.dampening", "opt.nesterov")

# %%
rolling = {
    "no momentum": lambda weights: optim.SGD(weights, lr=0.1),
    "momentum 0.5": lambda weights: optim.SGD(weights, lr=0.1, momentum=0.5),
    "momentum 0.9": lambda weights: optim.SGD(weights, lr=0.1, momentum=0.9),
}
on_the_map({name: walk(make, 60)[0] for name, make in rolling.items()}, "60 steps with one rate")

# %% [markdown]
# Without momentum it stops where the valley floor begins, for there the floor is nearly level: $\theta_0$ is so large
# that tanh is saturated (notebook 04). With it, it overshoots, swings, and gets round the bend.
#
# **A puzzle.** Three of the documents train with SGD, a rate of 0.001 and a momentum of 0.9, in four programs. Three are
# for PyTorch, and one is for Keras, which computes this:

# %%
show("opt.momentum_tf", "opt.momentum_tf_step", "opt.momentum_tf_nesterov")

# %% [markdown]
# The same numbers, the same gradients: do they take the same steps? Write both down for a few steps before you look.

# %%
g, mu = np.array([1.0, 0.5, -0.5, 1.0]), 0.9
constant, falling = np.full(4, 0.1), np.array([0.1, 0.1, 0.01, 0.01])
for rates in (constant, falling):
    v, theta, v_keras, theta_keras = 0.0, 0.0, 0.0, 0.0
    for n in range(4):
        v = mu * v + g[n]
        theta = theta - rates[n] * v
        v_keras = mu * v_keras - rates[n] * g[n]
        theta_keras = theta_keras + v_keras
    print(f"rates {rates}: PyTorch {theta:.4f}, Keras {theta_keras:.4f}")

# %% [markdown]
# The same, until the rate changes. PyTorch's velocity has the unit of a gradient, and a new rate holds for all of it
# at once; Keras's has the rate inside, and what rolls already keeps the old one. Move a training from one to the other
# and its schedule means something else. Now `minseg`'s optimisers against these loops, with Nesterov's look ahead and
# dampening too.


# %%
def follow(optimizer_of, g, rates):
    """Where one weight, from 0, is after steps with these gradients and rates."""
    theta = Parameter(np.array([0.0]))
    optimizer = optimizer_of([theta])
    for gradient_now, rate_now in zip(g, rates):
        theta.grad, optimizer.lr = np.array([gradient_now]), rate_now
        optimizer.step()
    return theta.item()


def by_hand(g, rates, mu, tau=0.0, nesterov=False):
    theta, V = 0.0, 0.0
    for n in range(len(g)):
        V = mu * V + (g[n] if n == 0 else (1 - tau) * g[n])
        theta -= rates[n] * (g[n] + mu * V if nesterov else V)
    return theta


def by_hand_keras(g, rates, mu, nesterov=False):
    theta, V = 0.0, 0.0
    for n in range(len(g)):
        V = mu * V - rates[n] * g[n]
        theta += mu * V - rates[n] * g[n] if nesterov else V
    return theta


for options in ({}, {"dampening": 0.4}, {"nesterov": True}):
    found = follow(lambda w, o=options: optim.SGD(w, 1.0, momentum=mu, **o), g, falling)
    tau, look_ahead = options.get("dampening", 0.0), options.get("nesterov", False)
    assert np.isclose(found, by_hand(g, falling, mu, tau, look_ahead))
for look_ahead in (False, True):
    found = follow(lambda w, n=look_ahead: optim.KerasSGD(w, 1.0, mu, nesterov=n), g, falling)
    assert np.isclose(found, by_hand_keras(g, falling, mu, look_ahead))
print("five kinds of momentum: the loops and minseg agree")

# %% [markdown]
# **Exercise 6.2.** Momentum in PyTorch's convention, with a rate for each step.


# %% tags=["exercise"]
def momentum(theta, g, eta, mu):
    """A weight, gradient (S) and rate (S) of each step, momentum: the weight at the end."""
    raise NotImplementedError("exercise 6.2")


# %%
check("6.2", momentum)

# %% [markdown]
# ## A rate for each weight
#
# One weight has gradients of a thousandth, another of a thousand. No single rate suits both. RMSprop keeps the mean
# square of each weight's gradients and divides by its root. So the *size* of a gradient hardly matters any more, only
# its sign, and how steady it is.

# %%
show("opt.rmsprop_v", "opt.rmsprop")

# %% [markdown]
# Adam adds the mean of the gradients, a velocity. Both means start from zero and are too small at first; Adam divides
# that out.

# %%
show("opt.adam_m", "opt.adam_v", "opt.adam_m_hat", "opt.adam_v_hat", "opt.adam")

# %% [markdown]
# Literally, for one weight; then `optim`; then the first step of each for three sizes of gradient.


# %%
def rmsprop_slowly(g, eta, rho, eps):
    theta, V = 0.0, 0.0
    for gradient_now in g:
        V = rho * V + (1 - rho) * gradient_now**2
        theta -= eta * gradient_now / (np.sqrt(V) + eps)
    return theta


def adam_slowly(g, eta, beta1, beta2, eps):
    theta, M, V = 0.0, 0.0, 0.0
    for t, gradient_now in enumerate(g, 1):
        M = beta1 * M + (1 - beta1) * gradient_now
        V = beta2 * V + (1 - beta2) * gradient_now**2
        m_hat, v_hat = M / (1 - beta1**t), V / (1 - beta2**t)
        theta -= eta * m_hat / (np.sqrt(v_hat) + eps)
    return theta


g = rng.standard_normal(30)
same_rate = np.full(30, 0.1)
fast = follow(lambda w: optim.RMSprop(w, alpha=0.99, eps=1e-8), g, same_rate)
assert np.isclose(fast, rmsprop_slowly(g, 0.1, 0.99, 1e-8))
assert np.isclose(follow(optim.Adam, g, same_rate), adam_slowly(g, 0.1, 0.9, 0.999, 1e-8))

sizes = np.array([0.001, 1.0, 1000.0])
kinds = {"SGD": lambda w: optim.SGD(w, 0.1), "RMSprop": optim.RMSprop, "Adam": optim.Adam}
print("first step, rate 0.1, for a gradient of " + ", ".join(f"{size:g}" for size in sizes))
for name, make in kinds.items():
    first = [-follow(make, [size], [0.1]) for size in sizes]
    print(f"{name:8}" + "".join(f"{step:10.4g}" for step in first))

# %% [markdown]
# The first step of Adam is as long as the rate, whatever the gradient. RMSprop's is ten times that: nothing undoes its
# start from zero.
#
# **Exercise 6.3.** One step of Adam, for arrays of weights.


# %% tags=["exercise"]
def adam_step(theta, g, m, v, t, eta, beta1, beta2, eps):
    """Four arrays of one shape, and t = 1, 2, ...: return theta, m and v after the step."""
    raise NotImplementedError("exercise 6.3")


# %%
check("6.3", adam_step)

# %% [markdown]
# ## The rate over time
#
# Far away large steps are good, near the goal small ones. A *schedule* makes the rate a function of the step. A
# warm-up, small steps at the very start, helps where first gradients are wild.

# %%
show("opt.schedule_step", "opt.schedule_poly", "opt.schedule_cosine", "opt.schedule_warmup")

# %%
S, t = 100, np.arange(101)
schedules = {
    "step": optim.Step(0.1, step_size=30, gamma=0.3),
    "polynomial": optim.Polynomial(0.1, steps=S, power=0.9),
    "cosine": optim.Cosine(0.1, steps=S),
    "warmed-up cosine": optim.WarmUp(optim.Cosine(0.1, steps=S - 20), steps=20),
}
by_formula = {
    "step": 0.1 * 0.3 ** (t // 30),
    "polynomial": 0.1 * (1 - t / S) ** 0.9,
    "cosine": 0.1 / 2 * (1 + np.cos(np.pi * t / S)),
}
rates = {
    name: np.array([schedule(int(step)) for step in t]) for name, schedule in schedules.items()
}
for name, expected in by_formula.items():
    assert np.allclose(rates[name], expected)
rising = 0.1 * (0.1 + 0.9 * t[:20] / 20)
assert np.allclose(rates["warmed-up cosine"][:20], rising)
viz.lines_figure({name: (t, r) for name, r in rates.items()}, "step", "learning rate")

# %% [markdown]
# **Exercise 6.4.** Warm-up, then cosine. Mind where the wave begins.


# %% tags=["exercise"]
def rate(t, eta, f, w, S):
    """The rate at step t: from f * eta up to eta at step w, then down to 0 at step S."""
    raise NotImplementedError("exercise 6.4")


# %%
check("6.4", rate)

# %% [markdown]
# ## A leash for gradients
#
# One strange batch, one huge gradient, and the weights are thrown out of the valley. *Clipping* shortens what is too
# long. By its norm all gradients shrink together, and the direction stays; by value each is limited by itself, and the
# direction bends.

# %%
show("opt.clip_norm", "opt.clip_value")

# %%
long = np.array([30.0, -0.4, 0.3])
by_norm, by_value = Parameter(np.zeros(3)), Parameter(np.zeros(3))
by_norm.grad, by_value.grad = long.copy(), long.copy()
optim.clip_grad_norm_([by_norm], max_norm=1.0)
optim.clip_grad_value_([by_value], clip_value=1.0)
assert np.allclose(by_norm.grad, long * min(1, 1.0 / np.sqrt((long**2).sum())))
assert np.array_equal(by_value.grad, np.maximum(-1.0, np.minimum(1.0, long)))
viz.matrices_figure(
    {"gradient": long[None], "norm 1": by_norm.grad[None], "values up to 1": by_value.grad[None]},
    form=".2f",
    most=2,
)

# %% [markdown]
# ## A price for large weights
#
# Ten features, eight noisy samples: there are more weights than facts, and training can make the loss zero in
# countless ways. A *penalty* says which way is preferred. L2 charges for squares and keeps all weights small; L1
# charges for magnitudes and makes most of them vanish.

# %%
show("reg.l1", "reg.l1_grad", "reg.l2", "reg.l2_grad")

# %%
rng = np.random.default_rng(1)
true = np.array([2.0, -1.0, 1.0, 0, 0, 0, 0, 0, 0, 0])
X = rng.standard_normal((8, 10))
target = (X @ true + 0.5 * rng.standard_normal(8))[:, None]
new_X = rng.standard_normal((200, 10))


def no_penalty(w):
    return 0.0


def fit_line(penalty, optimizer_of=lambda w: optim.SGD(w, lr=0.05), count=2000):
    w = Parameter(np.zeros((1, 10)))
    optimizer = optimizer_of([w])
    for _ in range(count):
        optimizer.zero_grad()
        loss = ops.mse_loss(ops.linear(tensor(X), w), target)
        (loss + penalty([w])).backward()
        optimizer.step()
    return w.numpy()[0]


fits = {
    "no penalty": fit_line(no_penalty),
    "L2, strength 0.2": fit_line(lambda w: nn.l2_penalty(w, 0.2)),
    "L1, strength 0.2": fit_line(lambda w: nn.l1_penalty(w, 0.2)),
}
rows = np.array([true, *fits.values()]).round(1) + 0.0
for name, w in fits.items():
    error = ((new_X @ (w - true)) ** 2).mean()
    print(f"{name:17} squared error on new samples {error:.2f}")
viz.matrices_figure(
    {"rows: true weights; fitted without a penalty, with L2, with L1": rows}, form=".1f"
)

# %% [markdown]
# Only the first three features matter. L1 has found that out for five of the other seven; L2 has made the weights
# smaller and kept nearly all of them. By hand, the gradients of both penalties:

# %%
w = Parameter(rng.standard_normal(10))
nn.l1_penalty([w], 0.2).backward()
assert np.allclose(w.grad, 0.2 * ((w.numpy() > 0) * 1.0 - (w.numpy() < 0)))
w.grad = None
nn.l2_penalty([w], 0.2).backward()
assert np.allclose(w.grad, 0.2 * w.numpy())
print("gradients: the strength times the sign, and the strength times the weight")

# %% [markdown]
# The gradient of L2 is so simple that no loss is needed for it: an optimiser adds it by itself, *weight decay*. But
# beware of Adam. It divides every gradient by its size, and so the penalty too: the strength that you asked for is not
# the strength that you get. AdamW takes the decay out of that division.

# %%
show("opt.weight_decay", "opt.adamw")

# %%
decayed = fit_line(no_penalty, lambda w: optim.SGD(w, lr=0.05, weight_decay=0.2))
assert np.allclose(decayed, fits["L2, strength 0.2"])
adam = fit_line(lambda w: nn.l2_penalty(w, 0.2), lambda w: optim.Adam(w, lr=0.01), 300)
adam_decay = fit_line(no_penalty, lambda w: optim.Adam(w, lr=0.01, weight_decay=0.2), 300)
adamw = fit_line(no_penalty, lambda w: optim.AdamW(w, lr=0.01, weight_decay=0.2), 300)
assert np.allclose(adam, adam_decay)
assert np.abs(adam - adamw).max() > 0.01
one = Parameter(np.array([2.0]))
one.grad = np.array([0.0])
optim.AdamW([one], lr=0.1, weight_decay=0.2).step()
assert np.isclose(one.item(), (1 - 0.1 * 0.2) * 2.0)
print("L2 in the loss and weight decay: the same with SGD and with Adam; AdamW is something else")

# %% [markdown]
# ## Dropout
#
# Another way to keep a network from leaning on a few of its neurons: switch half of them off, other ones in each step.
# What stays grows by $1/(1-p)$, so that the next layer gets as much as it will get later, when none is switched off.

# %%
show("reg.dropout")

# %% [markdown]
# For maps, single pixels are no loss, as their neighbours know the same. There whole channels are dropped. The
# gradient goes where the values went.

# %%
show("reg.dropout_grad", "reg.dropout2d", "reg.dropout2d_grad")

# %%
p, values = 0.5, np.arange(1.0, 9).reshape(2, 4)
t = tensor(values, requires_grad=True)
thinned = ops.dropout(t, p, rng=np.random.default_rng(3))
m = (thinned.numpy() != 0) * 1.0
assert np.allclose(thinned.numpy(), m * values / (1 - p))
thinned.backward(np.ones((2, 4)))
assert np.allclose(t.grad, m / (1 - p))
maps = ops.dropout2d(tensor(np.ones((2, 5, 3, 3))), p, rng=np.random.default_rng(3)).numpy()
assert all(channel.min() == channel.max() for channel in maps.reshape(10, 9))
assert ops.dropout(t, p, training=False) is t
viz.matrices_figure(
    {"values": values, "m": m, "in training": thinned.numpy(), "gradient": t.grad}, most=24
)

# %% [markdown]
# **Exercise 6.6.** Write it, with the m that was drawn.


# %% tags=["exercise"]
def dropout(x, m, p, training):
    """Values x, and m of their shape: 0 where a value is dropped, else 1."""
    raise NotImplementedError("exercise 6.6")


# %%
check("6.6", dropout)

# %% [markdown]
# ## The documents' classifiers: names first
#
# Now to something real. Three documents print a small classifier and a loop that trains it. Their programs cannot be
# run as they stand. A step of such a loop, in `minseg`'s words:

# %%
program = """
for images, labels in trainloader:
    scores = layer(F.relu(images))
"""
known = {"layer": nn.Linear(4, 10)}
some_data = [(tensor(np.ones((2, 4), np.float32)), np.array([3, 7]))]
for repair in ({}, {"trainloader": some_data}, {"F": ops}):
    known |= repair
    try:
        exec(program, known)
        print("it runs")
    except NameError as error:
        print("NameError:", error)

# %% [markdown]
# As printed, nobody can have run these programs. Names that nothing defines are the harmless kind of mistake: the computer finds
# them, one at a time.

# %%
erratum("ERR-31", "ERR-32")

# %% [markdown]
# ## Labels that are none
#
# **A puzzle.** One document has no images at hand, and trains on random numbers. `inputs` are 64 random images; the
# labels are 64 rows of ten numbers from a normal distribution, under the name `outputs`. In the loop stands
# `outputs = model(inputs)`. Find two mistakes.

# %%
outputs = np.random.default_rng(0).standard_normal((64, 10))
model_says = tensor(np.random.default_rng(1).standard_normal((64, 10)))
try:
    ops.cross_entropy(model_says, outputs)
except (TypeError, ValueError) as error:
    print(str(error).splitlines()[0])

# %%
erratum("ERR-48")

# %% [markdown]
# ## Shapes that fit by accident
#
# Here are the three networks as printed, with all their mistakes but the names. `ConvNet` is D1's, `Net` is D2's, and
# `CNN` is D3's. How many rows of scores do four images get?

# %%
use_backend("numba")


def as_they_are(seed=0):
    return {
        "D1 ConvNet": printed.ConvNet(np.random.default_rng(seed)),
        "D2 Net": printed.Net(np.random.default_rng(seed)),
        "D3 CNN": printed.CNN(np.random.default_rng(seed)),
    }


sides = (28, 32, 64, 224)
print(f"{'pixels a side':24}" + "".join(f"{side:9}" for side in sides))
for name, network in as_they_are().items():
    answers = []
    for side in sides:
        try:
            with no_grad():
                answers.append(len(network(tensor(np.zeros((4, 3, side, side), np.float32)))))
        except ValueError:
            answers.append("refused")
    weights = f"{network.num_parameters():,}"
    print(f"{name:10} {weights:>9} weights" + "".join(f"{answer:>9}" for answer in answers))

# %% [markdown]
# Four images should have four rows. D1's and D2's networks want 32 pixels, D3's 28, and D3 itself feeds it with 224. Nor
# is a row of ten scores what the documents promise: a name for *each pixel*.
#
# **A puzzle.** D3's network flattens its maps to rows of $64 \cdot 7 \cdot 7 = 3136$ numbers. Why does it take images of
# 224 pixels without a word?
#
# **Exercise 6.5.** Count: two convolutions that keep the size, a pooling of 2 x 2 after each, 64 channels at the end,
# and rows of 3136 numbers, as many as there are.


# %% tags=["exercise"]
def rows_of_cnn(N, H):
    """Rows of scores for N images of H x H pixels, of a size that D3's network takes."""
    raise NotImplementedError("exercise 6.5")


# %%
check("6.5", rows_of_cnn)

# %%
erratum("ERR-34", "ERR-35")

# %% [markdown]
# ## Twice the same, and not K times
#
# Two smaller things. Make a network twice: is it the same network? And if there are many classes, is it cheaper to ask
# "is it a cat?", "is it a dog?", one network each?

# %%
image = tensor(np.ones((1, 3, 32, 32), np.float32))
with no_grad():
    unseeded = [printed.ConvNet()(image).numpy() for _ in range(2)]
    seeded = [printed.ConvNet(np.random.default_rng(5))(image).numpy() for _ in range(2)]
print("without a seed, two networks give the same scores:", np.array_equal(*unseeded))
print("with one seed, they do:", np.array_equal(*seeded))

# %%
erratum("ERR-57", "ERR-64")

# %% [markdown]
# ## What they can learn
#
# They are classifiers, so let them classify: a disc, a square or a triangle? Windows of 32 x 32 pixels, cut out of
# drawn scenes around a shape. Colours mean nothing here, so each pixel becomes its difference from the most usual colour
# of its window.

# %%
SHAPES = data.SCENES["shapes"][1][1:]


def windows_of(scenes, side=32):
    """Windows around the shapes that a scene has only once, and their classes."""
    windows, classes = [], []
    for n in scenes:
        picture, mask = data.draw_scene("shapes", n, 64)
        for label, (top, left, bottom, right) in data.boxes(mask).items():
            if max(bottom - top, right - left) <= side:
                i = min(max((top + bottom - side) // 2, 0), 64 - side)
                j = min(max((left + right - side) // 2, 0), 64 - side)
                window = picture[i : i + side, j : j + side].astype(np.float32)
                windows.append(np.abs(window - np.median(window, axis=(0, 1))) / 100)
                classes.append(label - 1)
    return np.stack(windows).transpose(0, 3, 1, 2), np.array(classes)


(train_x, train_t), (val_x, val_t) = windows_of(range(300)), windows_of(range(300, 500))
print(f"{len(train_t)} windows to learn from, {len(val_t)} others to judge by")
viz.gallery_figure(
    {f"{n + 1} {SHAPES[train_t[n]]}": train_x[n].mean(axis=0) for n in range(6)},
    columns=6,
    limits=(0, 1.5),
)

# %% [markdown]
# Each network as printed, with the optimiser of its document, and with windows of a size that it takes. For a hundred
# batches, as this is no race:


# %%
def side_of(network):
    return 28 if isinstance(network, printed.CNN) else 32


def middle(windows, side):
    edge = (32 - side) // 2
    return tensor(np.ascontiguousarray(windows[:, :, edge : edge + side, edge : edge + side]))


def train(network, optimizer, count, x=train_x, t=train_t, change=None, watch=None):
    """Batches of 32; change(batch, rng) augments, watch(step) looks on. Loss of each step."""
    rng, losses = np.random.default_rng(1), []
    for step in range(count):
        n = rng.integers(0, len(x), 32)
        batch = x[n] if change is None else change(x[n], rng)
        network.train()
        optimizer.zero_grad()
        loss = ops.cross_entropy(network(middle(batch, side_of(network))), t[n])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if watch is not None:
            watch(step)
    return np.array(losses)


def scores_of(network, windows):
    network.eval()
    with no_grad():
        return network(middle(windows, side_of(network))).numpy()


def right(network):
    return (scores_of(network, val_x).argmax(axis=1) == val_t).mean()


def smooth(losses, k):
    return np.convolve(losses, np.ones(k) / k, mode="valid")


theirs = {
    "D1 ConvNet": lambda w: optim.SGD(w, lr=0.001, momentum=0.9),
    "D2 Net": lambda w: optim.SGD(w, lr=0.001, momentum=0.9),
    "D3 CNN": lambda w: optim.Adam(w, lr=0.001),
}
networks, curves, as_printed = as_they_are(), {}, {}
for name, network in networks.items():
    losses = train(network, theirs[name](network.parameters()), steps(100))
    as_printed[name] = right(network)
    smoothed = smooth(losses, min(10, len(losses)))
    curves[name] = (range(len(smoothed)), smoothed)
viz.lines_figure(
    curves,
    "step",
    "loss",
    title="As printed",
    marks={"log 10: one of ten": np.log(10), "log 3: one of three": np.log(3)},
)

# %% [markdown]
# All three have ten classes for three shapes, and learn first that the other seven never occur. D1's and D2's go on from
# there, slowly: 0.001 is a small rate for SGD. D3's has hardly come so far after a hundred steps.
#
# **A puzzle.** Why? Look at the scores that it gives to 400 new windows, and at the last line of its program, which
# returns `relu(fc(x))`.

# %%
silent = (scores_of(networks["D3 CNN"], val_x)[:, :3] == 0).mean(axis=0)
print("share of the windows for which D3's network gives exactly the score 0:")
for shape, share in zip(SHAPES, silent):
    print(f"   {shape:9}{share:.2f}")

# %% [markdown]
# A ReLU after the last layer cuts every score below zero, and its gradient with it (ERR-36, notebook 05). A class whose
# scores have fallen below zero for all images is silent, and can never learn again to speak. It depends on the initial
# weights whether that happens; with these it did.

# %% tags=["full"]
assert silent.max() == 1
print(f"silent for good: {SHAPES[silent.argmax()]}")

# %% [markdown]
# ## Mended and trained
#
# What has to be done is little. `flatten` keeps each image's row apart where `view` counts numbers. The last ReLU goes.
# Three classes for three shapes. And Adam, with a rate that falls as a cosine. For D1 and D2 `minseg.models` has them; D3's
# in full:


# %%
class MendedCNN(printed.CNN):
    """D3's network: an image of another size is refused, and scores may be negative."""

    def __init__(self, num_classes, rng):
        super().__init__(rng)
        self.fc = nn.Linear(64 * 7 * 7, num_classes, rng=rng)

    def forward(self, x):
        x = self.pool(ops.relu(self.conv1(x)))
        x = self.pool(ops.relu(self.conv2(x)))
        return self.fc(flatten(x, 1))


mended = {
    "D1 ConvNet": models.ConvNet(3, 3),
    "D2 Net": models.Net(3, 3),
    "D3 CNN": MendedCNN(3, np.random.default_rng(0)),
}
as_mended = {}
for name, network in mended.items():
    optimizer, count = optim.Adam(network.parameters(), lr=0.002), steps(300)
    falling = optim.Cosine(0.002, steps=count)

    def next_rate(step, optimizer=optimizer, falling=falling):
        optimizer.lr = falling(step + 1)

    train(network, optimizer, count, watch=next_rate)
    as_mended[name] = right(network)
viz.bars_figure(
    list(mended),
    {"as printed": list(as_printed.values()), "mended": list(as_mended.values())},
    "right, of new windows",
    title="The documents' classifiers (guessing: 0.33)",
)

# %% [markdown]
# This is no fair race: the mended networks had three times as many steps, and a better optimiser. But it is the race that
# a reader of the documents is in.

# %% tags=["full"]
assert all(as_mended[name] > as_printed[name] for name in mended)
print(f"the best of them is right for {100 * max(as_mended.values()):.0f} of 100 new windows")

# %% [markdown]
# ## When the curves part
#
# Give the best of them only 200 windows, and watch two losses: that of the 200, and that of 400 others, the
# *validation set*.
#
# **A puzzle.** One document says that a validation set avoids over-fitting. What does measuring change?


# %%
def conv_net(p=0.0):
    """D1's network, with dropout before its last two layers."""
    rng, drawn = np.random.default_rng(0), np.random.default_rng(9)
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120, rng=rng),
        nn.ReLU(),
        nn.Dropout(p, rng=drawn),
        nn.Linear(120, 84, rng=rng),
        nn.ReLU(),
        nn.Dropout(p, rng=drawn),
        nn.Linear(84, 3, rng=rng),
    )


few_x, few_t = train_x[:200], train_t[:200]
EVERY = 20


def watched(network, optimizer, count, change=None):
    """Train on the 200. Every 20 steps: their loss, the others', how many of these are right."""
    seen = []

    def measure(step):
        if (step + 1) % EVERY == 0:
            z = scores_of(network, few_x), scores_of(network, val_x)
            both = [ops.cross_entropy(tensor(a), t).item() for a, t in zip(z, (few_t, val_t))]
            seen.append((*both, (z[1].argmax(axis=1) == val_t).mean()))

    train(network, optimizer, count, few_x, few_t, change, measure)
    return np.array(seen).T


network, blind = conv_net(), conv_net()
on_few, on_others, share = watched(network, optim.Adam(network.parameters()), steps(500))
train(blind, optim.Adam(blind.parameters()), steps(500), few_x, few_t)
assert all(
    np.array_equal(one.numpy(), other.numpy())
    for one, other in zip(network.parameters(), blind.parameters())
)
print("measured or not, every weight is the same after training")

# %% [markdown]
# Measuring changes nothing. What it shows: the loss of the 200 goes to zero, for the network learns them by heart, and the
# loss of the others falls, turns and rises. (That is the second picture at the end.)

# %% tags=["full"]
best = int(on_others.argmin())
assert on_few[-1] < 0.01
assert on_others[-1] > 1.2 * on_others[best]
for when, n in (("at its best", best), ("at the end", -1)):
    step = EVERY * (np.arange(len(on_others))[n] + 1)
    print(
        f"{when:12} (step {step:3}): loss of the 200 {on_few[n]:.3f}, "
        f"of the others {on_others[n]:.3f}, right {100 * share[n]:.0f} %"
    )

# %% [markdown]
# *Early stopping* acts on it: if the best epoch is too long ago, stop, and go back to the weights of that epoch.
# (`stop_early` takes scores, the larger the better; so it is given minus the losses.)

# %%
show("reg.early_stopping")


# %%
def stop_slowly(losses, q):
    best = 0
    for i in range(len(losses)):
        if losses[i] < losses[best]:
            best = i
    return len(losses) - 1 - best >= q


for q in (1, 3, 5):
    for n in range(1, len(on_others) + 1):
        assert stop_slowly(on_others[:n], q) == stop_early(-on_others[:n], q)
print("the loop and minseg agree for each patience and after each epoch")

# %% [markdown]
# **Exercise 6.7.** Write it. Several epochs may be equally good: the first of them counts.


# %% tags=["exercise"]
def stop(losses, q):
    """The validation losses of all epochs so far, and the patience: is it time to stop?"""
    raise NotImplementedError("exercise 6.7")


# %%
check("6.7", stop)

# %% [markdown]
# ## What helps
#
# Look at the numbers above once more: while the loss of the others rose, *more* of them were right. A network that has
# learned by heart is too sure of itself, and cross-entropy makes it pay for that; whether the largest score is in the
# right place is another question. Stop by what you care for.
#
# Stopping only limits the damage. Here are three remedies from this page: weight decay, dropout, and *augmentation*,
# which turns and mirrors the windows at random. A square on its side is a square: that is knowledge which 200 windows do
# not contain.


# %%
def turned(batch, rng):
    batch = np.rot90(batch, rng.integers(4), axes=(2, 3))
    return batch[..., :: rng.choice([-1, 1])]


remedies = {"nothing": (on_few, on_others, share)}
for name, p, decay, change in (
    ("weight decay", 0.0, 1.0, None),
    ("dropout", 0.5, 0.0, None),
    ("turned and mirrored", 0.0, 0.0, turned),
):
    network = conv_net(p)
    optimizer = optim.AdamW(network.parameters(), lr=0.001, weight_decay=decay)
    remedies[name] = watched(network, optimizer, steps(500), change)
epochs = EVERY * np.arange(1, len(on_others) + 1)
viz.lines_figure(
    {name: (epochs, seen[1]) for name, seen in remedies.items()},
    "step",
    "loss of windows not trained on",
)

# %% [markdown]
# All three help, and augmentation by far the most, as here it is the right knowledge. Mind what it is *not*: more data.
# Four turns and two mirror images make eight views of each window, and still there are 200.

# %% tags=["full"]
ends = {name: seen[1, -1] for name, seen in remedies.items() if name != "nothing"}
assert max(ends.values()) < on_others[-1]
assert ends["turned and mirrored"] < 0.5 * min(ends["weight decay"], ends["dropout"])
for name, seen in remedies.items():
    print(
        f"{name:20} loss of the 200 {seen[0][-1]:.3f}, of the others {seen[1][-1]:.3f}, "
        f"right {100 * seen[2][-1]:.0f} %"
    )

# %%
erratum("ERR-66")

# %% [markdown]
# ## The pictures
#
# First the landscape again, and all five, with one rate and a hundred steps each. Gradient descent drops to the floor
# and stays there. Momentum rolls over the floor and up the other wall, and swings its way down to the goal. Nesterov
# looks ahead, swings less and is on its way. RMSprop and Adam care little for how steep it is and cut across the slope.
# RMSprop is near the goal soon, and then trembles around it: its steps do not become shorter by themselves. That is
# what schedules are for.

# %%
five = {
    "gradient descent": lambda weights: optim.SGD(weights, lr=0.1),
    "momentum 0.9": lambda weights: optim.SGD(weights, lr=0.1, momentum=0.9),
    "Nesterov 0.9": lambda weights: optim.SGD(weights, lr=0.1, momentum=0.9, nesterov=True),
    "RMSprop": lambda weights: optim.RMSprop(weights, lr=0.1, alpha=0.9),
    "Adam": lambda weights: optim.Adam(weights, lr=0.1),
}
paths = {}
for name, make in five.items():
    path, losses = walk(make, 100)
    paths[f"{name}: {losses[-1]:.4f}"] = path
on_the_map(paths, "Five optimisers, one landscape (and the loss in the end)")

# %% [markdown]
# And the curves that part: blue and yellow, 200 windows learned by heart. With the same 200, turned and mirrored, they
# keep close to each other: green and pink.

# %%
turned_few, turned_others, _ = remedies["turned and mirrored"]
viz.lines_figure(
    {
        "training": (epochs, on_few),
        "validation": (epochs, on_others),
        "training, turned": (epochs, turned_few),
        "validation, turned": (epochs, turned_others),
    },
    "step",
    "loss",
    title="Curves that part, and curves that hardly do",
)

# %% [markdown]
# ## What to read next
#
# * [07 · From one answer to an answer per pixel](07_an_answer_per_pixel.ipynb): what makes a segmenter of D1's
#   classifier, without a new weight.
# * The formulas of this page with their code: [optimisers](../minseg/equations/EQUATIONS.md#opt),
#   [regularisation](../minseg/equations/EQUATIONS.md#reg). The code: [sgd.py](../minseg/optim/sgd.py),
#   [adaptive.py](../minseg/optim/adaptive.py), [schedules.py](../minseg/optim/schedules.py),
#   [gradients.py](../minseg/optim/gradients.py), [dropout.py](../minseg/ops/dropout.py).
# * D. P. Kingma, J. Ba: Adam: A Method for Stochastic Optimization. ICLR 2015. I. Loshchilov, F. Hutter: Decoupled Weight
#   Decay Regularization. ICLR 2019. N. Srivastava et al.: Dropout. JMLR 15 (2014).
# * Solutions of the exercises: [solutions/06.py](solutions/06.py).
