# FFDNet for color images, as its authors trained it. For --denoiser; no training needed.
# On a CPU without bfloat16 take dtype="float32".
denoiser = dict(
    type="FFDNetDenoiser",
    path="{{$MODELS_ROOT:models}}/ffdnet_color.safetensors",
    dtype="bfloat16",
    channels_last=True,
)
