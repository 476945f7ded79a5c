"""Attention in NumPy: two matrix products around a softmax, and their gradients. The weights of all pairs stand in memory."""

import math

import numpy as np


def _scores(q, k):
    """eq: att.score"""
    return q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[2])


def attention(q, k, v):
    """eq: att.attention, att.log_sum"""
    s = _scores(q, k)
    m = s.max(axis=2, keepdims=True)
    e = np.exp(s - m)
    total = e.sum(axis=2, keepdims=True)
    return e / total @ v, (m + np.log(total))[:, :, 0]


def attention_grad(gy, q, k, v, y, lse):
    """eq: att.grad_q, att.grad_k, att.grad_v"""
    weights = np.exp(_scores(q, k) - lse[:, :, None])
    gs = weights * (gy @ v.transpose(0, 2, 1) - (gy * y).sum(axis=2, keepdims=True))  # eq: att.grad_s
    gs /= math.sqrt(q.shape[2])
    return gs @ k, gs.transpose(0, 2, 1) @ q, weights.transpose(0, 2, 1) @ gy
