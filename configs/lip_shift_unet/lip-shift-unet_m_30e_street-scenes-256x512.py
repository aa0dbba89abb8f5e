# The network of the quickstart; trained on crops, tested on whole scenes.
_base_ = [
    "../_base_/models/lip_shift_unet.py",
    "../_base_/datasets/street_scenes.py",
    "../_base_/schedules/schedule_muon_100e.py",
    "../_base_/default_runtime.py",
]
crop_size = (192, 384)
train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedAnnotations"),
    dict(type="RandomResize", scale=(512, 256), ratio_range=(0.8, 1.6), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.9),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
# Frequency of the class to the power of -0.25, mean 1 over the pixels.
class_weight = [0.77, 1.34, 0.88, 2.04, 2.29, 2.1, 2.98, 2.8, 1.13, 1.81]
class_weight += [0.98, 2.11, 3.22, 1.3, 1.86, 2.09, 2.15, 2.76, 2.64]
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(
        num_classes=19, upsample_channels=(20,), loss_decode=dict(class_weight=class_weight)
    ),
)
max_epochs = 30
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_epochs, T_max=max_epochs)
