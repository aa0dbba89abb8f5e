_base_ = "./lip-deeplabv3_m_80e_camvid-240x320.py"
custom_hooks = [dict(type="CertificationHook")]
test_evaluator = dict(
    _delete_=True, type="LipschitzCertificateMetric", eps=[0.05, 0.1, 0.17, 0.5, 1.0]
)
