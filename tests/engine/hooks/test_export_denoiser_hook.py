"""What the hook exports is what the checkpoint stores: averaged weights, if there are any."""

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from safetensors.torch import load_file

from mmseg_lipcert.engine.hooks import ExportDenoiserHook
from mmseg_lipcert.models.denoisers import DenoisingDiffusion


@pytest.mark.parametrize("out_dir", [None, "elsewhere"])
@pytest.mark.parametrize("averaged", [False, True])
def test_every_checkpoint_is_exported(tmp_path, monkeypatch, averaged, out_dir):
    monkeypatch.chdir(tmp_path)
    unet = dict(
        sample_size=4,
        block_out_channels=(4,),
        layers_per_block=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        add_attention=False,
        norm_num_groups=2,
    )
    model = DenoisingDiffusion(unet, {})
    crops = [dict(inputs=torch.zeros(3, 4, 4, dtype=torch.uint8), data_samples=None)] * 4
    folder = tmp_path / (out_dir or "run/denoiser")
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    hooks = [ExportDenoiserHook(out_dir)]
    if averaged:
        hooks.insert(0, EMAHook(momentum=0.1))
    runner = Runner(
        model,
        str(tmp_path / "run"),
        train_dataloader=dict(
            dataset=crops,
            batch_size=2,
            sampler=dict(type="InfiniteSampler"),
            collate_fn=dict(type="pseudo_collate"),
        ),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=2),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2)),
        custom_hooks=hooks,
        default_scope="mmengine",
        experiment_name=f"export {averaged} {out_dir}",
    )
    runner.train()
    stored = torch.load("run/iter_2.pth", weights_only=False)["state_dict"]
    exported = load_file(file)
    assert {f"unet.{key}" for key in exported} == set(stored)
    assert all(torch.equal(exported[key], stored[f"unet.{key}"]) for key in exported)
    last = model.unet.state_dict()
    assert all(torch.equal(exported[key], last[key]) for key in last) != averaged
