from atelier_client.cli.doctor import bf16_check, examine


def test_this_machine_is_described() -> None:
    found = {check.name: check for check in examine()}
    assert {"python", "torch", "device", "kernels for", "bf16 matmul"} <= set(found)
    assert all(check.ok for check in found.values())


def test_bf16_is_really_measured() -> None:
    finding = bf16_check("cpu").finding
    assert 0.0 < float(finding.split()[2]) < 0.02
