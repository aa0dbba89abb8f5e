# A small diffusion model without attention, 0.62 million parameters, for crops of 96x96 pixels.
model = dict(
    type="DenoisingDiffusion",
    unet=dict(
        sample_size=96,
        in_channels=3,
        out_channels=3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        add_attention=False,
        norm_num_groups=8,
    ),
    scheduler=dict(prediction_type="v_prediction", clip_sample=True),
    sigmas=(0.03, 1.0),
)
