# The 1-Lipschitz DeepLabV3 of the literature, layer by layer: overlapping strides, linear branches.
# One gray level of every channel is 1/255: the preprocessing has norm 1.
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
    backbone=dict(type="LipNetEncoder", size="M1"),
    decode_head=dict(
        type="LipNetHead",
        in_channels=256,
        channels=256,
        upsample_channels=(128, 64, 32),
        num_classes=19,
        loss_decode=dict(type="TemperatureCrossEntropyLoss", temperature=50.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
