"""Verifies what `judges.rs` wrote into a directory, with Python's `cryptography`. Arguments: directory, unix time."""

import datetime
import pathlib
import sys

import cryptography
from cryptography import x509
from cryptography.x509 import verification

directory = pathlib.Path(sys.argv[1])
now = datetime.datetime.fromtimestamp(int(sys.argv[2]), datetime.timezone.utc)


def certificate(name):
    return x509.load_pem_x509_certificate((directory / name).read_bytes())


root, clients, servers = certificate("root.pem"), certificate("clients.pem"), certificate("servers.pem")
builder = verification.PolicyBuilder().store(verification.Store([root])).time(now)

verified = builder.build_client_verifier().verify(certificate("client.pem"), [clients])
names = verified.subjects
assert names is not None and [name.value for name in names] == ["https://localhost:8443/clients/acme-pay"], names

for name, leaf in [("localhost", "server.pem"), ("api.example.com", "host-name.pem")]:
    builder.build_server_verifier(x509.DNSName(name)).verify(certificate(leaf), [servers])

try:
    builder.build_client_verifier().verify(certificate("server.pem"), [servers])
    sys.exit("a server certificate proves a client")
except verification.VerificationError:
    pass

for name in ["empty.crl", "full.crl"]:
    crl = x509.load_pem_x509_crl((directory / name).read_bytes())
    assert crl.is_signature_valid(clients.public_key()), name
    assert crl.issuer == clients.subject
    point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert point.critical
    cdp = certificate("client.pem").extensions.get_extension_for_class(x509.CRLDistributionPoints)
    assert point.value.full_name == cdp.value[0].full_name
    assert not cdp.critical

revoked = crl.get_revoked_certificate_by_serial_number(certificate("revoked.pem").serial_number)
assert revoked.extensions.get_extension_for_class(x509.CRLReason).value.reason == x509.ReasonFlags.key_compromise
assert crl.get_revoked_certificate_by_serial_number(certificate("client.pem").serial_number) is None
assert len(crl) == 8, len(crl)

print("Python cryptography", cryptography.__version__)
