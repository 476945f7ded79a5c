"""Scores and losses as lines: over the steps of a training, and over the strength of damage to the images."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np

from minseg.viz.style import COLOURS, INK, line_colour, new_figure, style


def curves_figure(history: dict, baseline: tuple[str, float] | None = None, title: str = ""):
    """The training loss and the validation scores against the step.

    Parameters
    ----------
    history : dict
        ``loss``: one value a step; ``validation``: a list of ``{"step": ..., "mean_iou": ..., "iou": {class: ...}}``.
    baseline : (name, mean IoU), optional
        Drawn as a dashed line.
    title : str
    """
    with style():
        figure = new_figure(12, 4.2)
        loss_axes, score_axes = figure.subplots(1, 2)
        _draw_loss(loss_axes, np.array(history["loss"], float))
        _draw_scores(score_axes, history["validation"], baseline)
        figure.subplots_adjust(left=0.05, right=0.8, bottom=0.13, top=0.81 if title else 0.91, wspace=0.15)
        if title:
            figure.text(0.05, 0.96, title, va="top", fontsize=14, weight="bold")
        return figure


def robustness_figure(curves: Sequence, class_names: Sequence[str], examples: Sequence | None = None, title: str = ""):
    """IoU of each class over the strength of each damage, with the damaged image below each strength.

    Parameters
    ----------
    curves : sequence of robustness.Curve
    class_names : sequence of str
    examples : sequence, for each curve a sequence of (h, w, C) images, optional
        One for each strength.
    title : str
    """
    wide, tall = 4.6, 2.6
    small = wide / max(len(curve.strengths) for curve in curves) if examples else 0.0
    left, gap, right, top, axis = 0.65, 0.3, 1.75, 0.75 if title else 0.4, 0.62
    width = left + len(curves) * (wide + gap) + right
    height = top + tall + axis + small + 0.15
    with style():
        figure = new_figure(width, height)
        for number, curve in enumerate(curves):
            x = left + number * (wide + gap)
            axes = figure.add_axes((x / width, (height - top - tall) / height, wide / width, tall / height))
            _draw_robustness(axes, curve, class_names, first=number == 0, last=number == len(curves) - 1)
            for i, image in enumerate(examples[number] if examples else ()):
                each = wide / len(curve.strengths)
                place = ((x + i * each + 0.02) / width, 0.1 / height, (each - 0.04) / width, (small - 0.04) / height)
                picture = figure.add_axes(place)
                picture.imshow(_fixed_stretch(image, examples[number][0]), interpolation="nearest", aspect="auto")
                picture.set_axis_off()
        if title:
            figure.text(0.15 / width, 1 - 0.12 / height, title, va="top", fontsize=14, weight="bold")
        return figure


def _draw_loss(axes, loss: np.ndarray) -> None:
    steps = np.arange(1, len(loss) + 1)
    axes.plot(steps, loss, color=COLOURS[4], alpha=0.25, linewidth=1, label="each step")
    axes.plot(steps, _smooth(loss), color=COLOURS[4], linewidth=2, label="smoothed")
    axes.set_title("Training loss", loc="left")
    axes.set_xlabel("step")
    axes.set_xlim(0, max(len(loss), 1))
    axes.set_ylim(0, None)
    axes.legend()


def _draw_scores(axes, validation: list[dict], baseline) -> None:
    steps = [entry["step"] for entry in validation]
    names = list(validation[0]["iou"]) if validation else []
    for number, name in enumerate(names if len(names) <= 6 else []):
        axes.plot(
            steps,
            [_number(entry["iou"][name]) for entry in validation],
            color=line_colour(names, number),
            linewidth=1.4,
            label=name,
        )
    axes.plot(
        steps,
        [_number(entry["mean_iou"]) for entry in validation],
        color=INK,
        linewidth=2.2,
        marker="o",
        markersize=4,
        label="mean",
    )
    if baseline is not None:
        axes.axhline(baseline[1], color=INK, linestyle="--", linewidth=1.1, label=fill(f"{baseline[0]}, mean", 20))
    axes.set_title("IoU on held-out images", loc="left")
    axes.set_xlabel("step")
    axes.set_xlim(0, max(steps, default=1))
    axes.set_ylim(0, 1)
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.03))  # beside the axes, where it never hides a line


def _draw_robustness(axes, curve, class_names, first: bool, last: bool) -> None:
    places = np.arange(len(curve.strengths))
    for k, name in enumerate(class_names if len(class_names) <= 6 else ()):
        scores = [iou[k] for iou in curve.iou]
        axes.plot(places, scores, color=line_colour(class_names, k), linewidth=1.4, marker=".", label=name)
    axes.plot(places, curve.mean_iou, color=INK, linewidth=2.2, marker="o", markersize=4, label="mean")
    axes.set_xticks(places, [f"{strength:g}" for strength in curve.strengths])
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set_ylim(0, 1)
    axes.set_title(curve.kind.capitalize(), loc="left")
    axes.set_xlabel(curve.unit)
    if first:
        axes.set_ylabel("IoU on held-out images")
    else:
        axes.set_yticklabels([])
    if last:
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.03))


def _fixed_stretch(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """As ``displayable``, but stretched like the reference, so that lost contrast shows."""
    if image.shape[2] == 3 and image.dtype == np.uint8:
        return image
    low, high = np.percentile(reference[..., :1].astype(np.float32), [0.5, 99.8])
    stretched = np.clip((image[..., :1].astype(np.float32) - low) / max(high - low, 1e-6), 0, 1) ** 0.5
    return np.repeat(np.round(255 * stretched).astype(np.uint8), 3, axis=2)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Each value's mean with its neighbours over about a tenth of the run; at the start, where a loss falls fast, over fewer."""
    place = np.arange(len(values))
    reach = np.minimum(len(values) // 20, place)
    first, stop = place - reach, np.minimum(place + reach + 1, len(values))
    total = np.concatenate([[0], np.cumsum(values)])
    return (total[stop] - total[first]) / (stop - first)


def _number(value) -> float:
    return float("nan") if value is None else value
