"""How much memory a model would need, and whether this machine has it.

Rule 1: pure arithmetic on what is known; what is not known is estimated from the number of parameters, and never
refused. Rule 2: memory is said in GB as graphics cards are sold (2**30 bytes); files elsewhere count in 1e9.

weights  = the file's size, or parameters × bits per weight / 8
context  = 2 (keys and values) × layers × key-value heads × head length × tokens × 2 bytes (F16) × answers at once
buffers  = 0.5 GB for the driver's context and the compute graph, plus 4 % of the weights

Sources: the cache's formula is llama.cpp's (src/llama-kv-cache.cpp: one K and one V tensor of n_embd_k_gqa ×
kv_size per layer), and Ollama multiplies the context by the number of parallel answers (server/sched.go). Bits per
weight are those of llama.cpp's tools/quantize/README.md for Llama 3.1 8B; of the formats that it does not list (Q4_0 to
Q5_1, MXFP4) those of their blocks and a little for the tensors kept finer. Layers with a sliding window need less than
this says. The buffers' rule is a rough one of our own, and was not measured on a card.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.models.base import Estimate, Fit

GB = 2**30

BITS: dict[str, float] = {
    "F32": 32.0,
    "F16": 16.0,
    "BF16": 16.0,
    "Q8_0": 8.5,
    "Q6_K": 6.56,
    "Q5_K_M": 5.7,
    "Q5_K_S": 5.57,
    "Q5_1": 6.0,
    "Q5_0": 5.5,
    "Q4_K_M": 4.89,
    "Q4_K_S": 4.67,
    "Q4_1": 5.0,
    "Q4_0": 4.55,
    "MXFP4": 4.5,
    "Q3_K_L": 4.3,
    "Q3_K_M": 4.0,
    "Q3_K_S": 3.64,
    "Q2_K": 3.16,
    "Q2_K_S": 2.97,
    "IQ4_NL": 4.68,
    "IQ4_XS": 4.46,
    "IQ3_M": 3.76,
    "IQ3_S": 3.66,
    "IQ3_XS": 3.5,
    "IQ3_XXS": 3.25,
    "IQ2_M": 2.93,
    "IQ2_S": 2.74,
    "IQ2_XS": 2.59,
    "IQ2_XXS": 2.38,
    "IQ1_M": 2.15,
    "IQ1_S": 2.0,
}
"""Bits per weight, on average over a whole file."""
_USUAL_BITS = BITS["Q4_K_M"]

_CACHE_BYTES = 2
_CACHE_OF_8B = 131_072
"""Bytes a token of Llama 3.1 8B takes: 2 × 32 layers × 8 heads × 128 × 2."""
_CACHE_POWER = 0.45
"""How the cache grows with parameters among models with grouped heads, 1 B to 70 B."""
_BUFFERS_B = GB // 2
_BUFFERS_SHARE = 0.04
_EASY = 0.85
"""Up to this part of the GPU's memory nothing else is in the way."""
_MOST = 0.97
_MAIN = 0.75
"""The part of main memory that a model may take beside everything else that runs."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model decides how much a token of context takes. 0 where it is not known."""

    layers: int = 0
    kv_heads: int = 0
    key_length: int = 0
    value_length: int = 0

    @property
    def cache_b(self) -> int:
        """Bytes a token of context takes; 0 where something is unknown."""
        return self.layers * self.kv_heads * (self.key_length + self.value_length) * _CACHE_BYTES


NO_SHAPE = Shape()


def shape_of(model_info: Mapping[str, Any]) -> Shape:
    """The shape in `/api/show`'s `model_info`, which is a GGUF file's head; NO_SHAPE where that is incomplete.

    `head_count_kv` may be a list, one number for each layer (Gemma 3n, Jamba).
    """
    family = model_info.get("general.architecture")
    layers = _whole(model_info.get(f"{family}.block_count"))
    heads = _whole(model_info.get(f"{family}.attention.head_count"))
    width = _whole(model_info.get(f"{family}.embedding_length"))
    given = model_info.get(f"{family}.attention.head_count_kv")
    if isinstance(given, list) and given and all(_whole(one) or one == 0 for one in given):
        # Layers without a cache count as none; the mean is rounded up.
        kv_heads = -(-sum(given) // len(given))
    else:
        kv_heads = _whole(given) or heads
    usual = width // heads if heads else 0
    key = _whole(model_info.get(f"{family}.attention.key_length")) or usual
    value = _whole(model_info.get(f"{family}.attention.value_length")) or key
    shape = Shape(layers, kv_heads, key, value)
    return shape if shape.cache_b else NO_SHAPE


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else 0


_SIZE = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*([KMBT])\s*", re.IGNORECASE)
_UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def parameters_of(parameter_size: str) -> int:
    """`8.0B` as a number; 0 where it says nothing."""
    match = _SIZE.fullmatch(parameter_size)
    return int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0


def weights(size_b: int, parameters: int, quantization: str) -> int:
    """Bytes of weights: the file's size where it is known, else by the quantisation; 0 where nothing is known."""
    return size_b or int(parameters * BITS.get(quantization.upper(), _USUAL_BITS) / 8)


def context(shape: Shape, parameters: int, tokens: int, parallel: int) -> int:
    """Bytes of the key-value cache for `parallel` conversations of `tokens` tokens each."""
    a_token = shape.cache_b or int(_CACHE_OF_8B * (parameters / 8e9) ** _CACHE_POWER)
    return a_token * tokens * parallel


def estimate(
    *,
    size_b: int,
    parameters: int,
    quantization: str,
    tokens: int,
    parallel: int,
    gpu_memory_b: int | None,
    main_memory_b: int,
    shape: Shape = NO_SHAPE,
    embeds: bool = False,
) -> Estimate:
    """What a model needs with a context of `tokens`, and whether it fits.

    `size_b` or `parameters` may be 0 (unknown); `gpu_memory_b` None (unknown) or 0 (the processor computes).
    Models that embed keep no cache.
    """
    weights_b = weights(size_b, parameters, quantization)
    if not weights_b:
        return Estimate(0, 0, 0, Fit.UNKNOWN, "How much memory it needs is not known.")
    bits = BITS.get(quantization.upper(), _USUAL_BITS)
    context_b = 0 if embeds else context(shape, parameters or int(size_b * 8 / bits), tokens, parallel)
    buffers_b = _BUFFERS_B + int(weights_b * _BUFFERS_SHARE)
    need_b = weights_b + context_b + buffers_b
    fit, sentence = _verdict(need_b, gpu_memory_b, main_memory_b)
    return Estimate(weights_b, context_b, buffers_b, fit, sentence)


def _verdict(need_b: int, gpu_b: int | None, main_b: int) -> tuple[Fit, str]:
    need = f"Needs about {gigabytes(need_b)} GB"
    if gpu_b == 0:
        if need_b <= main_b * _MAIN:
            return Fit.PARTLY, f"{need} of main memory: the processor computes it, slowly."
        return Fit.NO, f"{need}, and main memory has {gigabytes(main_b)} GB."
    if gpu_b is None:
        return Fit.UNKNOWN, f"{need} of the GPU's memory, whose size is not known."
    of_gpu = f"{need} of the GPU's {gigabytes(gpu_b)} GB"
    if need_b <= gpu_b * _EASY:
        return Fit.FITS, f"{of_gpu}."
    if need_b <= gpu_b * _MOST:
        return Fit.TIGHT, f"{of_gpu}: little is left for anything else."
    if need_b <= gpu_b + main_b * _MAIN:
        return (
            Fit.PARTLY,
            f"{need}, and the GPU has {gigabytes(gpu_b)} GB: the processor computes the rest, slowly.",
        )
    together = gigabytes(gpu_b + main_b)
    return Fit.NO, f"{need}, more than the {together} GB of the GPU and of main memory together can spare."


def gigabytes(count_b: int) -> str:
    """«6.1»: one decimal, none from 100 on."""
    value = count_b / GB
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
