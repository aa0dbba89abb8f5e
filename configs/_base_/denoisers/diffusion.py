# A diffusion model that tools/train_denoiser.py trained. For --denoiser.
denoiser = dict(
    type="DiffusersDenoiser",
    path="{{$DENOISER:work_dirs/denoiser}}",
    strategy="native",
    dtype="bfloat16",
    channels_last=True,
)
