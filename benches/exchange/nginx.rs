//! The yardstick: nginx as a reverse proxy that demands a client certificate, with as little else to do as can be.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::peer::{Cores, Peer, free_address};

/// Where distributions put it; some of these are in the PATH of root only.
const USUAL_PLACES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/nginx/sbin"];

/// The installed nginx, if there is one.
pub fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = USUAL_PLACES.iter().map(PathBuf::from);
    env::split_paths(&path).chain(usual).map(|directory| directory.join("nginx")).find(|file| file.is_file())
}

/// Starts one worker in `directory`, where the certificates are, in front of `upstream`.
pub async fn start(program: &Path, directory: &Path, upstream: SocketAddr, cores: Cores) -> anyhow::Result<Peer> {
    let address = free_address()?;
    let file = directory.join("nginx.conf");
    fs::write(&file, configuration(directory, address, upstream))?;
    let mut command = cores.command(program);
    command.arg("-p").arg(directory).arg("-c").arg(&file).arg("-e").arg(directory.join("nginx-error.log"));
    Peer::start("nginx", command, address, directory).await
}

/// Keep-alive on both sides without a limit that a run could reach, no access log, no temporary files for bodies.
fn configuration(directory: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let directory = directory.display();
    format!(
        r#"daemon off;
worker_processes 1;
error_log "{directory}/nginx-error.log" error;
pid "{directory}/nginx.pid";
events {{
    worker_connections 2048;
    multi_accept on;
}}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_body_temp_path "{directory}/nginx-body";
    proxy_temp_path "{directory}/nginx-proxy";
    fastcgi_temp_path "{directory}/nginx-fastcgi";
    uwsgi_temp_path "{directory}/nginx-uwsgi";
    scgi_temp_path "{directory}/nginx-scgi";
    upstream data_service {{
        server {upstream};
        keepalive 256;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen {address} ssl;
        server_name localhost;
        ssl_protocols TLSv1.3;
        ssl_certificate "{directory}/server.pem";
        ssl_certificate_key "{directory}/server.key";
        ssl_client_certificate "{directory}/client-ca.pem";
        ssl_verify_client on;
        ssl_session_tickets off;
        location / {{
            proxy_pass http://data_service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffer_size 64k;
            proxy_buffers 16 64k;
            proxy_busy_buffers_size 256k;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"#
    )
}
