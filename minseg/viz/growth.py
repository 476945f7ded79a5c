"""Milliseconds over size, batch and threads, as lines on logarithmic axes: equal slopes are equal growth."""

from minseg.viz.style import COLOURS, INK, new_figure, style

LINES = {"training": "-", "inference": "--"}
SIDES = {"minseg": (COLOURS[4], "o"), "PyTorch": (COLOURS[5], "s")}


def growth_figure(curves: dict, title: str = "", note: str = ""):
    """One panel for each quantity that grows.

    Parameters
    ----------
    curves : dict
        ``{quantity: {"at": [...], "training": {side: [ms, ...]}, "inference": {side: [ms, ...]}}}``. Sides are ``minseg`` and,
        where it was measured, ``PyTorch``.
    title, note : str
        Above the panels, and in small print below them.
    """
    with style():
        figure = new_figure(8, 5)
        panels = figure.subplots(1, len(curves), sharey=True)
        for axes, (quantity, curve) in zip(panels, curves.items(), strict=True):
            _draw(axes, quantity, curve)
        panels[0].set_ylabel("milliseconds")
        figure.subplots_adjust(left=0.09, right=0.985, bottom=0.27, top=0.86, wspace=0.08)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=2, bbox_to_anchor=(0.5, 0.05), columnspacing=2.5)
        figure.text(0.02, 0.965, title, va="top", fontsize=13, weight="bold")
        figure.text(0.02, 0.02, note, va="bottom", fontsize=9.5, color=INK)
        return figure


def _draw(axes, quantity: str, curve: dict) -> None:
    from matplotlib.ticker import LogLocator

    for kind, dashes in LINES.items():
        for side, ms in curve[kind].items():
            colour, marker = SIDES[side]
            axes.plot(curve["at"], ms, dashes, color=colour, marker=marker, markersize=5, label=f"{side}, {kind}")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(curve["at"], [f"{value}" for value in curve["at"]])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_title(quantity.capitalize(), loc="left")
