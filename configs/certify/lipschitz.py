# Certifies any Lipschitz model of these configs with any tools/test.py, see README.md.
_base_ = "{{$MODEL_CONFIG:../lip_shift_unet/lip-shift-unet_m_30e_street-scenes-256x512.py}}"
custom_imports = dict(imports=["mmseg_lipcert.registration"])
custom_hooks = [dict(type="CertificationHook")]
test_evaluator = dict(
    _delete_=True, type="LipschitzCertificateMetric", eps=[0.05, 0.1, 0.17, 0.5, 1.0]
)
