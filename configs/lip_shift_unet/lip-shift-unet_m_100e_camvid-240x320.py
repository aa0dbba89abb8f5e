# Trained on crops of 240x320 in much varied light, tested and certified on whole 360x480 images.
_base_ = [
    "../_base_/models/lip_shift_unet.py",
    "../_base_/datasets/camvid.py",
    "../_base_/schedules/schedule_muon_100e.py",
    "../_base_/default_runtime.py",
]
crop_size = (240, 320)
train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedAnnotations"),
    dict(type="CheckLabels", num_classes={{_base_.num_classes}}),
    dict(type="RandomResize", scale=(480, 360), ratio_range=(0.67, 1.7), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.9),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomExposure"),
    dict(type="AddGaussianNoise", sigma=(0.0, 0.02)),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
# Frequency of the class to the power of -0.2, mean 1 over the pixels.
class_weight = [0.98, 0.92, 1.73, 0.86, 1.28, 1.09, 1.67, 1.68, 1.21, 1.88, 2.2]
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(num_classes=11, loss_decode=dict(class_weight=class_weight)),
)
