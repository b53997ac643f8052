//! The API in the hands of somebody who means ill: wrong tokens, bodies without end, slow clients,
//! ten thousand connections, and bytes that are no HTTP. The node must refuse, and go on.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use common::api::{Answer, Api};
use common::{Dir, Node, PATIENCE, Random, run_with, seed, until};
use serde_json::{Value, json};

/// Connections that are held open; fewer where this process may not open as many.
const CROWD: usize = 10_000;
/// Connections that a node serves at once, at most.
const SEATS: usize = 1024;

/// The paths of the API with their methods, and whether they are open to all.
fn operations(api: &Api) -> Vec<(String, String, bool)> {
    let document = api.get("/openapi.json").json();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let security = operation["security"].as_array();
            let open = security.is_some_and(|s| s.contains(&json!({})));
            found.push((method.to_uppercase(), path.clone(), open));
        }
    }
    assert!(found.len() > 20);
    found
}

/// The path with something in place of its parts.
fn filled(path: &str) -> String {
    let path = path.replace("{number}", "0").replace("{height}", "1");
    let path = path.replace("{subject}", "credits:0");
    path.replace("{name}", "x").replace("{id}", "x")
}

/// A value of the metrics.
fn metric(api: &Api, name: &str) -> u64 {
    let text = api.get("/metrics").text();
    let line = text.lines().find(|l| l.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("no metric {name}")).split(' ').nth(1).unwrap().parse().unwrap()
}

/// Asserts that the node makes another block.
#[track_caller]
fn assert_alive(api: &Api) {
    let height = |a: &Api| a.get("/api/status").json()["height"].as_u64().unwrap();
    let before = height(api);
    until("another block", || (height(api) > before).then_some(()));
    assert!(!api.node.log().contains("panicked"), "{}", api.node.log());
}

/// Sends bytes as they are, and gives all that comes back until the server hangs up.
fn raw(api: &Api, bytes: &[u8]) -> Vec<u8> {
    sent(api, bytes, false)
}

fn sent(api: &Api, bytes: &[u8], then_gone: bool) -> Vec<u8> {
    let mut socket = TcpStream::connect(&api.http).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = socket.write_all(bytes);
    if then_gone {
        // The server sees that nothing more comes, and does not wait for it.
        let _ = socket.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// The statuses of all answers in a stream of bytes.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    let heads = text.match_indices("HTTP/1.");
    heads.filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok()).collect()
}

#[test]
fn every_route_of_the_document_but_the_open_ones_needs_the_right_token() {
    let api = Api::start("tokens");
    let other = Node::up(api.dir.join("other"));
    let foreign = std::fs::read_to_string(other.data.join("token")).unwrap();
    let (token, host) = (api.token.clone(), api.http.clone());
    let flipped: String = token.chars().rev().collect();
    let wrong = [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        format!("Bearer {}", &token[..63]),
        format!("Bearer {token}0"),
        format!("Bearer {}", token.to_uppercase()),
        format!("Bearer {flipped}"),
        format!("Bearer {}", foreign.trim()),
        format!("Bearer {token} {token}"),
        format!("Basic {token}"),
        token.clone(),
        format!("Bearer {}", "0".repeat(8_000)),
    ];
    let mut guarded = 0;
    for (method, path, open) in operations(&api) {
        let path = filled(&path);
        let send = |path: &str, more: &[(&str, &str)]| {
            let headers = [&[("host", host.as_str())], more].concat();
            api.send(&method, path, &headers, b"")
        };
        if open {
            let answer = send(&path, &[]);
            assert!(answer.status < 400, "{method} {path}: {answer:?}");
            continue;
        }
        guarded += 1;
        for value in &wrong {
            let answer = send(&path, &[("authorization", value)]);
            assert_eq!(answer.refused(401), "invalid_api_key", "{method} {path} {value:?}");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
        for header in ["x-api-key", "proxy-authorization", "x-token"] {
            assert_eq!(send(&path, &[(header, &api.bearer())]).status, 401, "{path} {header}");
        }
        assert_eq!(send(&path, &[("cookie", &format!("token={token}"))]).status, 401);
        assert_eq!(send(&format!("{path}?token={token}&api_key={token}"), &[]).status, 401);
        let right = api.bearer();
        let twice = [("authorization", "Bearer x"), ("authorization", right.as_str())];
        assert_eq!(send(&path, &twice).status, 401, "{method} {path}: two tokens");
    }
    assert!(guarded > 20, "{guarded}");
    assert_alive(&api);
}

#[test]
fn a_login_code_is_not_guessed_and_a_used_one_is_worth_nothing() {
    let api = Api::start("codes");
    let made = api.post("/api/login-code", b"").json()["code"].as_str().unwrap().to_string();
    let mut random = Random::new(seed());
    let (host, refused) = (api.http.clone(), metric(&api, "anthill_http_refused_total"));
    let mut socket = TcpStream::connect(&api.http).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let guesses = 2_000;
    // One connection, one guess after the other, among them all but the right code.
    let mut guess = |code: &str| {
        let head = format!("GET /?code={code} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        read_answer(&mut socket)
    };
    for i in 0..guesses {
        let mut code: Vec<char> = made.chars().collect();
        let at = random.below(code.len() as u64) as usize;
        let digit = char::from_digit(random.below(16) as u32, 16).unwrap();
        match i % 4 {
            0 => code.truncate(at),
            1 => code.push(digit),
            2 => code[at] = if code[at] == digit { 'g' } else { digit },
            _ => code.iter_mut().for_each(|c| *c = c.to_ascii_uppercase()),
        }
        let code: String = code.into_iter().collect();
        if code == made {
            continue;
        }
        let answer = guess(&code);
        assert_eq!((answer.status, answer.header("set-cookie")), (401, ""), "{code}");
    }
    assert!(metric(&api, "anthill_http_refused_total") >= refused + guesses / 2);
    assert_eq!(guess(&made).status, 303);
    assert_eq!(guess(&made).status, 401);
    assert_alive(&api);
}

/// Reads one answer of a connection that stays open.
fn read_answer(socket: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut one = [0; 1];
    while !bytes.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut one).unwrap();
        bytes.push(one[0]);
    }
    let mut answer = Answer::parse(&bytes);
    let mut body = vec![0; answer.header("content-length").parse().unwrap_or(0)];
    socket.read_exact(&mut body).unwrap();
    answer.body = body;
    answer
}

#[test]
fn oversized_bodies_are_refused_on_every_route_however_they_are_sent() {
    let api = Api::start("sizes");
    let (host, bearer) = (api.http.clone(), api.bearer());
    let head = |method: &str, path: &str, more: &str| {
        let common = format!("host: {host}\r\nauthorization: {bearer}\r\nconnection: close");
        format!(
            "{method} {path} HTTP/1.1\r\n{common}\r\ncontent-type: application/json\r\n{more}\r\n\r\n"
        )
    };
    let chunk = [format!("{:x}\r\n", 1 << 20).as_bytes(), &[b' '; 1 << 20][..], b"\r\n"].concat();
    let endless = chunk.repeat(9);
    for (method, path, _) in operations(&api) {
        if method != "POST" {
            continue;
        }
        for length in ["8388609", "9223372036854775807"] {
            let sent = head(&method, &path, &format!("content-length: {length}"));
            assert_eq!(statuses(&raw(&api, sent.as_bytes())), [413], "{path} {length}");
        }
        for length in ["-1", "x", "18446744073709551616", "1, 2", "0x10", "+1"] {
            let sent = head(&method, &path, &format!("content-length: {length}"));
            assert_eq!(statuses(&raw(&api, sent.as_bytes())), [400], "{path} {length}");
        }
        let sent = head(&method, &path, "transfer-encoding: chunked").into_bytes();
        let said = statuses(&raw(&api, &[&sent[..], &endless].concat()));
        // Routes that take no body do not read it.
        let takes_none = ["pause", "resume", "login-code"].iter().any(|p| path.ends_with(p));
        assert_eq!(said, if takes_none { [200] } else { [413] }, "{path}");
    }
    assert_alive(&api);
}

#[test]
fn slow_clients_are_hung_up_on_while_others_are_served() {
    let api = Api::start("slow");
    let (host, bearer) = (api.http.clone(), api.bearer());
    let connect = || {
        let socket = TcpStream::connect(&api.http).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let silent = connect();
    let mut head = connect();
    let mut body = connect();
    let sent = format!(
        "POST /api/ask HTTP/1.1\r\nhost: {host}\r\nauthorization: {bearer}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"
    );
    body.write_all(sent.as_bytes()).unwrap();
    // Asks for much, and reads nothing of it.
    let mut deaf = connect();
    let asked = format!("GET /assets/uPlot.esm.js HTTP/1.1\r\nhost: {host}\r\n\r\n");
    deaf.set_nonblocking(true).unwrap();
    while deaf.write_all(asked.as_bytes()).is_ok() {}
    deaf.set_nonblocking(false).unwrap();

    // A byte now and then does not help: there is one limit for the whole head, and for the body.
    let dribble = |mut socket: TcpStream, bytes: &'static [u8]| {
        std::thread::spawn(move || {
            for byte in bytes.iter().cycle() {
                if socket.write_all(&[*byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        })
    };
    head.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    let writers = [
        dribble(head.try_clone().unwrap(), b"x-slow: y\r\n"),
        dribble(body.try_clone().unwrap(), b" "),
    ];
    let gone = |mut socket: TcpStream| {
        let mut said = Vec::new();
        let _ = socket.read_to_end(&mut said);
        said
    };
    let readers = [silent, head].map(|s| std::thread::spawn(move || gone(s)));
    while !readers.iter().all(std::thread::JoinHandle::is_finished) {
        assert_eq!(api.get("/api/status").status, 200);
        std::thread::sleep(Duration::from_millis(100));
    }
    for reader in readers {
        let said = statuses(&reader.join().unwrap());
        assert!(said.iter().all(|status| *status == 408), "{said:?}");
    }
    let said = gone(body);
    assert_eq!(Answer::parse(&said).refused(408), "timeout");
    writers.into_iter().for_each(|w| w.join().unwrap());
    // The deaf one has been given up too: all that is open now is the connection that asks.
    until("the stalled connection is closed", || {
        (metric(&api, "anthill_http_connections_open") <= 1).then_some(())
    });
    drop(deaf);
    assert_alive(&api);
}

/// Raises this process' own limit of open files and gives it.
fn open_files() -> usize {
    anthill_node::files::raise_limit().unwrap().min(1 << 20) as usize
}

#[test]
fn ten_thousand_connections_keep_nobody_out() {
    let api = Api::start("crowd");
    let crowd = CROWD.min(open_files().saturating_sub(200));
    println!("{crowd} connections");
    let half = format!("GET /api/status HTTP/1.1\r\nhost: {}\r\n", api.http);
    let whole = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", api.http);
    let mut held = Vec::new();
    let mut served = 0;
    for i in 0..crowd {
        let mut socket = TcpStream::connect(&api.http).unwrap();
        // Some say nothing, some half a request, some one that is answered. Some are gone already.
        let _ = socket.write_all([b"", half.as_bytes(), whole.as_bytes()][i % 3]);
        held.push(socket);
        if i % 100 == 0 {
            assert_eq!(api.get("/api/status").status, 200, "after {i} connections");
            served += 1;
        }
    }
    // Those that were told to leave do so.
    let open = until("no more than the seats are taken", || {
        let open = metric(&api, "anthill_http_connections_open") as usize;
        (open <= SEATS).then_some(open)
    });
    let files = api.node.open_files();
    let evicted = metric(&api, "anthill_http_connections_evicted_total") as usize;
    println!(
        "{served} requests served meanwhile; {open} seats taken, {evicted} connections gave way, \
         {files:?} files open"
    );
    assert!(files.is_none_or(|f| f < SEATS + 300), "{files:?}");
    assert!(evicted >= crowd - SEATS);
    assert_eq!(metric(&api, "anthill_http_connections_turned_away_total"), 0);
    assert_alive(&api);
    drop(held);
    until("all seats are free again", || {
        (metric(&api, "anthill_http_connections_open") <= 1).then_some(())
    });
}

#[test]
fn a_node_with_few_files_keeps_room_for_its_work_and_turns_the_rest_away() {
    let dir = Dir::new("files");
    let mut node = Node::new(dir.join("node"));
    node.within = ["prlimit", "--nofile=100:100"].map(String::from).to_vec();
    let up = ["up", "--fast", "--quiet", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    node.run(&up).fails(1, &["only 100 files", "a node needs 256", "ulimit -n 4096"]);
    node.within[1] = "--nofile=300:300".into();
    node.start(&["up", "--fast", "--quiet"]);
    let api = Api::of(dir, node);
    let (host, bearer) = (&api.http, api.bearer());
    // With 300 files there are 22 seats: listeners to events take them all, for as long as they like.
    let listen =
        format!("GET /api/events HTTP/1.1\r\nhost: {host}\r\nauthorization: {bearer}\r\n\r\n");
    let mut listeners: Vec<TcpStream> = Vec::new();
    let refused = loop {
        let mut socket = TcpStream::connect(&api.http).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(listen.as_bytes()).unwrap();
        let mut start = [0; 12];
        socket.read_exact(&mut start).unwrap();
        if start.ends_with(b"503") {
            let mut rest = start.to_vec();
            socket.read_to_end(&mut rest).unwrap();
            break Answer::parse(&rest);
        }
        assert!(start.ends_with(b"200"));
        listeners.push(socket);
    };
    assert_eq!(refused.refused(503), "unavailable");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(listeners.len(), 22);
    // The node works on: the listeners hear of new blocks.
    let mut heard = String::new();
    while heard.matches(r#""kind":"block""#).count() < 3 {
        let mut buffer = [0; 4096];
        let n = listeners[0].read(&mut buffer).unwrap();
        assert!(n > 0, "{heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    listeners.truncate(10);
    until("a seat is free", || {
        let answer = api.get("/api/status");
        (answer.status == 200).then_some(())
    });
    assert_alive(&api);
}

/// Requests that are no proper HTTP, and what may be said to them: nothing, or one of these.
fn malformed(host: &str, bearer: &str) -> Vec<(&'static str, Vec<u8>, Vec<u16>)> {
    let get = |lines: &str| {
        format!(
            "GET /api/status HTTP/1.1\r\nhost: {host}\r\nauthorization: {bearer}\r\n{lines}\r\n"
        )
        .into_bytes()
    };
    let long = "a".repeat(20_000);
    let many: String = (0..100).map(|i| format!("x-{i}: y\r\n")).collect();
    vec![
        ("garbage", b"\x00\x01\x02\xff\xfe garbage\r\n\r\n".to_vec(), vec![400]),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), vec![400]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), vec![400, 505]),
        ("HTTP/0.9", b"GET /api/status\r\n\r\n".to_vec(), vec![400]),
        ("HTTP/9.9", b"GET / HTTP/9.9\r\n\r\n".to_vec(), vec![400, 505]),
        ("no host", b"GET /api/status HTTP/1.1\r\n\r\n".to_vec(), vec![400, 403]),
        ("HTTP/1.0", b"GET /api/status HTTP/1.0\r\n\r\n".to_vec(), vec![403]),
        ("long line", get(&format!("x: {long}\r\n")), vec![431]),
        ("many lines", get(&many), vec![431]),
        ("long path", format!("GET /{long} HTTP/1.1\r\n\r\n").into_bytes(), vec![431, 414]),
        ("longer", vec![b'A'; 1 << 20], vec![400, 431]),
        ("bad name", get("bad name: x\r\n"), vec![400]),
        ("no colon", get("nocolon\r\n"), vec![400]),
        ("NUL", get("x: a\0b\r\n"), vec![400]),
        ("folded", get("x: a\r\n b\r\n"), vec![400]),
        ("bare CR", get("x: a\rb\r\n"), vec![400]),
        ("two lengths", get("content-length: 1\r\ncontent-length: 2\r\n"), vec![400]),
        ("coding", get("transfer-encoding: gzip\r\n"), vec![400]),
        ("coding order", get("transfer-encoding: chunked, identity\r\n"), vec![400]),
        ("bytes in path", b"GET /\xff\xfe HTTP/1.1\r\n\r\n".to_vec(), vec![400]),
        ("bytes in host", b"GET / HTTP/1.1\r\nhost: \xff\xfe\r\n\r\n".to_vec(), vec![400, 403]),
        ("space in path", b"GET /a b HTTP/1.1\r\n\r\n".to_vec(), vec![400]),
        ("connect", format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\n\r\n").into(), vec![404, 405, 401]),
        ("trace", format!("TRACE / HTTP/1.1\r\nhost: {host}\r\n\r\n").into(), vec![405]),
        (
            "another host in the line",
            format!("GET http://evil.example/api/status HTTP/1.1\r\nhost: {host}\r\nauthorization: {bearer}\r\n\r\n").into(),
            vec![403],
        ),
        (
            "another host in the head",
            format!("GET http://{host}/api/status HTTP/1.1\r\nhost: evil.example\r\nauthorization: {bearer}\r\n\r\n").into(),
            vec![403],
        ),
    ]
}

#[test]
fn bytes_that_are_no_http_are_refused() {
    let api = Api::start("bytes");
    let (host, bearer) = (api.http.clone(), api.bearer());
    // All at once: the server waits for more of those that might go on.
    std::thread::scope(|scope| {
        for (what, bytes, allowed) in malformed(&host, &bearer) {
            let api = &api;
            scope.spawn(move || {
                let said = statuses(&raw(api, &bytes));
                let fits = said.len() <= 1 && said.iter().all(|status| allowed.contains(status));
                assert!(fits, "{what}: {said:?}, and not {allowed:?}");
            });
        }
    });
    assert_alive(&api);
}

/// A second request that hides in the body of the first is never carried out.
#[test]
fn no_request_is_smuggled_in_another() {
    let api = Api::start("smuggle");
    let (host, bearer) = (api.http.clone(), api.bearer());
    let hidden =
        format!("POST /api/pause HTTP/1.1\r\nhost: {host}\r\nauthorization: {bearer}\r\n\r\n");
    let (chunk, length) = (format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len()), hidden.len());
    let chunked_tail = format!("0\r\n\r\n{hidden}");
    let cases = [
        ("content-length: LEN\r\ntransfer-encoding: chunked", chunked_tail.as_str()),
        ("transfer-encoding: chunked\r\ncontent-length: LEN", chunked_tail.as_str()),
        ("transfer-encoding: chunked\r\ncontent-length: 5", chunked_tail.as_str()),
        ("transfer-encoding : chunked\r\ncontent-length: LEN", hidden.as_str()),
        ("transfer-encoding: xchunked\r\ncontent-length: LEN", hidden.as_str()),
        ("transfer-encoding: chunked\r\ntransfer-encoding: identity", chunk.as_str()),
        ("transfer-encoding:\x0bchunked\r\ncontent-length: LEN", hidden.as_str()),
        ("content-length: 0\r\ncontent-length: LEN", hidden.as_str()),
        ("content-length: LEN", hidden.as_str()),
        ("transfer-encoding: chunked", chunk.as_str()),
    ];
    let try_one = |method: &str, path: &str, lines: &str, body: &str| {
        let lines = lines.replace("LEN", &length.to_string());
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n\r\n");
        let said = statuses(&raw(&api, format!("{head}{body}").as_bytes()));
        assert!(said.len() <= 1, "{method} {path} {lines:?}: {said:?}");
    };
    // All at once: the server waits for more on those that it keeps open.
    std::thread::scope(|scope| {
        for (lines, body) in cases {
            for (method, path) in [("POST", "/api/ask"), ("GET", "/healthz"), ("POST", "/nowhere")]
            {
                let try_one = &try_one;
                scope.spawn(move || try_one(method, path, lines, body));
            }
        }
    });
    assert_eq!(api.get("/api/status").json()["paused"], false);
    assert_alive(&api);
}

#[test]
fn random_bytes_and_altered_requests_never_make_the_server_fail() {
    let api = Api::start("fuzz");
    let mut random = Random::new(seed());
    let (host, bearer) = (api.http.clone(), api.bearer());
    let json = r#"{"question":"x","k":3}"#;
    let proper = format!(
        "POST /api/ask HTTP/1.1\r\nhost: {host}\r\nauthorization: {bearer}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
        json.len()
    )
    .into_bytes();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..1_500 {
        let mut bytes = proper.repeat(1 + random.below(3) as usize);
        for _ in 0..random.below(12).min(bytes.len() as u64 / 2) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(4) {
                0 => bytes[at] = random.below(256) as u8,
                1 => bytes.insert(at, random.below(256) as u8),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(32)),
            }
        }
        for status in statuses(&sent(&api, &bytes, true)) {
            *seen.entry(status).or_insert(0) += 1;
        }
    }
    println!("{seen:?}");
    assert!(seen.keys().all(|status| *status < 500), "{seen:?}");
    assert!(seen.len() > 2, "{seen:?}");
    assert_alive(&api);
}

/// Anybody can send datagrams to the port where nodes talk to each other.
#[test]
fn datagrams_that_are_no_messages_do_not_stop_two_nodes() {
    let dir = Dir::new("datagrams");
    let first = Node::up(dir.join("first"));
    let second = Node::joined(dir.join("second"), &first.ticket());
    let mut random = Random::new(seed());
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for i in 0..50_000 {
        let mut bytes: Vec<u8> =
            (0..1 + random.below(1_400)).map(|_| random.below(256) as u8).collect();
        // Half of them look like the first packet of a QUIC connection, of this version or another.
        if i % 2 == 0 && bytes.len() > 6 {
            bytes[0] = 0xc0 | random.below(64) as u8;
            bytes[1..5].copy_from_slice(&[0, 0, 0, random.below(3) as u8]);
            bytes[5] = random.below(32) as u8;
        }
        let node = if i % 3 == 0 { &second } else { &first };
        let _ = socket.send_to(&bytes, node.listen());
    }
    let height = |node: &Node| node.status().unwrap()["height"].as_u64().unwrap();
    let before = height(&first);
    for node in [&first, &second] {
        until("both go on", || (height(node) > before + 2).then_some(()));
        assert_eq!(node.status().unwrap()["peers"], 1);
        assert!(!node.log().contains("panicked"), "{}", node.log());
    }
}

/// The totals walk the whole state; asking for them again and again must not stop the chain.
#[test]
fn asking_for_the_bank_without_end_does_not_stop_the_chain() {
    let api = Api::start("bank");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let bank = api.get("/api/credits?newest=1000").json();
                    let sum = common::micro(&bank["held"]) + common::micro(&bank["burned"]);
                    assert_eq!(sum, common::micro(&bank["minted"]), "{bank}");
                }
            });
        }
        assert_alive(&api);
    });
    assert_alive(&api);
}

/// Runs where `ANTHILL_PYTHON` names an interpreter that has schemathesis, as in `cargo xtask test`.
#[test]
fn schemathesis_finds_nothing() {
    let Some(python) = std::env::var_os("ANTHILL_PYTHON") else {
        eprintln!("left out: ANTHILL_PYTHON is not set (`cargo xtask test` sets it)");
        return;
    };
    let api = Api::start("schema");
    // Work that the routes can be asked about.
    let folder = common::documents(&api.dir, "docs", 2);
    api.node.ok(&["index", &folder, "--name", "notes"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis_run.py");
    let mut command = std::process::Command::new(python);
    let url = format!("http://{}", api.http);
    let examples = common::setting("ANTHILL_EXAMPLES").unwrap_or(20).to_string();
    let seed = common::setting("ANTHILL_SEED").unwrap_or(1).to_string();
    command.args([script, &url, &api.token, &seed, &examples]);
    command.current_dir(api.dir.path());
    let output = run_with(&mut command, b"");
    println!("{}", output.text());
    assert_eq!(output.code, 0, "{}\n{}", output.text(), output.err);
    let (status, jobs): (Value, Value) =
        (api.get("/api/status").json(), api.get("/api/jobs").json());
    assert!(status["height"].as_u64().unwrap() > 0 && !jobs.as_array().unwrap().is_empty());
    assert_alive(&api);
}
