# %% [markdown]
# # 09 · y = x + F(x)
#
# **What you will build:** residual blocks and their gradient, projections for the places where shapes change, dense
# blocks and inception blocks; three segmenters made of them, and networks of growing depth, with the sum and without.
#
# **The picture at the end:** the size of the gradient in each layer of networks of 8, 20 and 32 layers, with and
# without the sum.
#
# Read [08 · Encoder, decoder, skips](08_encoder_decoder_skips.ipynb) first.

# %% [markdown]
# ## A residual network without residuals
#
# D4 is about residual networks, prints the right formula, and then a class called `ResNet`. A simple experiment tells
# whether it is one. A residual block passes x on and adds something to it; so set every kernel in the middle to zero,
# and the image must still get through. Two very different pictures:

# %%
import numpy as np

from minseg import data, metrics, models, nn, no_grad, ops, optim, tensor, use_backend, viz
from minseg.autograd import concatenate
from minseg.models import printed
from minseg.models.dense import DenseBlock
from minseg.models.inception import InceptionBlock
from minseg.models.resnet import BasicBlock
from minseg.testing.tutorials import check, erratum, show, steps

use_backend("numba")
pictures = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


def difference(network, silenced):
    """How far apart the answers for the two pictures are when these convolutions are zero."""
    for convolution in silenced:
        convolution.weight.data = 0 * convolution.weight.data
    network.eval()
    with no_grad():
        one, two = network(tensor(pictures)).numpy()
    return np.abs(one - two).max()


d4 = printed.ResNet(np.random.default_rng(0))
real = models.ResNet(3, 10)
branches = [m for m in real.modules() if isinstance(m, BasicBlock)]
silenced = [convolution for block in branches for convolution in (block.conv1, block.conv2)]
apart = {
    "D4's network": difference(d4, [d4.conv2, d4.conv3]),
    "a residual network": difference(real, silenced),
}
viz.bars_figure(list(apart), {"difference of the two answers": list(apart.values())}, form=".3f")

# %% [markdown]
# D4's network says the same about everything: nothing goes around its layers. There is more. Its fully connected layer
# refuses the images that the document feeds it, and its second version, for another library, makes its layers anew in
# each call, so that nothing is ever learned.

# %%
erratum("ERR-45")

# %%
erratum("ERR-46", "ERR-50", "ERR-56")

# %% [markdown]
# ## The block
#
# The formula is short. F is a *branch* of two or three layers, and what is added to it is what went into it.

# %%
show("res.identity")

# %% [markdown]
# Slowly, with a branch of two layers on vectors: multiply, ReLU, multiply, and then add x. The sum costs no weight
# and one addition for each number.

# %%
rng = np.random.default_rng(10)
x, V, W = rng.standard_normal(4), rng.standard_normal((4, 4)), rng.standard_normal((4, 4))


def branch_slowly(x):
    hidden = [max(0, sum(V[i, j] * x[j] for j in range(4))) for i in range(4)]
    return np.array([sum(W[i, j] * hidden[j] for j in range(4)) for i in range(4)])


slowly = np.array([x[i] + branch_slowly(x)[i] for i in range(4)])
fast = x + W @ np.maximum(0, V @ x)
assert np.allclose(slowly, fast)
print("x        ", x.round(2))
print("x + F(x) ", fast.round(2))

# %% [markdown]
# **Exercise 9.1.** Write it for a batch of rows x (N, D), with `V` and `W` of shape (D, D). The arguments are
# Tensors, and the gradients are checked too: `ops.relu`, `@`, `.T` and `+` are all you need.


# %% tags=["exercise"]
def residual(x, V, W):
    """x + F(x) for each row of x, with F: multiply with V, ReLU, multiply with W."""
    raise NotImplementedError("exercise 9.1")


# %%
check("9.1", residual)

# %% [markdown]
# D4 calls F itself the *block*, and says that each layer's output is added to the *previous* layer's input, in every
# layer. Three small slips, and the last one makes a good puzzle.
#
# **Exercise 9.2.** Suppose that every single linear layer had a skip of its own: y = x + W x. Then it would be just
# another linear layer, y = M x. Which one?


# %% tags=["exercise"]
def without_skip(W):
    """The matrix M (D, D) for which M x = x + W x, whatever x is."""
    raise NotImplementedError("exercise 9.2")


# %%
check("9.2", without_skip)

# %% [markdown]
# So a skip over one linear layer adds nothing that the layer could not do itself. It takes a branch with a bend in
# it.

# %%
erratum("ERR-17", "ERR-61", "ERR-62", "ERR-60")

# %% [markdown]
# ## Why it helps: the gradient
#
# Here is the whole secret. The derivative of x + F(x) is 1 plus that of F. Going back through a block, the gradient
# arrives *unchanged*, and something is added to it.

# %%
show("res.identity_grad")

# %% [markdown]
# Literally: measure the derivatives J of the branch, one input at a time, and compare the formula with what the tape
# says.

# %%
h = 1e-6
J = np.zeros((4, 4))
for i in range(4):
    step = h * np.eye(4)[i]
    J[:, i] = (branch_slowly(x + step) - branch_slowly(x - step)) / (2 * h)
arriving = rng.standard_normal(4)
by_formula = np.array(
    [arriving[i] + sum(J[j, i] * arriving[j] for j in range(4)) for i in range(4)]
)

t = tensor(x[None].copy(), requires_grad=True)
y = t + ops.relu(t @ tensor(V.T.copy())) @ tensor(W.T.copy())
(y * tensor(arriving[None])).sum().backward()
assert np.allclose(t.grad[0], by_formula, atol=1e-6)
viz.matrices_figure(
    {"J": J, "arriving": arriving[:, None], "handed on": by_formula[:, None]}, form=".1f"
)

# %% [markdown]
# **Exercise 9.3.** The same as one line of NumPy.


# %% tags=["exercise"]
def hand_on(arriving, J):
    """Gradient (n,) for the output and derivatives J[j, i] of output j for input i: the gradient for x."""
    raise NotImplementedError("exercise 9.3")


# %%
check("9.3", hand_on)

# %% [markdown]
# ## Where shapes change: the projection
#
# A sum needs equal shapes. Where a network halves its map and doubles its channels, x must follow. A *projection*
# does it: a 1 x 1 convolution with the same stride as the branch. It alone has weights.

# %%
show("res.projection")


# %%
def project_slowly(F, x, w, s):
    y = F.copy()
    N, O, I, J = F.shape
    for n in range(N):
        for o in range(O):
            for i in range(I):
                for j in range(J):
                    for c in range(x.shape[1]):
                        y[n, o, i, j] += w[o, c] * x[n, c, s * i, s * j]
    return y


rng = np.random.default_rng(2)
maps, w, F = (rng.standard_normal(size) for size in ((1, 2, 5, 6), (3, 2), (1, 3, 3, 3)))
literal = project_slowly(F, maps, w, 2)
fast = F + ops.conv2d(tensor(maps), tensor(w[:, :, None, None].copy()), stride=2).numpy()
assert np.allclose(literal, fast)
block = BasicBlock(16, 32, stride=2)
print(f"a block from 16 to 32 channels: {block.num_parameters()} weights, ", end="")
print(f"of which the projection has {block.downsample.num_parameters()}")

# %% [markdown]
# **Exercise 9.4.** Write it in NumPy.


# %% tags=["exercise"]
def project(F, x, w, s):
    """F (N, O, I, J), x (N, C, H, W), w (O, C), stride s: the branch plus the projected x."""
    raise NotImplementedError("exercise 9.4")


# %%
check("9.4", project)

# %% [markdown]
# D4's list of layers has a pooling *inside* the block. Then x and F(x) differ in size:

# %%
erratum("ERR-19")

# %% [markdown]
# ## Two relatives
#
# *Dense* blocks (DenseNet) do not add, they concatenate: every layer is fed what all layers before it made.
# *Inception* blocks look with several kernel sizes at once and put the results side by side. Both formulas say only
# which layer's channel is found where.

# %%
show("res.dense_concat", "res.inception")

# %% [markdown]
# Slowly: keep a list of everything, and join it again for each layer. `DenseBlock` must agree; and the inception
# block's channels must be those of its four branches.

# %%
dense = DenseBlock(4, growth=3, depth=3, rng=np.random.default_rng(3)).eval()
x = tensor(np.random.default_rng(4).standard_normal((1, 4, 6, 6)).astype(np.float32))
with no_grad():
    made = [x]
    for layer in dense.layers:
        made.append(layer(concatenate(made, dim=1)))
    assert np.allclose(dense(x).numpy(), concatenate(made, dim=1).numpy(), atol=1e-5)
    inception = InceptionBlock(4, (1, 2, 3, 4), rng=np.random.default_rng(5)).eval()
    side_by_side = inception(x)
print("dense: channels", " + ".join(str(m.shape[1]) for m in made), "=", dense(x).shape[1])
print("inception: channels 1 + 2 + 3 + 4 =", side_by_side.shape[1])

# %% [markdown]
# ## Three segmenters on real cells
#
# Each family as a whole network, trained alike on the left of the micrograph with Adam, and tested on the strip at the
# right that none has seen.

# %%
nuclei = data.open_data("nuclei")
(image, mask), (new_image, new_mask) = nuclei.train[0], nuclei.val[0]
prepare = data.Preprocess.fit([image], log_gain=20)
seen, new = prepare(image), prepare(new_image)


def crops(rng, side, count=8):
    """Random squares of the training columns, and their masks."""
    corners = [(rng.integers(512 - side), rng.integers(384 - side)) for _ in range(count)]
    cut = [np.s_[i : i + side, j : j + side] for i, j in corners]
    return tensor(np.stack([seen[:, *c] for c in cut])), np.stack([mask[c] for c in cut])


def train(network, optimizer, count, side):
    """The loss of each step."""
    rng, losses = np.random.default_rng(1), []
    for _ in range(count):
        batch, labels = crops(rng, side)
        optimizer.zero_grad()
        loss = ops.cross_entropy(network(batch), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


panels = {"image": viz.displayable(new_image[300:428])}
for name in ("resnet", "densenet", "inception"):
    network = models.build(name, 1, 2)
    train(network, optim.Adam(network.parameters(), lr=1e-2), steps(80), side=64)
    network.eval()
    with no_grad():
        guess = network(tensor(new[None])).numpy()[0].argmax(axis=0).astype(np.uint8)
    counted = metrics.ConfusionMatrix(2)
    counted.update(guess, new_mask)
    panels[f"{name}: IoU {counted.iou()[1]:.2f}"] = guess[300:428]
    print(f"{name:10} {network.num_parameters():6} weights, IoU of nuclei {counted.iou()[1]:.2f}")
viz.gallery_figure(panels, class_names=nuclei.class_names)

# %% [markdown]
# ## How deep?
#
# These networks are shallow. What happens at 8, 20, 32 layers? For each depth two networks that are the *same*, kernel
# for kernel, but for one `x +`: eight channels, blocks of two convolutions, no normalisation, and initial weights of
# half of He's size, as if somebody had guessed them. Notebook 04 found a start that keeps signals alive through any
# depth; here we see who needs it.


# %%
class Deep(nn.Module):
    """A first convolution, blocks of two, and scores; with the sum or without."""

    def __init__(self, layers, residual):
        rng, self.residual = np.random.default_rng(0), residual
        self.first = nn.Conv2d(1, 8, 3, padding=1, rng=rng)
        self.middle = nn.ModuleList(
            nn.Conv2d(8, 8, 3, padding=1, rng=rng) for _ in range(layers - 2)
        )
        for convolution in self.middle:
            convolution.weight.data = convolution.weight.data / 2
        self.last = nn.Conv2d(8, 2, 1, rng=rng)

    def forward(self, x):
        x = ops.relu(self.first(x))
        convolutions = list(self.middle)
        for one, two in zip(convolutions[::2], convolutions[1::2], strict=True):
            F = two(ops.relu(one(x)))
            x = ops.relu(x + F if self.residual else F)
        return self.last(x)


sizes, losses = {}, {}
batch, labels = crops(np.random.default_rng(0), 32)
for layers in (8, 20, 32):
    for kind in ("plain", "residual"):
        network = Deep(layers, kind == "residual")
        ops.cross_entropy(network(batch), labels).backward()
        norms = [
            np.linalg.norm(c.weight.grad) for c in (network.first, *network.middle, network.last)
        ]
        sizes[f"{kind}, {layers} layers"] = (np.arange(1, layers + 1), norms)
        optimizer = optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        losses[f"{kind}, {layers} layers"] = np.mean(
            train(network, optimizer, steps(120), 32)[-20:]
        )
entropy = -sum(p * np.log(p) for p in np.bincount(mask.ravel()) / mask.size)
print(f"who always answers with the share of nuclei has a loss of {entropy:.2f}")
viz.bars_figure(
    ("8 layers", "20 layers", "32 layers"),
    {kind: [losses[f"{kind}, {n} layers"] for n in (8, 20, 32)] for kind in ("plain", "residual")},
    "training loss at the end",
)

# %% [markdown]
# The plain networks of 20 and 32 layers have learned nothing but how rare nuclei are. This is *training* loss: it has
# nothing to do with over-fitting, although D4 promises that residual connections reduce that.

# %% tags=["full"]
for layers in (20, 32):
    assert losses[f"residual, {layers} layers"] < 0.7 * losses[f"plain, {layers} layers"]
print("at 20 and at 32 layers only the networks with the sum learn")

# %%
erratum("ERR-59")

# %% [markdown]
# ## The picture
#
# The reason, at a glance: how large the gradient of each layer was before the first step. The gradient of a kernel is
# a product of two things: the signal that came to it from the front, and the gradient that came to it from behind. In a
# plain network each layer takes about half of either. Near the image the signal is whole and the gradient is lost, near
# the scores it is the other way round; so the product is equally small everywhere, and twelve layers more make it ten
# thousand times smaller. Along the sums both pass, at any depth.

# %%
viz.lines_figure(
    sizes,
    x_label="layer (the first one sees the image)",
    y_label="size of its gradient",
    title="With x +, and without",
    log_y=True,
)

# %% [markdown]
# ## What to read next
#
# * [10 · Seeing further](10_seeing_further.ipynb), or
#   [11 · Every pixel asks every pixel](11_every_pixel_asks_every_pixel.ipynb), where y = x + F(x) returns.
# * The formulas of this page with their code: [blocks](../minseg/equations/EQUATIONS.md#res). The networks:
#   [resnet.py](../minseg/models/resnet.py), [dense.py](../minseg/models/dense.py),
#   [inception.py](../minseg/models/inception.py), and D4's in [printed.py](../minseg/models/printed.py).
# * K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition. CVPR 2016.
# * Solutions of the exercises: [solutions/09.py](solutions/09.py).
