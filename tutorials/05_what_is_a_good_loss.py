# %% [markdown]
# # 05 · What is a good loss?
#
# **What you will build:** softmax that does not overflow, cross-entropy for pixels, weights for rare classes, focal
# loss, and the Dice and Jaccard losses, each checked against its formula.
#
# **The picture at the end:** what each loss says about one pixel, against the probability of its true class, and the
# floor below which a second softmax never lets it fall.
#
# Read [04 · Neurons, activations, starts](04_neurons_activations_starts.ipynb) first.

# %% [markdown]
# ## From scores to probabilities
#
# A network gives K scores for each pixel, *logits*: any numbers. Softmax makes probabilities of them: all positive,
# one in sum. The largest score m is subtracted first, which changes nothing, but exp(1000) is more than a computer can
# hold. Here are the three scores of one pixel, three times, the second shifted and the third doubled:

# %%
import warnings

import numpy as np

from minseg import data, nn, ops, optim, tensor, use_backend, viz
from minseg.testing.tutorials import check, erratum, printed, show, steps

use_backend("numpy")
rng = np.random.default_rng(0)
z = np.array([[2.0, 1.0, -1.0], [1002.0, 1001.0, 999.0], [4.0, 2.0, -2.0]])
p = ops.softmax(tensor(z), 1).numpy()
viz.matrices_figure({"scores of three pixels": z, "probabilities": p.round(3)})

# %% [markdown]
# A shift changes nothing, and a doubling makes the same opinion more certain. As a formula:

# %%
show("act.softmax")

# %% [markdown]
# Its logarithm is needed more often, and is better computed in one go than by taking the logarithm of a number that
# may have become zero. The two gradients: each class hears what all others are told.

# %%
show("act.softmax_grad", "act.log_softmax", "act.log_softmax_grad")

# %%
slow = np.array([[np.exp(a - max(row)) / sum(np.exp(row - max(row))) for a in row] for row in z])
assert np.allclose(slow, p)
assert np.allclose(ops.log_softmax(tensor(z), 1).numpy(), np.log(p))
t, p_bar = tensor(z, requires_grad=True), rng.standard_normal(z.shape)
ops.softmax(t, 1).backward(p_bar)
assert np.allclose(t.grad, p * (p_bar - (p_bar * p).sum(axis=1, keepdims=True)))
print("slow and fast agree, forward and backward")

# %% [markdown]
# **Exercise 5.1.** Write softmax for the scores of an image. Some of the scores are near 1000.


# %% tags=["exercise"]
def softmax(z):
    """z (K, H, W): probabilities (K, H, W), which sum to 1 over the classes of each pixel."""
    raise NotImplementedError("exercise 5.1")


# %%
check("5.1", softmax)

# %% [markdown]
# ## Cross-entropy: the price of a surprise
#
# How bad is a prediction? As bad as the truth is a surprise to it: minus the logarithm of the probability that it gave
# to the true class. Certain and right costs nothing, one half costs 0.69, certain and wrong costs without limit. D3
# prints this:

# %%
printed("EQ-D3-4")

# %% [markdown]
# That is the *binary* cross-entropy, for one yes or no, and only between 0 and 1. From logits it can be computed for
# every score. The mean of squared differences is the other loss that the documents name.

# %%
show("loss.bce", "loss.bce_logits", "loss.bce_logits_grad", "loss.mse", "loss.mse_grad")

# %%
score, yes = np.linspace(-6, 6, 9), np.ones(9)
q = 1 / (1 + np.exp(-score))
bce = ops.binary_cross_entropy_with_logits(tensor(score), yes).numpy()
assert np.isclose(bce, -np.mean(yes * np.log(q) + (1 - yes) * np.log(1 - q)))
slope = {}
for name, loss_of in {
    "cross-entropy": ops.binary_cross_entropy_with_logits,
    "squared error": lambda s, y: ops.mse_loss(ops.sigmoid(s), y),
}.items():
    t = tensor(score, requires_grad=True)
    loss_of(t, yes).backward()
    slope[name] = (score, np.abs(t.grad) * 9)
viz.lines_figure(slope, "score of a pixel that is a yes", "how hard the loss pulls")

# %% [markdown]
# Far left the prediction is certain and wrong. Cross-entropy pulls with full strength there; squared error behind a
# sigmoid hardly pulls at all, where it is needed most. So cross-entropy it is, and there is a lot to repair in how
# the documents print it. Before you read on: what is 0 times log 0 in Python? And how often is the mean taken?

# %%
printed("EQ-D3-4", "EQ-D3-5")

# %%
erratum("ERR-11", "ERR-12", "ERR-13", "ERR-14", "ERR-25")

# %% [markdown]
# Here is the right one for segmentation: many classes, from logits, and a mean over all pixels of all images. Pixels
# without a name (255) count neither in the sum nor in the number.

# %%
show("loss.ce")

# %% [markdown]
# As loops, and as `ops.cross_entropy`:


# %%
def cross_entropy_slowly(z, t):
    N, K, H, W = z.shape
    total, count = 0.0, 0
    for n, i, j in np.ndindex(N, H, W):
        if t[n, i, j] != 255:
            row = z[n, :, i, j]
            total -= row[t[n, i, j]] - np.log(sum(np.exp(row[k]) for k in range(K)))
            count += 1
    return total / count


z, labels = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
labels[0, 0, :3] = 255
t = tensor(z, requires_grad=True)
loss = ops.cross_entropy(t, labels)
assert np.isclose(loss.numpy(), cross_entropy_slowly(z, labels))
print(f"both give {float(loss.numpy()):.4f}; knowing nothing would cost log 3 = {np.log(3):.4f}")

# %% [markdown]
# Its gradient is the simplest of all: probability minus truth. What is too likely is pushed down, what is true is
# pulled up, and a pixel that is right is left alone.

# %%
show("loss.ce_grad")

# %%
loss.backward()
known = (labels != 255)[:, None]
truth = np.arange(3)[:, None, None] == labels[:, None]
by_hand = known * (ops.softmax(tensor(z), 1).numpy() - truth) / known.sum()
assert np.allclose(t.grad, by_hand)
print("probability minus truth, divided by the number of named pixels: the tape agrees")

# %% [markdown]
# **Exercise 5.2.** Write it for one image, with the void pixels.


# %% tags=["exercise"]
def cross_entropy(z, t):
    """z (K, H, W) logits, t (H, W) labels, 255 without a name: the mean loss of the named pixels."""
    raise NotImplementedError("exercise 5.2")


# %%
check("5.2", cross_entropy)

# %% [markdown]
# ## One softmax too many
#
# The loss has its softmax inside. Two of the documents end their network with another one. **A puzzle:** softmax makes
# numbers between 0 and 1. If these go into a second softmax as if they were logits, how small can the loss become for
# a network that is perfectly right?

# %%
certain = tensor(np.array([[50.0, 0, 0, 0]]).reshape(1, 4, 1, 1))
target = np.zeros((1, 1, 1), int)
once = float(ops.cross_entropy(certain, target).numpy())
with warnings.catch_warnings(record=True) as caught:  # minseg notices
    warnings.simplefilter("always")
    twice = float(ops.cross_entropy(ops.softmax(certain, 1), target).numpy())
assert "ERR-28" in str(caught[0].message)
assert np.isclose(twice, np.log(np.e + 3) - 1)
print(f"right and certain, among 4 classes: loss {once:.2f}; with a second softmax {twice:.2f}")

# %%
erratum("ERR-18", "ERR-28", "ERR-58")

# %% [markdown]
# Two more ways to spoil a loss that stand in the documents' code: ReLU after the last layer, and a loss that compares
# the predictions with themselves.

# %%
erratum("ERR-36", "ERR-47")

# %% [markdown]
# ## Rare classes
#
# In a street most pixels are road and sky. A mean over pixels hardly hears the small things. Class weights make each
# class count alike: the rarer, the heavier.

# %%
show(
    "loss.ce_weighted",
    "loss.ce_weighted_grad",
    "loss.weight_inverse",
    "loss.weight_frequency",
    "loss.weight_median",
    "loss.weight_sqrt_median",
)

# %%
scenes = [data.draw_scene("streets", n, 64) for n in range(8)]
names = data.SCENES["streets"][1]
counts = sum(np.bincount(mask[mask < 255], minlength=len(names)) for _, mask in scenes)
inverse = counts.sum() / (len(names) * counts)
assert np.allclose(inverse, data.class_weights(counts, "inverse"))
viz.bars_figure(
    names,
    {"share of the pixels": counts / counts.sum(), "weight": inverse},
    title="Rare classes weigh more",
)

# %% [markdown]
# **Exercise 5.3.** Write these weights, inverse frequencies. Equally frequent classes all get the weight 1.


# %% tags=["exercise"]
def class_weights(counts):
    """counts (K): pixels of each class. Weights (K)."""
    raise NotImplementedError("exercise 5.3")


# %%
check("5.3", class_weights)

# %% [markdown]
# Focal loss asks not how rare a class is, but how easy a pixel is. It multiplies the loss by a power of what is
# missing to certainty, so that thousands of easy pixels do not drown a few hard ones.

# %%
show("loss.focal", "loss.focal_grad", "loss.focal_weighted")

# %%
z, labels = rng.standard_normal((1, 3, 6, 6)), rng.integers(0, 3, (1, 6, 6))
true = np.take_along_axis(ops.softmax(tensor(z), 1).numpy(), labels[:, None], 1)
focal = ops.focal_loss(tensor(z), labels, gamma=2.0).numpy()
assert np.isclose(focal, np.mean(-((1 - true) ** 2) * np.log(true)))
weights = np.array([0.5, 1.0, 3.0])
weighted = ops.cross_entropy(tensor(z), labels, weight=weights).numpy()
alpha = weights[labels][:, None]
assert np.isclose(weighted, -(alpha * np.log(true)).sum() / alpha.sum())
print("weighted cross-entropy and focal loss are their formulas")

# %% [markdown]
# ## Losses of overlap
#
# The score of notebook 01 is IoU, so why not train for that? Because it counts pixels, and a count has no slope. Put
# probabilities in place of counts, and it has one. Dice and Jaccard losses are one minus the softened scores.

# %%
show(
    "loss.dice",
    "loss.jaccard",
    "loss.dice_grad",
    "loss.jaccard_grad",
    "loss.dice_sums",
    "loss.dice_sums_grad",
    "loss.dice_multiclass",
)

# %%
p = rng.uniform(0.1, 0.9, (1, 1, 6, 6))
p = np.concatenate([1 - p, p], axis=1)
mask = rng.integers(0, 2, (1, 6, 6))
overlap, sizes = (p[:, 1] * mask).sum(), p[:, 1].sum() + mask.sum()
dice = ops.dice_loss(tensor(p), mask, smooth=1.0, include_background=False).numpy()
jaccard = ops.jaccard_loss(tensor(p), mask, smooth=1.0, include_background=False).numpy()
assert np.isclose(dice, 1 - (2 * overlap + 1) / (sizes + 1))
assert np.isclose(jaccard, 1 - (overlap + 1) / (sizes - overlap + 1))
print(f"Dice loss {float(dice):.3f}, Jaccard loss {float(jaccard):.3f}: both as their formulas")

# %% [markdown]
# **Exercise 5.4.** Write the Dice loss. A document says: "the loss is obtained by computing the Dice similarity". Do
# not follow it to the letter.


# %% tags=["exercise"]
def dice_loss(p, g, eps):
    """p: probabilities, g: mask of zeros and ones, of one shape; eps smooths."""
    raise NotImplementedError("exercise 5.4")


# %%
check("5.4", dice_loss)

# %%
erratum("ERR-24")

# %% [markdown]
# ## The same pixels, four losses
#
# What difference does it make? The simplest network there is, a neuron for each class that sees a pixel's brightness
# only, learns to find nuclei in a micrograph. What it can learn is a threshold. Four times, with four losses, scored on
# the very pixels it learned from: we compare losses here, not networks. (Adam is the next notebook's subject.)

# %%
nuclei = data.open_data("nuclei")
image, mask = nuclei.val[0]
part = np.s_[300:428]
prepare = data.Preprocess.fit([nuclei.train[0][0]], log_gain=20)
x = tensor(prepare(image[part]).astype(np.float32)[None])
truth = mask[part][None]
share = truth.mean()
rare = np.array([1 / (1 - share), 1 / share], np.float32) / 2
losses = {
    "cross-entropy": lambda z: ops.cross_entropy(z, truth),
    "weighted": lambda z: ops.cross_entropy(z, truth, weight=rare),
    "focal": lambda z: ops.focal_loss(z, truth),
    "Dice": lambda z: ops.dice_loss_with_logits(z, truth, include_background=False),
}
panels = {"image": viz.displayable(image[part]), "truth": truth[0]}
found = {}
for name, loss_of in losses.items():
    neuron = nn.Conv2d(1, 2, 1, rng=np.random.default_rng(0))
    optimizer = optim.Adam(neuron.parameters(), lr=0.1)
    for _ in range(steps(120)):
        optimizer.zero_grad()
        loss_of(neuron(x)).backward()
        optimizer.step()
    answer = neuron(x).numpy()[0].argmax(axis=0).astype(np.uint8)
    found[name] = answer.mean()
    iou = (answer & truth[0]).sum() / (answer | truth[0]).sum()
    panels[f"{name}:\nIoU {iou:.2f}"] = answer
viz.gallery_figure(panels, columns=3, class_names=nuclei.class_names)

# %% [markdown]
# The loss moves the threshold. Weights make the rare class dear to miss, so more is called a nucleus; no loss is best
# for all purposes.

# %% tags=["full"]
assert found["weighted"] > found["cross-entropy"]
print(f"true share of nuclei {share:.3f}")
for name, part_found in found.items():
    print(f"found with {name:14} {part_found:.3f}")

# %% [markdown]
# ## The picture
#
# One pixel and four classes; the others share what the true class leaves. Where a curve is steep, the loss pulls hard.
# Cross-entropy falls to zero; focal loss stops pulling early; the dashed line is the floor of the second softmax.

# %%
p = np.linspace(0.02, 1, 99)
probabilities = np.stack([p, *[(1 - p) / 3] * 3])
second = np.exp(probabilities) / np.exp(probabilities).sum(axis=0)
viz.lines_figure(
    {
        "cross-entropy": (p, -np.log(p)),
        "focal, gamma = 2": (p, -((1 - p) ** 2) * np.log(p)),
        "squared error": (p, (1 - p) ** 2),
        "Dice": (p, 1 - 2 * p / (p + 1)),
        "Jaccard": (p, 1 - p),
        "softmax twice": (p, -np.log(second[0])),
    },
    "probability of the true class",
    "loss",
    title="What each loss says about one pixel",
    marks={"floor, log(e + 3) - 1": np.log(np.e + 3) - 1},
)

# %% [markdown]
# ## What to read next
#
# * [06 · Going downhill](06_going_downhill.ipynb): how a loss becomes small.
# * The formulas of this page with their code: [losses](../minseg/equations/EQUATIONS.md#loss),
#   [softmax](../minseg/equations/EQUATIONS.md#act). The code: [loss.py](../minseg/ops/loss.py),
#   [softmax.py](../minseg/ops/softmax.py), [balance.py](../minseg/data/balance.py).
# * Solutions of the exercises: [solutions/05.py](solutions/05.py).
