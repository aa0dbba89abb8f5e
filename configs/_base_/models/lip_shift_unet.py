# 1-Lipschitz U-Net of pointwise blocks and rolled channel groups. One gray level of every channel
# is 1/255: the preprocessing has norm 1. Logits at half of the resolution.
data_preprocessor = dict(
    type="SegDataPreProcessor",
    mean=[127.5, 127.5, 127.5],
    std=[255.0, 255.0, 255.0],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
)
model = dict(
    type="LipEncoderDecoder",
    data_preprocessor=data_preprocessor,
    backbone=dict(type="LipShiftUNet", size="M"),
    decode_head=dict(
        type="LipFCNHead",
        in_channels=64,
        in_index=-1,
        channels=64,
        num_convs=0,
        upsample_channels=(16,),
        layers_cfg=dict(norm_cfg=None, act_cfg=None),
        num_classes=11,
        loss_decode=dict(type="TemperatureCrossEntropyLoss", temperature=50.0),
    ),
    train_cfg=dict(autocast="bfloat16"),  # activations only; matrices and inference in float32
    # Mean over the image, shifted, and their mirror images: the same bound.
    test_cfg=dict(mode="whole", mirror=True, shifts=[(0, 0), (8, 8)]),
)
