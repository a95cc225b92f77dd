"""The server's certificate that both servers present: root, issuing CA, leaf, all P-256, made by openssl."""
import collections
import subprocess

Material = collections.namedtuple("Material", "root chain key")

CONFIG = """
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
"""


def server_material(directory):
    return _material(directory, "server", "localhost")


def client_material(directory):
    """For --only nginx; in a comparison the client's certificate is the one that Countersign issued."""
    return _material(directory, "client", "bench")


def _material(directory, kind, name):
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "extensions.cnf"
    config.write_text(CONFIG)
    root = _certificate(directory, config, f"{kind}-root", f"Bench {kind} root", "ca", issuer=None)
    issuing = _certificate(directory, config, f"{kind}-issuing", f"Bench {kind} issuing CA", "ca", issuer=root)
    leaf = _certificate(directory, config, kind, name, kind, issuer=issuing)
    chain = directory / f"{kind}-chain.pem"
    chain.write_text(leaf.with_suffix(".pem").read_text() + issuing.with_suffix(".pem").read_text())
    leaf.with_suffix(".key").chmod(0o600)  # Countersign reads no key that others could read
    return Material(root.with_suffix(".pem"), chain, leaf.with_suffix(".key"))


def _certificate(directory, config, file, name, extensions, issuer):
    base = directory / file
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", base.with_suffix(".key"))
    _openssl("req", "-new", "-key", base.with_suffix(".key"), "-subj", f"/CN={name}", "-out", base.with_suffix(".csr"))
    signer = (["-CA", issuer.with_suffix(".pem"), "-CAkey", issuer.with_suffix(".key"), "-CAcreateserial"] if issuer
              else ["-signkey", base.with_suffix(".key")])
    _openssl("x509", "-req", "-in", base.with_suffix(".csr"), "-days", "30", "-sha256", *signer,
             "-extfile", config, "-extensions", extensions, "-out", base.with_suffix(".pem"))
    return base


def _openssl(*command):
    ran = subprocess.run(["openssl", *map(str, command)], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise SystemExit(f"openssl {command[0]}: {ran.stderr}")
