# A larger network that sees patches of 2x2 pixels: about the arithmetic of FFDNet per pixel. Labels
# are not read.
_base_ = [
    "../_base_/models/denoiser.py",
    "../_base_/datasets/camvid.py",
    "../_base_/schedules/denoiser.py",
    "../_base_/default_runtime.py",
]
crop_size = (96, 96)
train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="CheckedRandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [dict(type="LoadCheckedImage"), dict(type="PackSegInputs")]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_evaluator = dict(_delete_=True, type="DenoisingMetric")
test_evaluator = val_evaluator
patch_size = 2
model = dict(
    unet=dict(
        sample_size=crop_size[0] // patch_size,
        in_channels=3 * patch_size**2,
        out_channels=3 * patch_size**2,
        block_out_channels=(64, 128),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    ),
    sigmas=(0.05, 0.7),
    autocast="bfloat16",
)
max_iters = 20000
train_cfg = dict(max_iters=max_iters, val_interval=2000)
default_hooks = dict(checkpoint=dict(interval=1000))
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_iters, T_max=max_iters)
log_processor = dict(by_epoch=False)
