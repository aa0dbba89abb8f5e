# A diffusion model that sees patches of 2x2 pixels, so that its work is done at half the
# resolution. Trained on crops of 96x96 pixels.
patch_size = 2
model = dict(
    type="DenoisingDiffusion",
    unet=dict(
        sample_size=96 // patch_size,
        in_channels=3 * patch_size**2,
        out_channels=3 * patch_size**2,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        add_attention=False,
        norm_num_groups=8,
    ),
    scheduler=dict(prediction_type="v_prediction", clip_sample=True),
    sigmas=(0.03, 1.0),
)
