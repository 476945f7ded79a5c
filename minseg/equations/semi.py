"""Equations of learning with few labels."""

from minseg.equations.registry import Equation, Source, Symbol, paper

EQUATIONS = (
    Equation(
        id="semi.pseudo_label",
        title="a prediction as a label where it is sure enough",
        latex=(
            r"t_{i} = \begin{cases} \arg\max_{k=0}^{K-1}p_{i,k} & \max_{k=0}^{K-1}p_{i,k} \ge \tau \\ "
            r"e & \text{otherwise} \end{cases}"
        ),
        symbols=(
            Symbol("p", "predicted probabilities at each pixel", "(N, K)", "probability"),
            Symbol(r"\tau", "how sure is sure enough", unit="probability"),
            Symbol("e", "label of the pixels that are ignored, 255"),
            Symbol("K", "classes"),
        ),
        sources=(
            Source("D2", "5", ("words",), note="names semi-supervised segmentation as a challenge"),
            Source("D5", "5.2", ("words",), note="names it as a remedy for too few labels"),
            paper("Lee, ICML workshop 2013"),
        ),
        operations=("minseg.data.pseudo_label",),
        note="Of equally probable classes the first. What is not sure enough counts neither in the loss nor in a score.",
    ),
)
