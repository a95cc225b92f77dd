"""What is measured: one function for each line of the tables."""
import urllib.parse


def kept_alive(load, server, headers):
    return load.run(server.url(), headers=headers, connections=16)


def new_connection(load, server, headers, group="x25519"):
    return load.run(server.url(), headers=headers, connections=8, mode="new-connection", group=group)


def token_by_certificate(load, product):
    return load.run(product.token_endpoint, form=product.certificate_form(), connections=16)


def token_by_secret(load, product):
    return load.run(product.token_endpoint, form=urllib.parse.urlencode({"grant_type": "client_credentials"}),
                    headers=product.basic_header(), connections=16, identity=False)


def hybrid_connection(load, product):
    return new_connection(load, product, product.headers(), group="x25519mlkem768")


def certificate(load, product):
    url, headers, body = product.issuing()
    return load.run(url, headers=headers, json_body=body, connections=32, identity=False, expect=201)


def memory(load, server, headers, connections, name, results):
    """Facts, not a line of the rounds: memory varies little."""
    held = load.hold(server.url(), headers, connections)
    results.fact(f"memory for each of {connections:,} idle mTLS connections, {name}", f"{held['kib_per_connection']:.1f} KiB")
    left = (held["gone_kib"] - held["before_kib"]) / 1024
    results.fact(f"memory kept 10 s after {connections:,} connections have gone, {name}", f"{left:.0f} MiB")


# What only Countersign does.
ALONE = {
    "token, certificate": token_by_certificate,
    "token, secret": token_by_secret,
    "new connection, X25519MLKEM768": hybrid_connection,
    "certificate": certificate,
}

# All that Countersign does.
OURS = {
    "kept-alive": lambda load, product: kept_alive(load, product, product.headers()),
    "new connection": lambda load, product: new_connection(load, product, product.headers()),
    **ALONE,
}
