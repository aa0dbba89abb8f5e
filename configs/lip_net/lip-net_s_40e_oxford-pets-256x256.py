_base_ = [
    "../_base_/models/lip_net.py",
    "../_base_/datasets/oxford_pets.py",
    "../_base_/schedules/schedule_40e.py",
    "../_base_/default_runtime.py",
]
crop_size = (256, 256)
train_dataloader = dict(sampler=dict(type="DefaultSampler", shuffle=True))
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(size="S"),
    decode_head=dict(in_channels=128, channels=128, upsample_channels=(64, 32, 16), num_classes=2),
)
