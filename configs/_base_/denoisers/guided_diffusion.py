# The 256x256 ImageNet model of guided-diffusion (552 M parameters), converted by
# tools/model_converters/guided_diffusion_to_diffusers.py. For --denoiser; on a GPU.
# Published tables: noise_range=1.0, strategy="resize", strategy_options=dict(corrected=False).
denoiser = dict(
    type="DiffusersDenoiser",
    path="{{$MODELS_ROOT:models}}/guided_diffusion",
    dtype="bfloat16",
)
