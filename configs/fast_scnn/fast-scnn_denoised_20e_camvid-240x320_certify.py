_base_ = "./fast-scnn_denoised_20e_camvid-240x320.py"
custom_hooks = [dict(type="CertificationHook")]
model = dict(
    _delete_=True,
    type="SmoothedSegmentor",
    module=_base_.model,
    denoiser=_base_.denoiser,
    sigma=0.25,
    n0=10,
    n=100,
)
test_evaluator = dict(
    _delete_=True, type="SmoothingCertificateMetric", alpha=0.001, tau=0.75, correction="holm"
)
