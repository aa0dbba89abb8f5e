# 1-Lipschitz FCN: strided orthogonal encoder, two convolutions, orthogonal up-sampling.
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
    backbone=dict(type="LipEncoder", size="M"),
    decode_head=dict(
        type="LipFCNHead",
        in_channels=128,
        in_index=-1,
        channels=128,
        num_convs=2,
        upsample_channels=(64, 32, 20),
        num_classes=19,
        loss_decode=dict(type="TemperatureCrossEntropyLoss", temperature=50.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
