from __future__ import annotations

from mmengine.model import ImgDataPreprocessor
from mmseg.models import SegDataPreProcessor
from torch import nn

from ...lipschitz import AuditError, preprocessing_norm

# Preprocessors whose test-time map is known: channel swap, (x - mean) / std, constant padding.
_KNOWN = (SegDataPreProcessor, ImgDataPreprocessor)
_COMPUTES = ("forward", "cast_data", "__call__")


def preprocessor_norm(data_preprocessor: nn.Module) -> float:
    """Norm of the map from images in [0, 1] to the network's input, for any segmentor.

    Channel swaps and constant padding have norm 1, so that only the normalization counts: the
    factor is `255 / min(std)`, and 255 without normalization, when the network reads 0..255.

    Args:
        data_preprocessor: ``segmentor.data_preprocessor``: a ``SegDataPreProcessor``, an
            ``ImgDataPreprocessor``, or a subclass that keeps how one of them computes.

    Returns:
        Upper bound of the norm.

    Raises:
        AuditError: If the preprocessor has a ``forward``, ``cast_data`` or hooks of its own: the
            map is not known.
        ValueError: If a standard deviation is not positive.
    """
    kind = type(data_preprocessor)
    known = any(
        all(getattr(kind, name) is getattr(base, name) for name in _COMPUTES) for base in _KNOWN
    )
    hooked = data_preprocessor._forward_hooks or data_preprocessor._forward_pre_hooks
    if not known or hooked or not vars(data_preprocessor).keys().isdisjoint(_COMPUTES):
        raise AuditError(
            f"the norm of the data preprocessor {type(data_preprocessor).__name__} is not known; "
            f"use {' or '.join(base.__name__ for base in _KNOWN)}, without hooks"
        )
    if not data_preprocessor._enable_normalize:
        return 255.0
    return preprocessing_norm(
        data_preprocessor.mean.flatten().tolist(), data_preprocessor.std.flatten().tolist()
    )


def preprocessor_smallest_gain(data_preprocessor: nn.Module) -> float:
    """Smallest factor by which the preprocessing scales a perturbation: ``255 / max(std)``.

    A measured lower bound of the network times this factor is one from images in [0, 1].
    """
    if not data_preprocessor._enable_normalize:
        return 255.0
    return 255.0 / float(data_preprocessor.std.max())
