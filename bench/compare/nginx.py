"""nginx as the peer: plain mTLS proxying, no token check, everything that costs and is not compared switched off."""
import getpass
import pathlib
import socket
import subprocess
import time

from processes import SERVER_CORE, Process

CONFIG = """
user {user};
worker_processes 1;
worker_rlimit_nofile 32768;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_requests 100000000;
  upstream demo {{
    server {upstream};
    keepalive 64;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} ssl;
    server_name localhost;
    ssl_protocols TLSv1.3;
    ssl_ecdh_curve X25519;
    ssl_certificate {material.chain};
    ssl_certificate_key {material.key};
    ssl_client_certificate {client.root};
    ssl_verify_client on;
    ssl_verify_depth 2;
    ssl_session_tickets off;
    ssl_session_cache off;
    location /data/ {{
      proxy_pass http://demo/;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
    }}
  }}
}}
"""


class Server(Process):
    def __init__(self, directory, material, client, upstream):
        directory.mkdir(parents=True)
        self.port = free_port()
        config = directory / "nginx.conf"
        config.write_text(CONFIG.format(user=getpass.getuser(), directory=directory, upstream=upstream.address,
                                        port=self.port, material=material, client=client))
        super().__init__(["nginx", "-p", directory, "-c", config, "-e", directory / "error.log"], SERVER_CORE,
                         directory / "error.log")
        self._wait()

    def _wait(self):
        for _ in range(100):
            if self.child.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0 and self.measured_pids():
                    return
            time.sleep(0.05)
        self.fail("nginx did not start")

    def measured_pids(self):
        """The worker: the master does nothing while requests run."""
        return pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()

    def url(self):
        return f"https://localhost:{self.port}/data/accounts"


def version():
    return subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.split(": ")[1].strip()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
