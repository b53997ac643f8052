//! The API of a running node, asked over plain sockets.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::{Dir, Node, PATIENCE, until};

/// The API of a node that runs in a process and data folder of its own.
pub struct Api {
    /// The node.
    pub node: Node,
    /// A folder for the test.
    pub dir: Dir,
    /// Address of the API.
    pub http: String,
    /// Its token.
    pub token: String,
}

impl Api {
    /// Founds a network of one.
    pub fn start(name: &str) -> Self {
        let dir = Dir::new(name);
        let node = Node::up(dir.join("node"));
        Self::of(dir, node)
    }

    /// The API of a node that runs.
    pub fn of(dir: Dir, node: Node) -> Self {
        let run = std::fs::read(node.data.join("run.json")).unwrap();
        let run: Value = serde_json::from_slice(&run).unwrap();
        let http = run["http"].as_str().unwrap().to_string();
        let token = std::fs::read_to_string(node.data.join("token")).unwrap().trim().to_string();
        let api = Self { node, dir, http, token };
        until("the node is ready", || (api.get("/readyz").status == 200).then_some(()));
        api
    }

    /// Sends a request with exactly these headers (and the length), and reads the answer.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut socket = TcpStream::connect(&self.http).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        socket.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A server may answer and hang up before it has read a body that it does not want.
        let _ = socket.write_all(body);
        let mut bytes = Vec::new();
        let _ = socket.read_to_end(&mut bytes);
        Answer::parse(&bytes)
    }

    /// The value of the header that opens.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// GET with the token.
    pub fn get(&self, path: &str) -> Answer {
        let bearer = self.bearer();
        self.send("GET", path, &[("host", &self.http), ("authorization", &bearer)], b"")
    }

    /// POST with the token.
    pub fn post(&self, path: &str, body: &[u8]) -> Answer {
        let bearer = self.bearer();
        let headers = [
            ("host", self.http.as_str()),
            ("authorization", &bearer),
            ("content-type", "application/json"),
        ];
        self.send("POST", path, &headers, body)
    }

    /// POST of JSON with the token.
    pub fn post_json(&self, path: &str, body: Value) -> Answer {
        self.post(path, body.to_string().as_bytes())
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its header lines, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads an answer.
    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|l| l.split_once(": "));
        let headers = headers.map(|(n, v)| (n.to_ascii_lowercase(), v.to_string())).collect();
        let mut answer = Self { status, headers, body: bytes[end + 4..].to_vec() };
        if answer.header("transfer-encoding") == "chunked" {
            answer.body = whole(&answer.body);
        }
        answer
    }

    /// A header line's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The error's code, after a look at the form that OpenAI's clients expect.
    pub fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        let error = &self.json()["error"];
        assert!(!error["message"].as_str().unwrap().is_empty());
        let kind = if status >= 500 { "server_error" } else { "invalid_request_error" };
        assert_eq!(error["type"], kind);
        assert!(error["param"].is_null());
        error["code"].as_str().unwrap().to_string()
    }
}

/// The body of a chunked answer (RFC 9112 7.1), which must end as it should.
fn whole(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|w| w == b"\r\n").expect("a chunk's head");
        let length = std::str::from_utf8(&chunks[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        chunks = &chunks[end + 2..];
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&chunks[..length]);
        chunks = &chunks[length + 2..];
    }
}
