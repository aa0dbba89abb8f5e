_base_ = [
    "../_base_/models/lip_net.py",
    "../_base_/datasets/cityscapes.py",
    "../_base_/schedules/schedule_40e.py",
    "../_base_/default_runtime.py",
]
crop_size = (512, 1024)
train_dataloader = dict(sampler=dict(type="DefaultSampler", shuffle=True))
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(size="L"),
    decode_head=dict(in_channels=512, channels=512, upsample_channels=(256, 128, 64, 32)),
)
