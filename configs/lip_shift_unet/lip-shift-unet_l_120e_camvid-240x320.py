# Larger, longer, at a higher temperature than M, and the dusk sequence counts twice.
_base_ = ["./lip-shift-unet_m_100e_camvid-240x320.py"]
model = dict(backbone=dict(size="L"), decode_head=dict(loss_decode=dict(temperature=80.0)))
day_and_dusk = _base_.train_dataloader.dataset
# The first 62 images of the split are the sequence recorded at dusk (0001TP).
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="ConcatDataset",
        datasets=[day_and_dusk, dict(**day_and_dusk, indices=62)],
    )
)
max_epochs = 120
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_epochs, T_max=max_epochs)
