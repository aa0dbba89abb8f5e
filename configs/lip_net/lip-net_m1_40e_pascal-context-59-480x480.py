_base_ = [
    "../_base_/models/lip_net.py",
    "../_base_/datasets/pascal_context_59.py",
    "../_base_/schedules/schedule_40e.py",
    "../_base_/default_runtime.py",
]
crop_size = (480, 480)
train_dataloader = dict(sampler=dict(type="DefaultSampler", shuffle=True))
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(num_classes=59, upsample_channels=(128, 64, 60)),
)
