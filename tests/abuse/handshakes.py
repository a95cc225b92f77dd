"""No handshake costs more than five times an honest one (rule T13)."""
import contextlib
import pathlib
import random
import ssl
import statistics
import subprocess
import tempfile

from lab import Server, expect

NAMES = 9
MOST_BYTES = 64 * 1024


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authorities:
    """CAs of few names and many keys, in PEM: what makes a path builder try every order of them."""

    def __init__(self, directory, issuer_name):
        self.directory = pathlib.Path(tempfile.mkdtemp(dir=directory))
        extensions = self.directory / "ca.cnf"
        extensions.write_text("basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n"
                              "subjectKeyIdentifier=hash\n")
        keys = []
        for number in range(NAMES):
            key = self.directory / f"{number}.key"
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
            keys.append(key)
        # Each signs a certificate for each other's key, all under one name, which is also the issuing CA's.
        self.alike = []
        for subject in range(NAMES):
            request = self.directory / "request.pem"
            openssl("req", "-new", "-key", keys[subject], "-subj", issuer_name, "-out", request)
            for issuer in range(NAMES):
                own = self.directory / f"issuer-{issuer}.pem"
                if not own.exists():
                    openssl("req", "-x509", "-new", "-key", keys[issuer], "-subj", issuer_name, "-days", "30", "-out", own)
                crossed = self.directory / "crossed.pem"
                openssl("x509", "-req", "-in", request, "-CA", own, "-CAkey", keys[issuer], "-set_serial",
                        subject * NAMES + issuer + 1, "-days", "30", "-extfile", extensions, "-out", crossed)
                self.alike.append(crossed.read_text())
        self.unrelated = []
        # A leaf of theirs: no anchor ends its search early.
        self.leaf = self.directory / "leaf.pem"
        request = self.directory / "request.pem"
        client = self.directory / "client.cnf"
        client.write_text("keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\nsubjectAltName=DNS:acme-pay\n")
        openssl("req", "-new", "-key", keys[0], "-subj", "/CN=acme-pay", "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.directory / "issuer-1.pem", "-CAkey", keys[1], "-set_serial", 9999,
                "-days", "30", "-extfile", client, "-out", self.leaf)
        self.leaf_identity = {"cert_file": str(self.leaf), "key_file": str(keys[0])}
        # As small as certificates get, so that many fit.
        small = self.directory / "small.key"
        openssl("genpkey", "-algorithm", "ed25519", "-out", small)
        for number in range(12):
            request, other = self.directory / "request.pem", self.directory / "other.pem"
            openssl("req", "-new", "-key", small, "-subj", f"/CN={number}", "-out", request)
            openssl("x509", "-req", "-in", request, "-signkey", small, "-set_serial", 1, "-days", "30", "-out", other)
            self.unrelated.append(other.read_text())


def hostile_chains(binary, short):
    shapes = 40 if short else 1000
    with Server(binary) as server, tempfile.TemporaryDirectory(prefix="abuse-") as directory:
        ours = server.made["production"]
        leaf = first_certificate(ours)
        # Named as nobody, they are tried in every order; named as an anchor, each order costs signatures too.
        families = [Authorities(directory, name) for name in ("/CN=Alike", issuer_of(leaf))]
        chain = pathlib.Path(directory) / "chain.pem"
        honest = statistics.median(cost(server, ours, None, "127.0.0.1") for _ in range(20 if short else 100))
        worst, unsent = (0, ""), 0
        seeded = random.Random(7)
        for number in range(shapes):
            authorities = families[number % 2]
            extra = shape(seeded, authorities, number)
            identity = ours if number % 3 == 2 else authorities.leaf_identity
            chain.write_text(first_certificate(identity) + "".join(extra))
            # An address for each: what one may spend on failing is another story.
            source = f"127.0.{10 + number // 200}.{1 + number % 200}"
            spent = cost(server, identity, chain, source)
            if spent is None:
                unsent += 1
            elif spent > worst[0]:
                # A second look: what the process did beside it does not count.
                spent = min(spent, cost(server, identity, chain, source))
                worst = max(worst, (spent, f"{len(extra)} extra certificates"))
        status, _ = server.token()
        expect(status == 200, f"an honest token request gets {status} afterwards")
    ratio = worst[0] / honest
    # Parsing 64 KB costs something by itself, and a development build exaggerates it.
    expect(ratio <= (20 if short else 5), f"a handshake with {worst[1]} costs {ratio:.1f} times an honest one")
    return (f"{shapes} shapes ({unsent} that the client's own TLS does not send): the worst costs {ratio:.1f} times an honest "
            f"handshake of {honest / 1000:.0f} µs")


def first_certificate(identity):
    end = "-----END CERTIFICATE-----\n"
    return pathlib.Path(identity["cert_file"]).read_text().split(end)[0] + end


def issuer_of(leaf):
    """The issuer of a certificate as `-subj` takes it."""
    ran = subprocess.run(["openssl", "x509", "-noout", "-issuer", "-nameopt", "compat"], input=leaf, capture_output=True, text=True,
                         check=True)
    name = ran.stdout.strip().removeprefix("issuer=").strip()
    return name if name.startswith("/") else "/" + name.replace(", ", "/")


def shape(seeded, authorities, number):
    """Extra certificates of up to 64 KB: the known worst one first, then any mixture."""
    if number == 0:
        extra = authorities.alike[::NAMES] + authorities.unrelated * 22
    else:
        count = seeded.randint(1, 250)
        pool = authorities.alike if seeded.random() < 0.5 else authorities.alike + authorities.unrelated
        extra = [seeded.choice(pool) for _ in range(count)]
    kept, size = [], 2000
    for certificate in extra:
        size += len(certificate) * 3 // 4
        if size > MOST_BYTES:
            break
        kept.append(certificate)
    return kept


def cost(server, identity, chain, source):
    """Server CPU of one handshake and a small request, in nanoseconds; None if the client could not send it."""
    try:
        context = server.context(identity, chain=chain)
    except ssl.SSLError:
        return None
    before = server.cpu_ns()
    with contextlib.suppress(OSError):
        with server.connect(context=context, source=source) as connection:
            connection.sendall(b"GET /problems/token_missing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while connection.recv(65536):
                pass
    return server.cpu_ns() - before
