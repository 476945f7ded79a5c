# %% [markdown]
# # 01 · Pixels with names
#
# **What you will build:** label maps, one-hot masks, changes that move an image and its mask together, a confusion
# matrix, and every score that is read from it. No network yet: first we must know what a good answer is.
#
# **The picture at the end:** one real micrograph, segmented twice. The first segmentation finds nothing at all and
# has the *higher* accuracy. The scores that you build here are not fooled.
#
# You need Python and a little NumPy. Everything runs in seconds.

# %% [markdown]
# One import line brings what the tutorials need: `show` prints an equation from the registry, `erratum` a mistake
# that was found in the documents behind this project, `check` examines your exercises.

# %%
import numpy as np

from minseg import data, metrics, viz
from minseg.testing.tutorials import check, erratum, show

# %% [markdown]
# ## What segmentation is
#
# A picture is an array of numbers. A *segmentation* is a second array of the same size that holds a name for every
# pixel; names are small integers. Here is a real one: cell nuclei under a fluorescence microscope, outlined by hand.

# %%
nuclei = data.open_data("nuclei")
image, mask = nuclei.val[0]
image, mask = image[300:428], mask[300:428]  # a square of 128 x 128 pixels, to see something
print(
    "image",
    image.shape,
    image.dtype,
    " mask",
    mask.shape,
    mask.dtype,
    " names",
    dict(enumerate(nuclei.class_names)),
)
viz.gallery_figure(
    {"image": viz.displayable(image), "its mask": mask}, columns=2, class_names=nuclei.class_names
)

# %% [markdown]
# Three tasks are easily confused. *Classification* gives one name to the whole image. *Detection* gives boxes: YOLO
# and Faster R-CNN, which one of the documents cites beside segmentation networks, do that, and are not built here.
# *Semantic segmentation*, our task, names every pixel; nuclei that touch become one region. *Instance segmentation*
# also tells them apart. A mask with numbered objects contains the boxes and the semantic mask, but not the other way
# round:

# %%
numbered = np.array(
    [
        [0, 7, 7, 0, 0],
        [0, 7, 7, 9, 9],
        [0, 0, 0, 9, 9],
    ]
)
print("boxes (top, left, bottom, right):", data.boxes(numbered))
viz.matrices_figure({"objects, numbered": numbered, "semantic mask": data.semantic_mask(numbered)})

# %% [markdown]
# The five documents that this project answers do not agree on which of these tasks they are about. Every mistake
# found in them has a number; this is how one is shown, with a proof that is computed while you read.

# %%
erratum("ERR-44")

# %% [markdown]
# ## A map for each name
#
# A network does not answer with a name. For each pixel it gives a number for *each* class, so its answer is a stack
# of K maps. The mask is brought into the same form by writing 1 into the map of the pixel's class: one-hot. The way
# back takes the class with the largest number.

# %%
show("seg.onehot", "seg.argmax")

# %% [markdown]
# First slowly and literally: a loop for each index of the formula, and the bracket $[t = k]$ is 1 where it holds,
# else 0.


# %%
def one_hot_slowly(t, K):
    H, W = t.shape
    y = np.zeros((K, H, W))
    for k in range(K):
        for i in range(H):
            for j in range(W):
                y[k, i, j] = t[i, j] == k
    return y


t = np.array([[0, 0, 1], [2, 1, 1]])
y = one_hot_slowly(t, 3)
viz.matrices_figure(
    {"labels t": t, "map of class 0": y[0], "map of class 1": y[1], "map of class 2": y[2]}
)

# %% [markdown]
# Then fast, in one line: NumPy compares every class with every pixel at once. The two must agree, and so must the way
# back.

# %%
fast = (np.arange(3)[:, None, None] == t).astype(float)
assert np.array_equal(fast, y)
assert np.array_equal(fast.argmax(axis=0), t)
print("slow and fast agree, and argmax leads back to the labels")

# %% [markdown]
# **Exercise 1.1.** Real masks hold one more label, 255, for pixels that nobody could name: *void*. In the maps they
# are 0 everywhere. Write `one_hot` so that it gives an array of shape (K, H, W) and copes with void pixels.


# %% tags=["exercise"]
def one_hot(labels, num_classes):
    """Labels (H, W) as a map of zeros and ones for each class (K, H, W)."""
    raise NotImplementedError("exercise 1.1")


# %%
check("1.1", one_hot)

# %% [markdown]
# Mask files store labels as colours of a palette, so that people can look at them. PASCAL VOC, a well-known data set,
# computes its colours from the bits of the label, and it has 20 classes and a background: a network for it needs 21
# maps. One of the documents builds 10.

# %%
show("data.voc_palette")

# %%
palette = data.voc_palette()
print(f"{len(data.VOC_CLASSES)} classes with the background, {', '.join(data.VOC_CLASSES[:4])} ...")
viz.gallery_figure({"the colours of the labels 0 to 20": palette[:21][None]}, columns=1)

# %%
erratum("ERR-39")

# %% [markdown]
# ## From bytes to numbers
#
# A camera gives bytes from 0 to 255. Networks learn best from numbers around 0 with a spread of about 1, so images
# are scaled, then each channel is shifted by its mean and divided by its standard deviation, both measured on the
# training images only.

# %%
show("data.scale255", "data.standardize")

# %%
scene, scene_mask = data.draw_scene("streets", 0, 64)  # drawn, so its mask is exact
scene_names = data.SCENES["streets"][1]
u = scene / 255
standardised = (u - u.mean(axis=(0, 1))) / u.std(axis=(0, 1))
prepared = data.Preprocess.fit([scene])(scene)  # what a network is fed: the same, channels first
assert np.allclose(prepared, standardised.transpose(2, 0, 1), atol=1e-5)
print(f"bytes from {scene.min()} to {scene.max()}")
print(f"standardised: mean {prepared.mean():.2f}, spread {prepared.std():.2f}")

# %% [markdown]
# ## What moves the image moves the mask
#
# More training images for nothing: a mirrored street is a street. But the labels must move along, and whoever changes
# the size of a mask must not take means: halfway between class 0 (sky) and class 2 (pavement) lies class 1, a
# building that was never there. Two of the documents resize the image and forget the mask.

# %%
labels = np.array([[0, 0, 2, 2]], np.uint8)
position = (np.arange(7) + 0.5) * 4 / 7 - 0.5  # where seven new pixels lie among the four old ones
linear = np.interp(position, np.arange(4), labels[0]).round().astype(np.uint8)[None]
_, nearest = data.Resize((1, 7))(labels[None].astype(float), labels, None)
viz.matrices_figure(
    {"labels": labels, "by means: a class 1 appears": linear, "nearest pixel: right": nearest}
)

# %%
erratum("ERR-41")

# %% [markdown]
# All these changes are the same act: for every pixel of the result, say where it lies in the source, and read there;
# between pixels the image is read by weighted means, the mask at the nearest pixel. Here are the formulas; each leads
# to its code.

# %%
show(
    "data.flip",
    "data.flip_rows",
    "data.rotate",
    "data.crop",
    "data.resize_bilinear",
    "data.resize_nearest",
    "data.resize_labels",
    "data.rotate_rows",
    "data.rotate_columns",
    "data.zoom",
    "data.gauss",
    "data.elastic",
    "data.warp",
    "data.warp_labels",
)

# %% [markdown]
# Each class of `minseg.data` that changes images takes the pair, and a random generator to draw from. Grey in a mask
# is void: what lay outside the picture before it turned has no name.

# %%
changes = {
    "as it is": None,
    "mirrored": data.RandomFlip(p=1.0),
    "turned": data.RandomRotation(30),
    "bent": data.ElasticDeformation(strength=3, sigma=8),
}
panels = {}
for name, change in changes.items():
    pair = (scene.transpose(2, 0, 1), scene_mask)
    moved, moved_mask = pair if change is None else change(*pair, np.random.default_rng(4))
    panels[name] = moved.transpose(1, 2, 0)
    panels[f"its mask, {name}"] = np.ascontiguousarray(moved_mask)
order = [*list(panels)[::2], *list(panels)[1::2]]
viz.gallery_figure({name: panels[name] for name in order}, class_names=scene_names)

# %% [markdown]
# **Exercise 1.2.** Mirror an image (H, W, C) *and* its mask (H, W): left and right change places.


# %% tags=["exercise"]
def mirror(image, mask):
    """Image (H, W, C) and mask (H, W), left and right exchanged in both: return the two."""
    raise NotImplementedError("exercise 1.2")


# %%
check("1.2", mirror)

# %% [markdown]
# ## Counting right and wrong
#
# A segmentation needs no network. Nuclei are bright, so take every pixel above a threshold:

# %%
prediction = (image[..., 0] > 40).astype(np.uint8)
viz.gallery_figure(
    {
        "image": viz.displayable(image),
        "truth": mask,
        "brighter than 40": prediction,
        "errors in red": viz.mark_errors(image, mask, prediction),
    },
    class_names=nuclei.class_names,
)

# %% [markdown]
# How good is it? All scores come from one table: how often a pixel of true class k was predicted as class l. Its
# diagonal is what is right.

# %%
show("metric.confusion", "data.class_counts")


# %%
def confusion_slowly(t, p, K):
    n = np.zeros((K, K), int)
    for true, predicted in zip(t.ravel(), p.ravel(), strict=True):
        n[true, predicted] += 1
    return n


n = confusion_slowly(mask, prediction, 2)
matrix = metrics.ConfusionMatrix(2)
matrix.update(prediction, mask)
assert np.array_equal(matrix.counts, n)
assert np.array_equal(
    n.sum(axis=1), np.bincount(mask.ravel())
)  # the rows add up to the pixels of each class
viz.confusion_figure(n, nuclei.class_names)

# %% [markdown]
# **Exercise 1.3.** Count it yourself, but leave out void pixels (255 in the truth). Loops are welcome.


# %% tags=["exercise"]
def confusion(pred, truth, num_classes):
    """counts[k, l]: pixels of true class k predicted as l, those with truth 255 left out."""
    raise NotImplementedError("exercise 1.3")


# %%
check("1.3", confusion)

# %% [markdown]
# ## Every score is a ratio of these counts
#
# For one class let T be the pixels that are right (true positives), F the false alarms, M those that were missed.
#
# * *recall*: of what is there, how much was found? *precision*: of what was found, how much is there?
# * *IoU* (intersection over union, Jaccard): both at once, false alarms and misses cost alike. The score of this
#   field.
# * *Dice*: the same order as IoU, on another scale; doctors prefer it.
# * *pixel accuracy*: the share of all pixels that are right.

# %%
show(
    "metric.recall",
    "metric.precision",
    "metric.iou",
    "metric.dice",
    "metric.dice_from_iou",
    "metric.pixel_acc",
)

# %%
T, F, M = n[1, 1], n[0, 1], n[1, 0]  # of class 1, nucleus
iou, dice = T / (T + F + M), 2 * T / (2 * T + F + M)
assert np.isclose(dice, 2 * iou / (1 + iou))
ratios = np.array([matrix.iou(), matrix.dice(), matrix.precision(), matrix.recall()])
assert np.allclose(ratios[:, 1], [iou, dice, T / (T + F), T / (T + M)])
scores = dict(zip(nuclei.class_names, ratios.T, strict=True))
viz.bars_figure(("IoU", "Dice", "precision", "recall"), scores, "score of each class")

# %% [markdown]
# Means over classes make one number of many: of recalls (mean accuracy), of IoUs (mean IoU), or of IoUs weighted with
# how frequent a class is. A class that is neither in the truth nor predicted has no score, and does not enter a mean.

# %%
show("metric.mean_acc", "metric.miou", "metric.fwiou")

# %% [markdown]
# **Exercise 1.4.** Mean IoU from a confusion matrix. Mind the class that is not there.


# %% tags=["exercise"]
def mean_iou(counts):
    """counts (K, K), rows the truth: mean IoU over the classes that are true or predicted anywhere."""
    raise NotImplementedError("exercise 1.4")


# %%
check("1.4", mean_iou)

# %% [markdown]
# **A puzzle.** One document explains Dice as a ratio of the intersection to the *union*. Twice the intersection over
# the union looks like the right formula at first sight. A similarity is never larger than 1.
#
# **Exercise 1.5.** Find two masks for which `2 * intersection / union` is impossible.


# %% tags=["exercise"]
def impossible_masks():
    """Two masks (H, W) of zeros and ones that prove the formula wrong."""
    raise NotImplementedError("exercise 1.5")


# %%
check("1.5", impossible_masks)

# %% [markdown]
# Solved? Then read on: the proof, and what can be said in the document's defence.

# %%
erratum("ERR-23")

# %% [markdown]
# ## Outlines
#
# IoU hardly notices a ragged edge of a large region. The boundary F1 score looks at nothing else: what share of the
# predicted outline lies within two pixels of the true one (precision), what share of the true outline near the
# predicted one (recall), and their harmonic mean.

# %%
show("metric.boundary", "metric.boundary_precision", "metric.boundary_f1")

# %%
truth = np.zeros((40, 40), np.uint8)
truth[8:32, 8:32] = 1
larger = np.zeros_like(truth)
larger[7:33, 7:33] = 1  # one pixel too large on each side
ragged = truth.copy()
ragged[8:12, 8:32:4] = ragged[28:32, 8:32:4] = 0  # four pixels deep, every fourth column
outlines = {}
for name, guess in {"one pixel larger": larger, "ragged": ragged}.items():
    f1, counted = metrics.BoundaryF1(2), metrics.ConfusionMatrix(2)
    f1.update(guess, truth)
    counted.update(guess, truth)
    outlines[f"{name}\nIoU {counted.iou()[1]:.2f}, boundary F1 {f1.f1()[1]:.2f}"] = guess
viz.gallery_figure({"truth": truth, **outlines}, class_names=("background", "square"))

# %% [markdown]
# ## Which score should you trust?
#
# The documents' answer is accuracy, where they evaluate at all. Four of them do not; the one that does counts images,
# not pixels, and prints per cents cut to whole numbers. Here is what that is worth:

# %%
erratum("ERR-40", "ERR-42")

# %% [markdown]
# Why accuracy does not help: 83 of 100 pixels of the held-out micrograph are background. Whoever finds *nothing* is
# right for all of these. Beside that lazy model, put one that finds every nucleus but draws all outlines five pixels
# too wide.


# %%
def grow(inside):
    """One pixel more on every side."""
    inside = inside.copy()
    inside[1:] |= inside[:-1].copy()
    inside[:-1] |= inside[1:].copy()
    inside[:, 1:] |= inside[:, :-1].copy()
    inside[:, :-1] |= inside[:, 1:].copy()
    return inside


image, mask = nuclei.val[0]
lazy, wide = np.zeros_like(mask), mask
for _ in range(5):
    wide = grow(wide)
answers = {"finds nothing": lazy, "five pixels too wide": wide}
score = {}
for name, guess in answers.items():
    counted = metrics.ConfusionMatrix(2)
    counted.update(guess, mask)
    score[name] = (counted.pixel_accuracy(), counted.mean_iou())
    print(f"{name:20}  accuracy {score[name][0]:.3f}  mean IoU {score[name][1]:.3f}")

# %% [markdown]
# ## The picture
#
# The lazy model wins in accuracy and is worthless. Mean IoU sees it at once, because each class counts alike, however
# small. From here on *mean IoU on images that were not trained on* is our measure.

# %%
part = np.s_[300:428, :]
panels = {"image": viz.displayable(image[part]), "truth": mask[part]}
for name, guess in answers.items():
    accuracy, miou = score[name]
    panels[f"{name}\naccuracy {accuracy:.0%}\nmean IoU {miou:.2f}"] = guess[part]
viz.gallery_figure(panels, class_names=nuclei.class_names, title="More accurate, and worth nothing")

# %% [markdown]
# ## What to read next
#
# * [02 · Sliding windows](02_sliding_windows.ipynb): the operation that all our networks are made of.
# * Every formula of this page with its code: [EQUATIONS.md](../minseg/equations/EQUATIONS.md#metric).
# * Solutions of the exercises: [solutions/01.py](solutions/01.py). The code that counts:
#   [metrics.py](../minseg/metrics.py).
