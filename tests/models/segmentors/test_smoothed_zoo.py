"""Unmodified configs of MMSegmentation under noise, with random weights on small images."""

import pytest
import torch
from mmengine.hub import get_config
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS

from mmseg_lipcert.models.segmentors import SmoothedSegmentor

from .smoothing_toys import data_of

SIZE = (64, 96)
ZOO = {
    "fast_scnn": "fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py",
    "segformer": "segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py",
    "fcn_hrnet": "hrnet/fcn_hr18s_4xb2-40k_cityscapes-512x1024.py",
    "ocrnet": "ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py",
    "bisenetv2": "bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py",
    "pidnet": "pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py",
    "unet": "unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py",
    "deeplabv3plus": "deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "pspnet": "pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "upernet_swin": "swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py",
    "knet": "knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py",
    "setr": "setr/setr_vit-l_naive_8xb1-80k_cityscapes-768x768.py",
}
RANDOM = {"segnext": "segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py"}
# The rest needs minutes together: marked slow.
FAST = {"fast_scnn", "segformer", "ocrnet"}
PARAMETERS = [
    pytest.param(name, mode, marks=[] if name in FAST else [pytest.mark.slow], id=f"{name}-{mode}")
    for name in ZOO
    for mode in ("whole", "slide")
]


def build(name, mode):
    config = get_config(f"mmseg::{(ZOO | RANDOM)[name]}")
    model = config.model
    model.pretrained = None
    model.backbone.init_cfg = None
    model.backbone.pop("pretrained", None)
    if name == "setr":  # the published one has 300 million parameters
        model.backbone.update(num_layers=4, out_indices=(0, 1, 2, 3), embed_dims=64, num_heads=4)
        for head in (model.decode_head, *model.auxiliary_head):
            head.in_channels = 64
    model.test_cfg = dict(mode=mode)
    if mode == "slide":
        model.test_cfg.update(crop_size=(64, 64), stride=(32, 32))
    torch.manual_seed(0)
    return revert_sync_batchnorm(MODELS.build(model))


@pytest.mark.parametrize(("name", "mode"), PARAMETERS)
def test_zoo_model_is_smoothed_as_it_is(name, mode, mmseg_scope):
    segmentor = build(name, mode)
    model = SmoothedSegmentor(segmentor, sigma=0.1, n0=2, n=3, draws_per_batch=2).eval()
    image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)
    (sample,) = model.test_step(data_of(image))
    hits, selected = sample.smoothing_hits.data[0], sample.smoothing_selected.data[0]
    assert hits.shape == selected.shape == SIZE
    assert 0 <= hits.min() and hits.max() <= 3
    assert 0 <= selected.min() and selected.max() < model.num_classes
    # The clean prediction is what the segmentor says when it is asked in the usual way.
    (expected,) = segmentor.test_step(data_of(image))
    assert torch.equal(sample.clean_prediction.data, expected.pred_sem_seg.data)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_a_segmentor_that_draws_random_numbers_is_smoothed_as_it_is(mode, mmseg_scope):
    """SegNeXt's decode head starts its matrix decomposition at random."""
    segmentor = build("segnext", mode)
    image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)
    torch.manual_seed(0)
    first, second = (segmentor.test_step(data_of(image))[0].seg_logits.data for _ in range(2))
    assert not torch.equal(first, second)
    samples = []
    for batch in (1, 4):
        model = SmoothedSegmentor(segmentor, sigma=0.1, n0=3, n=5, draws_per_batch=batch).eval()
        samples += model.test_step(data_of(image))
        model.finish()
    for name in ("smoothing_selected", "smoothing_hits", "clean_prediction"):
        assert torch.equal(*(sample.get(name).data for sample in samples))
