# Trained on crops of 240x320, tested and certified on whole images of 360x480.
_base_ = [
    "../_base_/models/lip_unet.py",
    "../_base_/datasets/camvid_240x320.py",
    "../_base_/schedules/schedule_40e.py",
    "../_base_/default_runtime.py",
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=11),
    train_cfg=dict(autocast="bfloat16"),  # activations only; kernels and inference stay in float32
)
max_epochs = 44
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_epochs, T_max=max_epochs)
