"""Optimisers, schedules of the learning rate, and clipping of gradients; with PyTorch's names where it has them."""

from minseg.optim.adaptive import Adam, AdamW, RMSprop
from minseg.optim.gradients import clip_grad_norm_, clip_grad_norm_unseen_, clip_grad_value_
from minseg.optim.optimizer import Optimizer
from minseg.optim.schedules import SCHEDULES, Constant, Cosine, Polynomial, Schedule, Step, WarmUp, learning_rate
from minseg.optim.sgd import SGD, KerasSGD

__all__ = [
    "SCHEDULES",
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "KerasSGD",
    "Optimizer",
    "Polynomial",
    "RMSprop",
    "Schedule",
    "Step",
    "WarmUp",
    "clip_grad_norm_",
    "clip_grad_norm_unseen_",
    "clip_grad_value_",
    "learning_rate",
]
