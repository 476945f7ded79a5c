"""Samples for the equations of optimisers: one weight with numbers that are not special."""

import math
from collections.abc import Iterator

import numpy as np

from minseg import backend
from minseg.autograd import Parameter, mean, tensor
from minseg.optim import (
    SGD,
    AdamW,
    Constant,
    Cosine,
    KerasSGD,
    Polynomial,
    Step,
    WarmUp,
    clip_grad_norm_,
    clip_grad_value_,
)
from minseg.testing.equations import Sample

THETA, GRADIENT, VELOCITY = 0.83, -0.47, 0.62
RATE, MOMENTUM, DECAY = 0.15, 0.9, 0.35
BETA1, BETA2, EPSILON = 0.8, 0.95, 0.21


def _one(value: float):
    return backend.current().asarray(np.array([value]))


def _sgd(momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, v=VELOCITY) -> tuple[float, float]:
    """The weight and the velocity after one step."""
    p, v = backend.current().sgd_update(
        _one(THETA), _one(GRADIENT), _one(v), RATE, momentum, dampening, weight_decay, nesterov
    )
    return float(p[0]), float(v[0])


def opt_gd(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample({r"\theta": THETA, "g": GRADIENT, r"\eta": RATE}, (), lambda: _sgd()[0])


def opt_sgd(rng: np.random.Generator) -> Iterator[Sample]:
    """The loss of sample i is its gradient times the weight; the optimiser steps down their mean."""
    g = rng.standard_normal(3)

    def code():
        theta = Parameter(_one(THETA))
        mean(tensor(g) * theta).backward()
        SGD([theta], RATE).step()
        return theta.item()

    yield Sample({r"\theta": THETA, "g": g, r"\eta": RATE, "B": 3}, (), code)


def opt_momentum_v(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample({r"\mu": MOMENTUM, "v": VELOCITY, "g": GRADIENT}, (), lambda: _sgd(MOMENTUM)[1])


def opt_momentum_step(rng: np.random.Generator) -> Iterator[Sample]:
    V = MOMENTUM * VELOCITY + GRADIENT
    yield Sample({r"\theta": THETA, r"\eta": RATE, "V": V}, (), lambda: _sgd(MOMENTUM)[0])


def opt_dampening(rng: np.random.Generator) -> Iterator[Sample]:
    values = {r"\mu": MOMENTUM, "v": VELOCITY, "g": GRADIENT, r"\tau": 0.3}
    yield Sample(values, (), lambda: _sgd(MOMENTUM, dampening=0.3)[1])


def opt_nesterov(rng: np.random.Generator) -> Iterator[Sample]:
    V = MOMENTUM * VELOCITY + GRADIENT
    values = {r"\theta": THETA, r"\eta": RATE, r"\mu": MOMENTUM, "g": GRADIENT, "V": V}
    yield Sample(values, (), lambda: _sgd(MOMENTUM, nesterov=True)[0])


def opt_weight_decay(rng: np.random.Generator) -> Iterator[Sample]:
    """Without momentum the velocity after the step is the gradient itself."""
    values = {r"\theta": THETA, "g": GRADIENT, r"\lambda": DECAY}
    yield Sample(values, (), lambda: _sgd(weight_decay=DECAY)[1])


def _keras(momentum=MOMENTUM, nesterov=False) -> tuple[float, float]:
    """The weight and the velocity after a step that starts with a velocity."""
    theta = Parameter(_one(THETA))
    optimizer = KerasSGD([theta], RATE, momentum, nesterov=nesterov)
    optimizer.load_state_dict({"0.step": np.array(1), "0.v": np.array([VELOCITY])})
    theta.grad = _one(GRADIENT)
    optimizer.step()
    return theta.item(), float(optimizer.state_dict()["0.v"][0])


def opt_momentum_tf(rng: np.random.Generator) -> Iterator[Sample]:
    values = {r"\mu": MOMENTUM, "v": VELOCITY, r"\eta": RATE, "g": GRADIENT}
    yield Sample(values, (), lambda: _keras()[1])


def opt_momentum_tf_step(rng: np.random.Generator) -> Iterator[Sample]:
    V = MOMENTUM * VELOCITY - RATE * GRADIENT
    yield Sample({r"\theta": THETA, "V": V}, (), lambda: _keras()[0])


def opt_momentum_tf_nesterov(rng: np.random.Generator) -> Iterator[Sample]:
    V = MOMENTUM * VELOCITY - RATE * GRADIENT
    values = {r"\theta": THETA, r"\mu": MOMENTUM, "V": V, r"\eta": RATE, "g": GRADIENT}
    yield Sample(values, (), lambda: _keras(nesterov=True)[0])


def _rmsprop() -> tuple[float, float]:
    """The weight and the mean square after one step."""
    arrays = map(_one, (THETA, GRADIENT, VELOCITY))
    p, v = backend.current().rmsprop_update(*arrays, RATE, MOMENTUM, EPSILON, 0.0)
    return float(p[0]), float(v[0])


def opt_rmsprop_v(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample({r"\rho": MOMENTUM, "v": VELOCITY, "g": GRADIENT}, (), lambda: _rmsprop()[1])


def opt_rmsprop(rng: np.random.Generator) -> Iterator[Sample]:
    V = MOMENTUM * VELOCITY + (1 - MOMENTUM) * GRADIENT**2
    values = {r"\theta": THETA, r"\eta": RATE, "g": GRADIENT, "V": V, r"\epsilon": EPSILON}
    yield Sample(values, (), lambda: _rmsprop()[0])


# ----------------------------------------------------------------------------------------------------------------- Adam

M_BEFORE, V_BEFORE, STEP = 0.29, 0.53, 4


def _adam() -> tuple[float, float, float]:
    """The weight and the two means after step number 4."""
    arrays = map(_one, (THETA, GRADIENT, M_BEFORE, V_BEFORE))
    after = backend.current().adam_update(*arrays, STEP, RATE, BETA1, BETA2, EPSILON, 0.0)
    return tuple(float(array[0]) for array in after)


def opt_adam_m(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample({r"\beta": BETA1, "m": M_BEFORE, "g": GRADIENT}, (), lambda: _adam()[1])


def opt_adam_v(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample({r"\beta": BETA2, "v": V_BEFORE, "g": GRADIENT}, (), lambda: _adam()[2])


def opt_adam_m_hat(rng: np.random.Generator) -> Iterator[Sample]:
    """With v = 0 after the step, rate and epsilon 1, the weight moves by the corrected mean."""

    def code():
        kernels = backend.current()
        p, _, _ = kernels.adam_update(
            _one(0.0), _one(0.0), _one(M_BEFORE / BETA1), _one(0.0), STEP, 1.0, BETA1, BETA2, 1.0, 0.0
        )
        return -float(p[0])

    yield Sample({"M": M_BEFORE, r"\beta": BETA1, "t": STEP}, (), code)


def opt_adam_v_hat(rng: np.random.Generator) -> Iterator[Sample]:
    """With rate 1 and hardly an epsilon, the weight moves by the corrected mean over the root of the corrected square."""

    def code():
        kernels = backend.current()
        p, m, _ = kernels.adam_update(
            _one(0.0), _one(0.0), _one(M_BEFORE), _one(V_BEFORE / BETA2), STEP, 1.0, BETA1, BETA2, 1e-300, 0.0
        )
        return (float(m[0]) / (1 - BETA1**STEP) / float(p[0])) ** 2

    yield Sample({"V": V_BEFORE, r"\beta": BETA2, "t": STEP}, (), code)


def opt_adam(rng: np.random.Generator) -> Iterator[Sample]:
    m_hat = (BETA1 * M_BEFORE + (1 - BETA1) * GRADIENT) / (1 - BETA1**STEP)
    v_hat = (BETA2 * V_BEFORE + (1 - BETA2) * GRADIENT**2) / (1 - BETA2**STEP)
    values = {r"\theta": THETA, r"\eta": RATE, r"\hat{m}": m_hat, r"\hat{v}": v_hat, r"\epsilon": EPSILON}
    yield Sample(values, (), lambda: _adam()[0])


def opt_adamw(rng: np.random.Generator) -> Iterator[Sample]:
    m_hat = (BETA1 * M_BEFORE + (1 - BETA1) * GRADIENT) / (1 - BETA1**STEP)
    v_hat = (BETA2 * V_BEFORE + (1 - BETA2) * GRADIENT**2) / (1 - BETA2**STEP)

    def code():
        theta = Parameter(_one(THETA))
        optimizer = AdamW([theta], RATE, (BETA1, BETA2), EPSILON, DECAY)
        optimizer.load_state_dict(
            {"0.step": np.array(STEP - 1), "0.m": np.array([M_BEFORE]), "0.v": np.array([V_BEFORE])}
        )
        theta.grad = _one(GRADIENT)
        optimizer.step()
        return theta.item()

    values = {r"\theta": THETA, r"\eta": RATE, r"\lambda": DECAY, r"\epsilon": EPSILON}
    yield Sample(values | {r"\hat{m}": m_hat, r"\hat{v}": v_hat}, (), code)


# ------------------------------------------------------------------------------------------------------------- clipping


def _clipped(g: np.ndarray, clip, limit: float) -> np.ndarray:
    """The gradients after clipping, of two parameters that hold them in turn."""
    params = [Parameter(backend.current().asarray(part)) for part in (g[:2], g[2:])]
    for p in params:
        p.grad = p.data
    clip(params, limit)
    return np.concatenate([backend.current().to_numpy(p.grad) for p in params])


def opt_clip_norm(rng: np.random.Generator) -> Iterator[Sample]:
    """Their norm is 1.43: above the one limit, below the other."""
    g = np.array([0.4, -1.1, 0.7, 0.3, -0.2])
    for c in (0.8, 1.7):
        yield Sample({"g": g, "c": c, "n": 5}, (5,), lambda c=c: _clipped(g, clip_grad_norm_, c))


def opt_clip_value(rng: np.random.Generator) -> Iterator[Sample]:
    for g in (-1.3, -0.4, 0.3, 1.9):
        yield Sample({"g": g, "c": 0.6}, (), lambda g=g: _clipped(np.full(3, g), clip_grad_value_, 0.6)[2])


# ------------------------------------------------------------------------------------------------------------ schedules


def opt_schedule_step(rng: np.random.Generator) -> Iterator[Sample]:
    for t in (4, 13, 15):
        values = {r"\eta": RATE, r"\gamma": 0.7, "t": t, "s": 5}
        yield Sample(values, (), lambda t=t: Step(RATE, step_size=5, gamma=0.7)(t))


def opt_schedule_warmup(rng: np.random.Generator) -> Iterator[Sample]:
    values = {r"\eta": RATE, "f": 0.3, "t": 5, "w": 12}
    yield Sample(values, (), lambda: WarmUp(Constant(RATE), steps=12, start_factor=0.3)(5))


def opt_schedule_poly(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample({r"\eta": RATE, "t": 13, "S": 40, "p": 0.8}, (), lambda: Polynomial(RATE, 40, power=0.8)(13))


def opt_schedule_cosine(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample({r"\eta": RATE, "t": 13, "S": 40, r"\pi": math.pi}, (), lambda: Cosine(RATE, 40)(13))
