//! The HTTP API of a running node, asked over plain sockets, and by the OpenAI Python client.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use common::api::{Answer, Api};
use common::{PATIENCE, micro, run_with, until};
use serde_json::{Value, json};

const MODEL: &str = "anthill-static-256";

#[test]
fn only_the_token_and_the_cookie_open() {
    let api = Api::start("token");
    let host = ("host", api.http.as_str());
    let with = |headers: &[(&str, &str)]| api.send("GET", "/api/status", headers, b"");

    let none = with(&[host]);
    assert_eq!(none.refused(401), "invalid_api_key");
    assert_eq!(none.header("www-authenticate"), "Bearer");
    let almost = format!("Bearer {}0", &api.token[..api.token.len() - 1]);
    for wrong in ["Bearer wrong", "Bearer ", "Basic dTpw", almost.as_str()] {
        if wrong != api.bearer() {
            assert_eq!(with(&[host, ("authorization", wrong)]).refused(401), "invalid_api_key");
        }
    }
    assert_eq!(with(&[host, ("cookie", &format!("anthill={}", api.token))]).status, 401);
    assert_eq!(api.send("POST", "/api/pause", &[host], b"").status, 401);
    assert_eq!(api.send("GET", "/openapi.json", &[host], b"").status, 401);
    assert_eq!(api.get("/api/status").status, 200);

    // Open to all: health, and on loopback the metrics.
    assert_eq!(api.send("GET", "/healthz", &[host], b"").text(), "ok\n");
    assert_eq!(api.send("GET", "/readyz", &[host], b"").text(), "ready\n");
    let metrics = api.send("GET", "/metrics", &[host], b"");
    assert!(metrics.text().contains("\nanthill_height "), "{}", metrics.text());
}

#[test]
fn a_login_code_buys_a_cookie_once() {
    let api = Api::start("cookie");
    let host = ("host", api.http.as_str());
    let code = api.post("/api/login-code", b"").json()["code"].as_str().unwrap().to_string();
    let link = format!("/?code={code}");

    let first = api.send("GET", &link, &[host], b"");
    assert_eq!((first.status, first.header("location")), (303, "/"));
    let set = first.header("set-cookie");
    assert!(set.contains("; HttpOnly") && set.contains("; SameSite=Strict"), "{set}");
    assert!(!set.contains(&api.token), "the cookie is not the token");
    let cookie = ("cookie", set.split(';').next().unwrap());
    assert_eq!(api.send("GET", "/api/status", &[host, cookie], b"").status, 200);

    // A used code opens nothing; the page says how to get a fresh link.
    let second = api.send("GET", &link, &[host], b"");
    assert_eq!((second.status, second.header("set-cookie")), (401, ""));
    assert!(second.text().contains("This browser is not signed in"));
    assert_eq!(api.send("GET", "/?code=0", &[host], b"").status, 401);
    // In a browser that is signed in, the old link opens the page.
    assert_eq!(api.send("GET", &link, &[host, cookie], b"").status, 303);

    // The page's own requests carry the cookie and an Origin.
    let origin = format!("http://{}", api.http);
    let own = [host, cookie, ("origin", origin.as_str())];
    assert_eq!(api.send("POST", "/api/pause", &own, b"").json()["paused"], true);
    assert_eq!(api.send("POST", "/api/resume", &own, b"").json()["paused"], false);
    let foreign = [host, cookie, ("origin", "http://evil.example")];
    assert_eq!(api.send("POST", "/api/pause", &foreign, b"").refused(403), "forbidden");
}

#[test]
fn other_hosts_and_origins_are_refused() {
    let api = Api::start("host");
    let bearer = api.bearer();
    let token = ("authorization", bearer.as_str());
    let port = api.http.rsplit(':').next().unwrap().to_string();
    let status = |headers: &[(&str, &str)]| api.send("GET", "/api/status", headers, b"").status;

    for name in ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"] {
        assert_eq!(status(&[("host", &format!("{name}:{port}")), token]), 200, "{name}");
    }
    for wrong in ["evil.example", "localhost", "127.0.0.1:1", "localhost.evil.example", ""] {
        assert_eq!(status(&[("host", wrong), token]), 403, "{wrong}");
    }
    assert_eq!(status(&[("host", &format!("evil.example:{port}")), token]), 403);
    assert_eq!(status(&[("host", &api.http), ("host", "evil.example"), token]), 403);
    // Without the token too, and on open routes: rebinding finds no door.
    let rebound = api.send("GET", "/healthz", &[("host", "evil.example")], b"");
    assert_eq!(rebound.refused(403), "forbidden");
    assert_eq!(api.send("GET", "/", &[("host", "evil.example")], b"").status, 403);

    let host = ("host", api.http.as_str());
    let own = format!("http://localhost:{port}");
    assert_eq!(status(&[host, token, ("origin", &own)]), 200);
    let secure = format!("https://{}", api.http);
    for wrong in ["http://evil.example", "null", "http://127.0.0.1:1", secure.as_str()] {
        assert_eq!(status(&[host, token, ("origin", wrong)]), 403, "{wrong}");
    }
}

#[test]
fn bad_requests_get_errors_that_clients_understand() {
    let api = Api::start("errors");
    let embed = |body: &str| api.post("/v1/embeddings", body.as_bytes());
    for malformed in ["{", "", "[1,2", "\u{1f41c}", "{\"input\":}"] {
        assert_eq!(embed(malformed).refused(400), "invalid_request", "{malformed}");
    }
    for shape in ["{}", "[]", r#"{"model":1,"input":"x"}"#, r#"{"model":"m","input":[1,2]}"#] {
        assert_eq!(embed(shape).refused(400), "invalid_request", "{shape}");
    }
    let deep = format!(r#"{{"model":"m","input":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(embed(&deep).refused(400), "invalid_request");

    let bearer = api.bearer();
    let plain = [("host", api.http.as_str()), ("authorization", &bearer)];
    let untyped = api.send("POST", "/v1/embeddings", &plain, b"{}");
    assert_eq!(untyped.refused(415), "unsupported_media_type");

    let big = vec![b' '; 9 << 20];
    assert_eq!(api.post("/v1/embeddings", &big).refused(413), "too_large");
    assert_eq!(api.post("/api/ask", &big).refused(413), "too_large");

    assert_eq!(api.get("/no/such/route").refused(404), "unknown_route");
    assert_eq!(api.get("/assets/none.js").refused(404), "not_found");
    assert_eq!(api.get("/assets/..%2f..%2fCargo.toml").refused(404), "not_found");
    assert_eq!(api.post("/api/status", b"").refused(405), "method_not_allowed");
    for path in [
        "/api/credits/x",
        "/api/credits/-1",
        "/api/epochs/x",
        "/api/tasks/x",
        "/api/proofs/x",
        "/api/credits?newest=x",
        "/api/jobs/%ff",
    ] {
        assert_eq!(api.get(path).refused(400), "invalid_request", "{path}");
    }
    for path in ["/api/credits/99", "/api/epochs/99", "/api/jobs/none", "/api/proofs/credits:99"] {
        assert_eq!(api.get(path).refused(404), "not_found", "{path}");
    }
    for (path, body) in [
        ("/api/limit", r#"{"cpu":0}"#),
        ("/api/limit", r#"{"cpu":101}"#),
        ("/api/bench", r#"{"tasks":0}"#),
        ("/api/tickets", r#"{"bond":"1.0000001","valid_seconds":60}"#),
        ("/api/tickets", r#"{"bond":"1","valid_seconds":0}"#),
        ("/v1/tx", r#"{"type":"send","to":"zz","amount":"1"}"#),
        ("/api/index", r#"{"path":"/","name":"../up"}"#),
        ("/api/ask", r#"{"question":"x","k":0}"#),
    ] {
        assert_eq!(api.post(path, body.as_bytes()).refused(400), "invalid_request", "{path}");
    }
    let nowhere = api.post("/api/index", br#"{"path":"/no/such/folder","name":"a"}"#);
    assert_eq!(nowhere.refused(404), "not_found");
    // JSON does not tell 50 from 50.0; 50.5 is no percentage.
    assert_eq!(api.post("/api/limit", br#"{"cpu":50.0}"#).json()["cpu"], 50);
    assert_eq!(api.post("/api/limit", br#"{"cpu":50.5}"#).refused(400), "invalid_request");
    assert_eq!(api.get("/api/credits?newest=1001").refused(400), "invalid_request");
    // After all that, the node works as before.
    assert_eq!(api.get("/api/status").status, 200);
}

#[test]
fn the_openapi_document_is_whole_and_its_routes_exist() {
    let api = Api::start("openapi");
    let document = api.get("/openapi.json").json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    check_refs(&document, &document);

    let mut ids = BTreeSet::new();
    let mut routes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            routes += 1;
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_string()), "{path}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(!responses.is_empty(), "{path}");
            for (status, response) in responses {
                assert!(response["description"].is_string(), "{path} {status}");
            }
            let named: BTreeSet<&str> =
                path.split('{').skip(1).filter_map(|p| p.split('}').next()).collect();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let told = parameters.iter().filter(|p| p["in"] == "path");
            assert_eq!(named, told.map(|p| p["name"].as_str().unwrap()).collect(), "{path}");
            if path == "/api/events" {
                continue; // Never ends; the next test reads it.
            }
            let real = path.replace("{number}", "0").replace("{subject}", "credits:0");
            let real = real.replace("{name}", "x").replace("{id}", "x");
            let answer = send_as(&api, method, &real);
            assert!(answer.status < 500, "{method} {path}: {answer:?}");
            assert_ne!(answer.status, 405, "{method} {path}");
            if answer.status >= 400 {
                assert_ne!(answer.json()["error"]["code"], "unknown_route", "{method} {path}");
            }
        }
    }
    assert!(routes > 20, "{routes} routes");
}

/// A request with a body that no route does anything for.
fn send_as(api: &Api, method: &str, path: &str) -> Answer {
    match method {
        "get" => api.get(path),
        "delete" => {
            let bearer = api.bearer();
            let headers = [("host", api.http.as_str()), ("authorization", bearer.as_str())];
            api.send("DELETE", path, &headers, b"")
        }
        _ => api.post(path, b"{}"),
    }
}

/// Every `$ref` points at something in the document.
fn check_refs(value: &Value, document: &Value) {
    match value {
        Value::Object(map) => {
            if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                let pointer = target.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{target} is missing");
            }
            map.values().for_each(|v| check_refs(v, document));
        }
        Value::Array(list) => list.iter().for_each(|v| check_refs(v, document)),
        _ => {}
    }
}

#[test]
fn the_page_and_all_its_files_are_served() {
    let api = Api::start("dashboard");
    let page = api.send("GET", "/", &[("host", &api.http)], b"");
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let mut wanted: Vec<String> = page
        .text()
        .split("\"/assets/")
        .skip(1)
        .map(|p| p.split('"').next().unwrap().to_string())
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let file = api.send("GET", &format!("/assets/{name}"), &[("host", &api.http)], b"");
        assert_eq!(file.status, 200, "{name}");
        assert_eq!(file.header("x-content-type-options"), "nosniff");
        if name.ends_with(".js") {
            assert!(file.header("content-type").starts_with("text/javascript"));
            let text = file.text();
            let imports = text.split("from './").skip(1).map(|p| p.split('\'').next().unwrap());
            wanted.extend(imports.map(str::to_string));
        }
    }
    assert!(seen.len() >= 10, "{seen:?}");
}

/// Listens to the events until all these words were said.
fn hear(api: &Api, words: &[&str], begin: impl FnOnce()) {
    let mut events = TcpStream::connect(&api.http).unwrap();
    events.set_read_timeout(Some(PATIENCE)).unwrap();
    let (host, bearer) = (&api.http, api.bearer());
    let head =
        format!("GET /api/events HTTP/1.1\r\nhost: {host}\r\nauthorization: {bearer}\r\n\r\n");
    events.write_all(head.as_bytes()).unwrap();
    let mut heard = String::new();
    let mut listen = |word: &str| {
        while !heard.contains(word) {
            let mut buffer = [0; 4096];
            let n = events.read(&mut buffer).unwrap();
            assert!(n > 0, "the stream ended: {heard}");
            heard.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    };
    listen("content-type: text/event-stream");
    begin();
    words.iter().for_each(|word| listen(word));
}

/// What the dashboard does: begin an index, hear how it goes, ask, and see who was paid for what.
#[test]
fn a_job_is_heard_asked_and_paid() {
    let api = Api::start("job");
    let notes = api.dir.join("notes");
    std::fs::create_dir_all(&notes).unwrap();
    let write = |name: &str, text: &str| std::fs::write(notes.join(name), text).unwrap();
    write("key.md", "To restore a key, open the backup with its password.");
    write("tea.md", "Green tea is brewed with water below boiling.");
    let words = [
        r#""kind":"job""#,
        r#""kind":"task""#,
        r#""phase":"provisional""#,
        r#""stage":"ready""#,
        r#""kind":"block""#,
        r#""phase":"final""#,
        r#""kind":"payment""#,
        r#""kind":"epoch""#,
    ];
    hear(&api, &words, || {
        let begun = api.post_json("/api/index", json!({ "path": notes, "name": "notes" }));
        assert_eq!(begun.status, 202, "{}", begun.text());
    });

    let job = api.get("/api/jobs").json()[0].clone();
    assert_eq!((&job["files"], &job["accepted"]), (&json!(2), &job["tasks"]), "{job}");
    let question = json!({ "question": "how do I restore a key?", "k": 1 });
    let answer = api.post_json("/api/ask", question).json()["answers"][0].clone();
    assert_eq!(answer["path"], "key.md", "{answer}");
    let task = api.get(&format!("/api/tasks/{}", answer["task"].as_str().unwrap())).json();
    assert_eq!(task["phase"], "final", "{task}");
    assert_eq!(task["replicas"][0]["node"], answer["workers"][0]);

    let credits = api.get("/api/credits?newest=5").json();
    let sum = micro(&credits["held"]) + micro(&credits["burned"]);
    assert_eq!(sum, micro(&credits["minted"]), "{credits}");
    assert!(credits["newest"].as_array().unwrap().len() <= 5);
    let payment = api.get("/api/credits/0").json();
    assert_eq!((&payment["number"], &payment["reason"]), (&json!(0), &json!("task")));
    assert_eq!(payment["node"], answer["workers"][0]);

    // The proof that the page offers is one that a stranger can check.
    let proof = until("the payment can be proved", || {
        let answer = api.get("/api/proofs/credits:0");
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(proof.header("content-type"), "application/cbor");
    let checked = run_with(common::anthill().args(["verify", "-", "--json"]), &proof.body);
    assert_eq!(checked.code, 0, "{checked:?}");
}

#[test]
fn embeddings_are_equal_as_numbers_and_base64() {
    let api = Api::start("embeddings");
    let ask = |format: &str, input: Value| {
        let body = json!({ "model": MODEL, "input": input, "encoding_format": format });
        api.post_json("/v1/embeddings", body).json()
    };
    let floats = ask("float", json!(["one text", "another"]));
    let base64 = ask("base64", json!(["one text", "another"]));
    for i in 0..2 {
        let numbers: Vec<f32> = floats["data"][i]["embedding"]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap() as f32)
            .collect();
        assert_eq!(numbers.len(), 256);
        let norm: f32 = numbers.iter().map(|x| x * x).sum();
        assert!((norm - 1.0).abs() < 1e-4, "{norm}");
        let text = base64["data"][i]["embedding"].as_str().unwrap();
        assert_eq!(
            decode_base64(text),
            numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()
        );
    }
    assert_eq!(ask("float", json!("one text"))["data"][0], floats["data"][0]);
    let hex = json!({ "model": MODEL, "input": "x", "encoding_format": "hex" });
    assert_eq!(api.post_json("/v1/embeddings", hex).refused(400), "invalid_request");
    let other = json!({ "model": "other", "input": "x" });
    assert_eq!(api.post_json("/v1/embeddings", other).refused(404), "model_not_found");

    // A paused node says so at once instead of keeping the caller waiting.
    assert_eq!(api.post("/api/pause", b"").status, 200);
    let body = json!({ "model": MODEL, "input": "x" });
    assert_eq!(api.post_json("/v1/embeddings", body.clone()).refused(503), "unavailable");
    assert_eq!(api.post("/api/resume", b"").status, 200);
    assert_eq!(api.post_json("/v1/embeddings", body).status, 200);
}

#[test]
fn large_batches_are_streamed_in_order_and_the_mesh_gives_the_same_bits() {
    let api = Api::start("batches");
    let lines: Vec<String> =
        (0..1500).map(|i| format!("{} line number {i}", "many words ".repeat(i % 17))).collect();
    let ask = |fields: Value| {
        let mut body = json!({ "model": MODEL, "input": lines, "encoding_format": "base64" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        api.post_json("/v1/embeddings", body)
    };
    let streamed = ask(json!({}));
    assert_eq!(streamed.header("transfer-encoding"), "chunked");
    assert_eq!(streamed.header("anthill-truncated"), "0");
    let local = streamed.json();
    let data = local["data"].as_array().unwrap();
    assert_eq!(data.len(), lines.len());
    for (i, item) in data.iter().enumerate() {
        assert_eq!(item["index"], i);
    }
    assert!(local["usage"]["prompt_tokens"].as_u64().unwrap() > 4096 * 2);
    let alone = json!({ "model": MODEL, "input": lines[1499], "encoding_format": "base64" });
    let alone = api.post_json("/v1/embeddings", alone);
    assert!(alone.header("transfer-encoding").is_empty(), "one part is sent whole");
    assert_eq!(alone.json()["data"][0]["embedding"], data[1499]["embedding"]);

    let mesh = ask(json!({ "mesh": true })).json();
    assert_eq!(mesh["data"], local["data"], "tasks give the same bits");
    let parts = mesh["parts"].as_array().unwrap();
    assert!(parts.len() > 2);
    for part in parts {
        assert_eq!(part["task"].as_str().unwrap().len(), 64, "{part}");
        assert!(!part["workers"].as_array().unwrap().is_empty());
    }
    // Cut vectors are unit vectors, to base64 and numbers alike.
    let short = json!({ "model": MODEL, "input": "a few words", "dimensions": 16.0 });
    let short = api.post_json("/v1/embeddings", short).json();
    let numbers = short["data"][0]["embedding"].as_array().unwrap();
    let norm: f64 = numbers.iter().map(|x| x.as_f64().unwrap().powi(2)).sum();
    assert!(numbers.len() == 16 && (norm - 1.0).abs() < 1e-5, "{norm}");
    for dimensions in [json!(0), json!(257), json!(-1), json!(1.5), json!("16")] {
        let body = json!({ "model": MODEL, "input": "x", "dimensions": dimensions });
        assert_eq!(api.post_json("/v1/embeddings", body).refused(400), "invalid_request");
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = (0u32, 0);
    let mut bytes = Vec::new();
    for letter in text.trim_end_matches('=').chars() {
        bits = (bits.0 << 6 | alphabet.find(letter).unwrap() as u32, bits.1 + 6);
        if bits.1 >= 8 {
            bits.1 -= 8;
            bytes.push((bits.0 >> bits.1) as u8);
        }
    }
    bytes
}

/// Runs where `ANTHILL_PYTHON` names an interpreter that has the client, as in `cargo xtask test`.
#[test]
fn the_openai_python_client_works_unchanged() {
    let Some(python) = std::env::var_os("ANTHILL_PYTHON") else {
        eprintln!("left out: ANTHILL_PYTHON is not set (`cargo xtask test` sets it)");
        return;
    };
    let api = Api::start("openai");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openai_client.py");
    let mut command = Command::new(python);
    command.arg(script).arg(format!("http://{}/v1", api.http)).arg(&api.token);
    for proxy in
        ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
    {
        command.env_remove(proxy);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.starts_with("ok "), "{said}\n{failed}");
}
