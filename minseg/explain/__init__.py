"""Asking a network what it looks at: saliency, Grad-CAM, feature maps, filters, attention, receptive fields, and its graph drawn.

Nothing here leaves a trace: modes, gradients and weights of the model are afterwards what they were before.
"""

from minseg.explain.attribution import attention_of, features, filters, grad_cam, landmark_layer, saliency
from minseg.explain.field import reach_of
from minseg.explain.graph import graph_svg
from minseg.explain.picture import Question, explain_image
from minseg.explain.record import record, untouched
from minseg.models.field import ReceptiveField, receptive_field
from minseg.nn import instead

__all__ = [
    "Question",
    "ReceptiveField",
    "attention_of",
    "explain_image",
    "features",
    "filters",
    "grad_cam",
    "graph_svg",
    "instead",
    "landmark_layer",
    "reach_of",
    "receptive_field",
    "record",
    "saliency",
    "untouched",
]
