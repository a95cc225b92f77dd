//! Foreign servers that are given our root and our lists check the whole chain of a client: they accept a good certificate
//! and refuse a revoked one. OpenSSL fetches the lists by itself.

use crate::program::{Running, countersign};
use countersign_testkit::{Client, Ports};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output};

/// A certificate that is good, a certificate that is revoked, and the files that a foreign server is configured with.
struct Papers {
    directory: tempfile::TempDir,
    /// The port for a foreign server.
    port: Ports,
    /// Keeps the address of the lists alive, for a judge that fetches them.
    _server: Running,
}

impl Papers {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let data = data.to_str().unwrap();
        let ports = Ports::claim();
        let first = ports.first().to_string();
        let server = Running::start_json(&["quickstart", "--dir", data, "--port", &first]);
        let papers = Self { directory, port: Ports::claim(), _server: server };
        for (partner, name) in [("other-bank", "good"), ("acme-pay", "revoked")] {
            std::fs::copy(papers.path(&format!("data/{partner}.crt")), papers.path(&format!("{name}.pem")))
                .unwrap();
            std::fs::copy(papers.path(&format!("data/{partner}.key")), papers.path(&format!("{name}.key")))
                .unwrap();
        }
        let serial = run(&mut papers.command("openssl", "x509 -in revoked.pem -noout -serial"));
        let serial = serial.trim().strip_prefix("serial=").unwrap();
        let arguments = ["cert", "revoke", serial, "--reason", "keyCompromise", "--yes", "--dir", data];
        let revoked = countersign(&arguments);
        assert!(revoked.status.success(), "{revoked:?}");

        // What an operator of such a server does: both lists in one file.
        let documents = Client::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, ports.first() + 2)));
        let mut lists = String::new();
        for issuer in ["clients", "root"] {
            let list = documents.get(&format!("/pki/crl/{issuer}/0.crl"), &[]).await.unwrap();
            lists += &countersign_pki::pem::encode(countersign_pki::pem::Label::Crl, &list.body);
        }
        papers.write("lists.pem", &lists);
        // The foreign server's own certificate, which nothing here is about.
        let certificate = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.pem \
                           -subj /CN=localhost -addext subjectAltName=DNS:localhost";
        run(&mut papers.command("openssl", certificate));
        let [key, certificate] =
            ["server.key", "server.pem"].map(|name| std::fs::read_to_string(papers.path(name)).unwrap());
        papers.write("both.pem", &(certificate + &key));
        papers
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, program: &str, arguments: &str) -> Command {
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace()).current_dir(self.directory.path());
        command
    }

    /// Calls the foreign server with a client certificate: the status, `000` for a handshake that was refused.
    fn status(&self, certificate: &str) -> String {
        let arguments = format!(
            "--silent --noproxy * --cacert server.pem --cert {certificate}.pem --key {certificate}.key \
             --output /dev/null --write-out %{{http_code}} https://localhost:{}/",
            self.port.first()
        );
        String::from_utf8(self.command("curl", &arguments).output().unwrap().stdout).unwrap()
    }

    /// Starts a server that goes into the background once it listens.
    fn daemon(&self, program: &str, arguments: &str) -> Daemon {
        run(&mut self.command(program, arguments));
        Daemon(self.path("pid"))
    }
}

/// A server in the background, by the file with its process id; it ends with the value.
struct Daemon(PathBuf);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pids = std::fs::read_to_string(&self.0).unwrap_or_default();
        for pid in pids.split_whitespace() {
            let _ = Command::new("kill").args(["-TERM", pid]).status();
        }
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether the tools are there; each that is says its version.
#[expect(clippy::print_stdout, reason = "scripts/test shows which judges ran, and what a skipped test needs")]
fn judges(tools: &[(&str, &str)]) -> bool {
    tools.iter().all(|(tool, version)| match Command::new(tool).arg(version).output() {
        Ok(Output { stdout, stderr, status }) if status.success() => {
            let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
            println!("judge: {}", text.lines().next().unwrap_or_default());
            true
        }
        _ => {
            println!("skipped: needs {tool}");
            false
        }
    })
}

const OPENSSL: (&str, &str) = ("openssl", "version");
const CURL: (&str, &str) = ("curl", "--version");

#[tokio::test]
async fn rule_r1_openssl_fetches_the_list_and_refuses_what_is_on_it() {
    if !judges(&[OPENSSL]) {
        return;
    }
    let papers = Papers::new().await;
    let verify = |name: &str| {
        let arguments =
            format!("verify -CAfile data/ca.crt -untrusted {name}.pem -crl_download -crl_check {name}.pem");
        papers.command("openssl", &arguments).output().unwrap()
    };
    let good = verify("good");
    assert!(good.status.success(), "{good:?}");
    let revoked = verify("revoked");
    let told = String::from_utf8_lossy(&revoked.stderr).into_owned();
    assert!(!revoked.status.success() && told.contains("certificate revoked"), "{revoked:?}");
}

#[tokio::test]
async fn rule_r1_nginx_with_ssl_crl_accepts_the_good_and_refuses_the_revoked() {
    if !judges(&[OPENSSL, CURL, ("nginx", "-v")]) {
        return;
    }
    let papers = Papers::new().await;
    let configuration = format!(
        "pid pid; error_log error.log; events {{}}
         http {{
           access_log off;
           client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
           scgi_temp_path scgi;
           server {{
             listen 127.0.0.1:{} ssl; ssl_certificate server.pem; ssl_certificate_key server.key;
             ssl_verify_client on; ssl_verify_depth 2; ssl_client_certificate data/ca.crt; ssl_crl lists.pem;
             return 200;
           }}
         }}",
        papers.port.first()
    );
    papers.write("nginx.conf", &configuration);
    let prefix = papers.directory.path().display();
    let _nginx = papers.daemon("nginx", &format!("-p {prefix} -e error.log -c nginx.conf"));
    assert_eq!(papers.status("good"), "200");
    assert_eq!(papers.status("revoked"), "400");
    let log = std::fs::read_to_string(papers.path("error.log")).unwrap();
    assert!(!log.contains("CRL scope"), "{log}");
}

#[tokio::test]
async fn rule_r1_haproxy_with_crl_file_accepts_the_good_and_refuses_the_revoked() {
    if !judges(&[OPENSSL, CURL, ("haproxy", "-v")]) {
        return;
    }
    let papers = Papers::new().await;
    let configuration = format!(
        "global\n  pidfile pid\n\
         defaults\n  mode http\n  timeout client 10s\n  timeout connect 10s\n  timeout server 10s\n\
         frontend judge\n  \
           bind 127.0.0.1:{} ssl crt both.pem ca-file data/ca.crt crl-file lists.pem verify required\n  \
           http-request return status 200\n",
        papers.port.first()
    );
    papers.write("haproxy.cfg", &configuration);
    let _haproxy = papers.daemon("haproxy", "-D -f haproxy.cfg");
    assert_eq!(papers.status("good"), "200");
    assert_eq!(papers.status("revoked"), "000");
}

/// Both ends in one process, without a socket.
const PYTHON: &str = r#"
import ssl, sys
def verified(name):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain("server.pem", "server.key")
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    server.load_verify_locations("data/ca.crt")
    server.load_verify_locations("lists.pem")
    client = ssl.create_default_context(cafile="server.pem")
    client.load_cert_chain(name + ".pem", name + ".key")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname="localhost"), server.wrap_bio(up, down, server_side=True)]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return "ok" if ends[1].getpeercert() else "no handshake"
print(verified(sys.argv[1]))
"#;

#[tokio::test]
async fn rule_r1_python_with_verify_crl_check_chain_accepts_the_good_and_refuses_the_revoked() {
    if !judges(&[OPENSSL, ("python3", "--version")]) {
        return;
    }
    let papers = Papers::new().await;
    let verified = |name: &str| run(papers.command("python3", "-c").args([PYTHON, name]));
    assert_eq!(verified("good").trim(), "ok");
    assert_eq!(verified("revoked").trim(), "certificate revoked");
}
