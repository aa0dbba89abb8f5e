_base_ = "./lip-net_s_40e_kvasir-seg-256x256.py"
custom_hooks = [dict(type="CertificationHook")]
test_evaluator = dict(
    _delete_=True, type="LipschitzCertificateMetric", eps=[0.05, 0.1, 0.17, 0.5, 1.0]
)
