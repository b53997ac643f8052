//! Posts an alert as JSON to an address of the owner's, over plain HTTP.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long one post may take.
const LIMIT: Duration = Duration::from_secs(3);

/// Host with port, and path, of an `http://` address; `None` when it is none.
pub fn parse(url: &str) -> Option<(String, String)> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    let port = host.rsplit_once(':').is_none_or(|(name, port)| {
        !name.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    (!host.is_empty() && port && plain(host) && plain(path)).then(|| {
        let host = if host.contains(':') { host.to_string() } else { format!("{host}:80") };
        (host, path.to_string())
    })
}

/// Posts a body; true when the other side answers with a 2xx status.
///
/// # Errors
/// It cannot be reached, or does not answer in time.
pub fn post(url: &str, json: &str) -> std::io::Result<bool> {
    let (host, path) = parse(url).ok_or(std::io::ErrorKind::InvalidInput)?;
    let address = host.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let length = json.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{json}"
    )?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.starts_with(b"HTTP/1.") && head[9] == b'2')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let parts = |host: &str, path: &str| Some((host.to_string(), path.to_string()));
        assert_eq!(parse("http://127.0.0.1:9000/a/b?c"), parts("127.0.0.1:9000", "/a/b?c"));
        assert_eq!(parse("http://alerts"), parts("alerts:80", "/"));
        for bad in [
            "",
            "https://a",
            "http://",
            "http://:1/",
            "http://a:0",
            "http://a b/",
            "ftp://a",
            "http://a:1/\r\nX",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_alert_arrives_whole() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/alerts", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut got = Vec::new();
            for status in ["204 No Content", "500 Oh"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                let mut length = 0;
                while !request[..length].ends_with(b"{\"a\":1}") {
                    length += stream.read(&mut request[length..]).unwrap();
                }
                write!(stream, "HTTP/1.1 {status}\r\n\r\n").unwrap();
                got.push(String::from_utf8_lossy(&request[..length]).into_owned());
            }
            got
        });
        assert!(post(&url, "{\"a\":1}").unwrap());
        assert!(!post(&url, "{\"a\":1}").unwrap());
        let got = server.join().unwrap();
        assert!(
            got[0].starts_with("POST /alerts HTTP/1.1\r\n") && got[0].contains("Content-Length: 7")
        );
        assert!(post(&url, "{}").is_err(), "nobody listens any more");
    }
}
