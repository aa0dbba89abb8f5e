from __future__ import annotations

from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from mmseg.models import SegDataPreProcessor
from torch import nn

from mmseg_lipcert.lipschitz import preprocessing_norm

# Preprocessors whose test-time map is known: channel swap, (x - mean) / std, constant padding.
_KNOWN = (SegDataPreProcessor, ImgDataPreprocessor, BaseDataPreprocessor)


def preprocessor_norm(data_preprocessor: nn.Module) -> float:
    """Norm of the map from images in [0, 1] to the network's input, for any segmentor.

    Channel swaps and constant padding have norm 1, so that only the normalization counts: the
    factor is `255 / min(std)`, and 255 without normalization, when the network reads 0..255.

    Args:
        data_preprocessor (nn.Module): ``segmentor.data_preprocessor``, or a subclass that keeps
            the ``forward`` of MMSegmentation's or MMEngine's preprocessors.

    Returns:
        float: Upper bound of the norm.

    Raises:
        TypeError: If the preprocessor has a ``forward`` of its own: its map is not known.
        ValueError: If a standard deviation is not positive.
    """
    if getattr(type(data_preprocessor), "forward", None) not in [cls.forward for cls in _KNOWN]:
        raise TypeError(
            f"the norm of {type(data_preprocessor).__name__} is not known; use one of "
            f"{', '.join(cls.__name__ for cls in _KNOWN)}"
        )
    if not getattr(data_preprocessor, "_enable_normalize", False):
        return preprocessing_norm([0.0], [1.0])
    mean, std = (getattr(data_preprocessor, name).flatten().tolist() for name in ("mean", "std"))
    return preprocessing_norm(mean, std)
