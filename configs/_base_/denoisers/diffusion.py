# A diffusion model of our own, of configs/denoiser. For --denoiser.
denoiser = dict(
    type="DiffusersDenoiser",
    path="{{$DENOISER:work_dirs/denoiser/denoiser}}",
    strategy="native",
    dtype="bfloat16",
    channels_last=True,
)
