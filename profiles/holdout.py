"""How well a profile predicts its own points from the others: a figure for how far to trust it."""

from __future__ import annotations

import numpy as np

from profiles.data import ProfileData
from profiles.decode import DecodeProfile, Vector
from profiles.engine import ProfileError
from profiles.pchip import averaged
from profiles.prefill import PrefillProfile


def prefill_errors(data: ProfileData) -> Vector:
    """Relative error of TTFT at each inner point, predicted from the others; shape (points - 2,).

    Raises:
        ProfileError: There are fewer than four lengths.
    """
    isl, ttft = averaged(data.prefill.columns["prefill_isl"], data.prefill.columns["prefill_ttft"])
    if len(isl) < 4:
        raise ProfileError(f"{len(isl)} input lengths are too few to tell how well they are interpolated")
    errors = []
    for index in range(1, len(isl) - 1):
        others = np.arange(len(isl)) != index
        predicted = PrefillProfile(isl[others], ttft[others], gpus=1).ttft_ms(float(isl[index]))
        errors.append(abs(predicted / ttft[index] - 1))
    return np.array(errors)


def decode_errors(data: ProfileData) -> Vector:
    """Relative error of ITL at each inner point of a context row, predicted from the others; shape (inner points,).

    Raises:
        ProfileError: No row has three points.
    """
    columns, concurrency = data.decode.columns, data.decode.concurrency
    usage, context, itl = columns["x_kv_usage"], columns["y_context_length"], columns["z_itl"]
    errors = []
    for row in np.unique(context):
        in_row = np.flatnonzero(context == row)
        for index in in_row[np.argsort(usage[in_row])][1:-1]:
            others = np.arange(len(itl)) != index
            profile = DecodeProfile(
                usage[others], context[others], itl[others], max_kv_tokens=data.decode.max_kv_tokens, gpus=1
            )
            errors.append(abs(profile.itl_ms(float(concurrency[index]), float(row)) / itl[index] - 1))
    if not errors:
        raise ProfileError("no context length has three points: too few to tell how well they are interpolated")
    return np.array(errors)
