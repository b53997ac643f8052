//! Chromium's WebGPU compiles every kernel (by tint) and runs the integer ones to the same bits.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anthill_gpu::focus::{Content, Mode, Plan};
use anthill_gpu::{KERNELS, cpu};
use common::Random;
use common::graphs::{self, Case as Graph};
use serde_json::{Value, json};

const PAGE: &str = include_str!("browser.html");
const FOCUS: &str = include_str!("../web/focus.mjs");

/// One dispatch in the browser, and the words that it must give.
struct Case {
    request: Value,
    wanted: Vec<Vec<u32>>,
}

/// Runs where `ANTHILL_CHROMIUM` names a Chromium, as in `cargo xtask test`, or one is in the path.
#[test]
fn the_browser_compiles_every_kernel_and_computes_the_same_bits() {
    let Some(browser) = browser() else {
        eprintln!(
            "left out: no Chromium (`cargo xtask test` installs it, ANTHILL_CHROMIUM names it)"
        );
        return;
    };
    let cases = cases();
    let report = drive(&browser, &work(&cases));
    assert_eq!(report.get("failed"), None, "{report}");
    let messages = report["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 24);
    for kernel in messages {
        assert_eq!(kernel["messages"], json!([]), "tint says of {}", kernel["name"]);
    }
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), cases.len());
    for (case, result) in cases.iter().zip(results) {
        let found: Vec<Vec<u32>> = serde_json::from_value(result.clone()).unwrap();
        assert!(found == case.wanted, "{} {}", case.request["kernel"], case.request["uniform"]);
    }
    println!("{}: {} kernels, {} runs", report["adapter"], messages.len(), cases.len());
}

/// f32 in the browser is near; how many bits agree with the processor is printed, and nobody's promise.
#[test]
fn products_in_the_browser_are_near() {
    let Some(browser) = browser() else {
        eprintln!(
            "left out: no Chromium (`cargo xtask test` installs it, ANTHILL_CHROMIUM names it)"
        );
        return;
    };
    let mut random = Random(22);
    let (m, k, n) = (40, 384, 64);
    let (a, b) = (random.floats(m * k), random.floats(k * n));
    let words = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let case = |kernel: &str, groups: [usize; 3]| {
        let request = json!({
            "kernel": kernel, "uniform": [m, k, n, 0], "inputs": [words(&a), words(&b)],
            "outputs": [m * n], "grid": groups,
        });
        Case { request, wanted: Vec::new() }
    };
    let cases = [
        case("matmul", [n.div_ceil(64), m.div_ceil(64), 1]),
        case("thin_matmul", [n.div_ceil(32), m, 1]),
        case("pinned_matmul", [(m * n).div_ceil(64), 1, 1]),
    ];
    let report = drive(&browser, &work(&cases));
    let exact = cpu::matmul(&a, &b, k, n);
    let in_order = cpu::matmul_in_order(&a, &b, k, n);
    for (case, result) in cases.iter().zip(report["results"].as_array().unwrap()) {
        let found: Vec<Vec<u32>> = serde_json::from_value(result.clone()).unwrap();
        let values: Vec<f32> = found[0].iter().map(|w| f32::from_bits(*w)).collect();
        let off = common::error(&values, &exact);
        assert!(off < 1e-5, "{}: {off}", case.request["kernel"]);
        let equal =
            values.iter().zip(&in_order).filter(|(x, y)| x.to_bits() == y.to_bits()).count();
        let name = &case.request["kernel"];
        println!(
            "{}: {name}: {equal} of {} values have the processor's bits",
            report["adapter"],
            m * n
        );
    }
}

/// Whole runs of focus in the browser, light ones and full ones, give the definition's bits.
#[test]
fn focus_in_the_browser_has_the_definitions_bits() {
    let Some(browser) = browser() else {
        eprintln!(
            "left out: no Chromium (`cargo xtask test` installs it, ANTHILL_CHROMIUM names it)"
        );
        return;
    };
    let mut random = Random(23);
    let mut runs: Vec<(Graph, Mode, u32, u32)> = Vec::new();
    for round in 0..20 {
        let mode = if round % 2 == 0 { Mode::Light } else { Mode::Consensus };
        // Every third is cut to small buffers and short dispatches.
        let (bytes, groups) = if round % 3 == 2 { (4096, 7) } else { (128 << 20, 65_535) };
        runs.push((graphs::case(&mut random, round), mode, bytes, groups));
    }
    runs.push((graphs::case(&mut random, 44), Mode::Light, 20_000, 7));
    let links = graphs::edges(&mut random, 1 << 15, 300_000);
    let large = Graph::new(&mut random, "large", 1 << 15, links);
    runs.push((large, Mode::Light, 128 << 20, 65_535));
    let plans: Vec<_> = runs
        .iter()
        .map(|(case, mode, bytes, groups)| {
            as_json(&Plan::new(&case.problem(), *mode, *bytes, *groups).unwrap())
        })
        .collect();
    let report = drive(&browser, &json!({ "kernels": [], "cases": [], "plans": plans }));
    assert_eq!(report.get("failed"), None, "{report}");
    let ranked = report["ranked"].as_array().unwrap();
    assert_eq!(ranked.len(), runs.len());
    let strings = |values: &[u64]| values.iter().map(u64::to_string).collect::<Vec<_>>();
    for ((case, mode, ..), found) in runs.iter().zip(ranked) {
        let (mut pi, mut residuals) = (case.start.clone(), Vec::new());
        while residuals.last().is_none_or(|last| *last > mode.tolerance()) {
            residuals.push(graphs::reference(case, &mut pi));
        }
        assert_eq!(found["residuals"], json!(strings(&residuals)), "{}", case.name);
        assert!(found["masses"] == json!(strings(&pi)), "{}", case.name);
        assert_eq!(found["converged"], true, "{}", case.name);
        assert_eq!(found["light"], *mode == Mode::Light, "{}", case.name);
    }
    let (large, found) = (&runs[runs.len() - 1].0, &ranked[runs.len() - 1]);
    let (edges, steps) = (large.matrix.sources.len(), found["residuals"].as_array().unwrap().len());
    // As in examples/focus.rs: what a step has to touch.
    let bytes = (edges * 16 + large.start.len() * 64) * steps;
    let seconds = found["milliseconds"].as_f64().unwrap() / 1e3;
    println!(
        "{}: {edges} edges, {steps} steps, {:.1} Medges/s, {:.2} GB/s",
        report["adapter"],
        (edges * steps) as f64 / seconds / 1e6,
        bytes as f64 / seconds / 1e9,
    );
}

fn as_json(plan: &Plan) -> Value {
    let buffers = plan.buffers.iter().map(|content| match content {
        Content::Words(words) => json!(words),
        Content::Zeros(words) => json!(words),
    });
    let dispatches = plan.dispatches.iter().map(|d| {
        json!({
            "kernel": d.kernel, "words": d.words, "buffers": d.buffers,
            "grid": [d.grid.x, d.grid.y, d.grid.z],
        })
    });
    json!({
        "buffers": buffers.collect::<Vec<_>>(), "dispatches": dispatches.collect::<Vec<_>>(),
        "light": plan.mode == Mode::Light, "masses": plan.masses, "mostAhead": plan.most_ahead, "kernels": plan.kernels,
    })
}

/// The report of an error of tint reaches the test: a text that naga takes and WGSL forbids.
#[test]
fn an_error_of_tint_is_seen() {
    let Some(browser) = browser() else {
        eprintln!(
            "left out: no Chromium (`cargo xtask test` installs it, ANTHILL_CHROMIUM names it)"
        );
        return;
    };
    let text = "@group(0) @binding(1) var<storage, read_write> x: array<u64>;
        @compute @workgroup_size(1) fn main() { x[0] = 1lu; }";
    let work = json!({ "kernels": [{ "name": "wide", "text": text }], "cases": [] });
    let report = drive(&browser, &work);
    let messages = report["messages"][0]["messages"].to_string();
    assert!(messages.contains("error"), "{report}");
}

fn browser() -> Option<String> {
    if let Ok(named) = std::env::var("ANTHILL_CHROMIUM") {
        return Some(named);
    }
    let answers = |name: &&str| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|o| o.status.success())
    };
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(answers).map(String::from)
}

fn work(cases: &[Case]) -> Value {
    let kernels: Vec<_> = KERNELS
        .iter()
        .flat_map(|k| k.variants())
        .map(|(name, text)| json!({ "name": name, "text": text }))
        .collect();
    let cases: Vec<_> = cases.iter().map(|c| c.request.clone()).collect();
    json!({ "kernels": kernels, "cases": cases })
}

fn cases() -> Vec<Case> {
    let mut random = Random(21);
    let mut cases = Vec::new();
    for round in 0..50 {
        let form = if round % 2 == 0 { "packed" } else { "plain" };
        cases.push(gemm(&mut random, form));
        cases.push(dots(&mut random, form));
        cases.push(hamming(&mut random));
        cases.push(top_k(&mut random));
    }
    cases
}

fn gemm(random: &mut Random, form: &str) -> Case {
    let (m, words, n) = (random.size(100), random.size(30), random.size(100));
    let (a, b) = (random.words(m * words), random.words(n * words));
    let product = cpu::int8_gemm(&bytes(&a), &bytes(&b), words * 4);
    let request = json!({
        "kernel": format!("int8_gemm_{form}"), "uniform": [m, n, words, 0], "inputs": [a, b],
        "outputs": [m * n], "grid": [n.div_ceil(64), m.div_ceil(64), 1],
    });
    Case { request, wanted: vec![bits(&product)] }
}

fn dots(random: &mut Random, form: &str) -> Case {
    let (rows, words) = (random.size(400), random.size(30));
    let (query, all) = (random.words(words), random.words(rows * words));
    let scores = cpu::int8_gemm(&bytes(&query), &bytes(&all), words * 4);
    let request = json!({
        "kernel": format!("int8_scores_{form}"), "uniform": [rows, words, 0, 0],
        "inputs": [query, all], "outputs": [rows], "grid": [rows.div_ceil(64), 1, 1],
    });
    Case { request, wanted: vec![bits(&scores)] }
}

fn hamming(random: &mut Random) -> Case {
    let (rows, words) = (random.size(400), random.size(30));
    let (query, all) = (random.words(words), random.words(rows * words));
    let scores: Vec<i32> = cpu::hamming(&query, &all).iter().map(|d| -(*d as i32)).collect();
    let request = json!({
        "kernel": "hamming_scores", "uniform": [rows, words, 0, 0], "inputs": [query, all],
        "outputs": [rows], "grid": [rows.div_ceil(64), 1, 1],
    });
    Case { request, wanted: vec![bits(&scores)] }
}

fn top_k(random: &mut Random) -> Case {
    let count = random.size(1024);
    let keep = random.size(count.min(512) as u64);
    let scores: Vec<i32> = random.words(count).iter().map(|w| *w as i32 >> 27).collect();
    let best = cpu::top_k(&scores, keep);
    let request = json!({
        "kernel": "top_k", "uniform": [count, keep, 1, 0], "inputs": [bits(&scores), [0]],
        "outputs": [keep, keep], "grid": [1, 1, 1],
    });
    let values: Vec<i32> = best.iter().map(|n| n.score).collect();
    let ids = best.iter().map(|n| n.row as u32).collect();
    Case { request, wanted: vec![bits(&values), ids] }
}

fn bytes(words: &[u32]) -> Vec<i8> {
    words.iter().flat_map(|w| w.to_le_bytes()).map(u8::cast_signed).collect()
}

fn bits(values: &[i32]) -> Vec<u32> {
    values.iter().map(|v| v.cast_unsigned()).collect()
}

/// A browser that ends with the test.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves the page and its work on loopback until the browser has sent its report.
fn drive(browser: &str, work: &Value) -> Value {
    static TURN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let turn = TURN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let profile =
        std::env::temp_dir().join(format!("anthill-gpu-browser-{}-{turn}", std::process::id()));
    let child = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--no-first-run", "--disable-dev-shm-usage"])
        .arg("--enable-unsafe-webgpu")
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("http://{address}/"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{browser}: {e}"));
    let mut child = Browser(child);
    listener.set_nonblocking(true).unwrap();
    let (sender, reports) = channel();
    // Only keeps a browser that hangs from holding the tests for ever.
    let patience = Instant::now() + Duration::from_secs(300);
    let report = loop {
        assert!(Instant::now() < patience, "{browser} sent no report");
        if let Ok((stream, _)) = listener.accept() {
            // A browser opens connections that it uses late or never: none may hold up the others.
            let (sender, work) = (sender.clone(), work.clone());
            std::thread::spawn(move || answer(stream, &work).map(|report| sender.send(report)));
        }
        if let Ok(report) = reports.recv_timeout(Duration::from_millis(5)) {
            break report;
        }
        assert!(child.0.try_wait().unwrap().is_none(), "{browser} ended without a report");
    };
    drop(child);
    // What the browser left there is of no use; it may still be closing files.
    let _ = std::fs::remove_dir_all(&profile);
    report
}

/// Answers one request; the body of a POST is the report.
fn answer(stream: TcpStream, work: &Value) -> Option<Value> {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request).ok().filter(|n| *n > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (kind, text) = match request.split_whitespace().nth(1) {
        Some("/cases") => ("application/json", work.to_string()),
        Some("/") => ("text/html", PAGE.to_string()),
        Some("/focus.mjs") => ("text/javascript", FOCUS.to_string()),
        _ => ("text/plain", String::new()),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    // The browser may have given up; the next connection tells.
    let _ = reader.get_mut().write_all(format!("{head}{text}").as_bytes());
    request.starts_with("POST /report").then(|| serde_json::from_slice(&body).unwrap())
}
