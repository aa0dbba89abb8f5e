# The small network of the quickstart; trained on crops, tested on whole scenes.
_base_ = [
    "../_base_/models/lip_unet.py",
    "../_base_/datasets/street_scenes.py",
    "../_base_/schedules/schedule_40e.py",
    "../_base_/default_runtime.py",
]
crop_size = (192, 384)
train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedAnnotations"),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    sampler=dict(type="DefaultSampler", shuffle=True), dataset=dict(pipeline=train_pipeline)
)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(size="S"),
    decode_head=dict(in_channels=32, channels=32, upsample_channels=(32, 20)),
    train_cfg=dict(autocast="bfloat16"),  # activations only; kernels and inference stay in float32
)
max_epochs = 30
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_epochs, T_max=max_epochs)
