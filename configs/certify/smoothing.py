# Certifies any segmentor under noise with any tools/test.py, see README.md.
_base_ = "{{$MODEL_CONFIG:../fast_scnn/fast-scnn_20e_street-scenes-256x512.py}}"
custom_imports = dict(imports=["mmseg_lipcert.registration"])
custom_hooks = [dict(type="CertificationHook")]
model = dict(
    _delete_=True,
    type="SmoothedSegmentor",
    module=_base_.model,
    sigma=0.25,
    n0=10,
    n=100,
)
test_evaluator = dict(
    _delete_=True, type="SmoothingCertificateMetric", alpha=0.001, tau=0.75, correction="holm"
)
