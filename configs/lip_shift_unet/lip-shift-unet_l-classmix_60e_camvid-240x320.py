# L, trained on with images that are pasted into each other. It starts from the shipped weights.
_base_ = ["./lip-shift-unet_l_120e_camvid-240x320.py"]
load_from = "demo/checkpoints/lip-shift-unet_l_camvid.pth"
inner = _base_.train_dataloader.dataset
pack = inner.datasets[0].pipeline[-1]
for part in inner.datasets:
    part.pipeline = part.pipeline[:-1]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="MultiImageMixDataset",
        dataset=inner,
        pipeline=[dict(type="ClassMix"), pack],
    )
)
del inner, pack, part
max_epochs = 60
optim_wrapper = dict(optimizer=dict(lr=0.006, adam_lr=1e-3))
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_epochs, T_max=max_epochs)
