# Certifies any segmentor behind a denoiser with any tools/test.py, see README.md.
import os

_base_ = "./smoothing.py"
model = dict(
    denoiser=dict(
        type="DiffusersDenoiser",
        path=os.environ.get("DENOISER")
        or "{{fileDirname}}/../../demo/checkpoints/denoiser_street-scenes",
        strategy="native",  # without attention, whole images are as good as tiles, and cheaper
        channels_last=True,
    )
)
