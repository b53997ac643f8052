//! `cargo xtask wasm`: builds the browser parts and compares them, in Node, wasmtime and Chromium,
//! with the native results.

use std::path::{Path, PathBuf};

use anthill_wasm_check::{
    ALTERED, CONFORMANCE, EMBED, ENCODER, ENCODER_INT8, KERNELS, MERKLE, PROOF, VECTOR, answer,
    pack, vector_request,
};

use crate::run;

const PACKAGE: &str = "anthill-wasm-check";
/// The light client by itself.
const LIGHT: &str = "anthill-wasm-light";
/// Most bytes of the light client's module after gzip.
const MAX_LIGHT_GZIP: u64 = 400 * 1024;
/// Texts that are embedded: those of `wasm-check/texts.txt`, then lines of the specification.
const TEXTS: usize = 200;
/// Length of the full encoder's vectors.
const ENCODER_WIDTH: usize = 384;
/// Packages that would tie the module to a host.
const FOREIGN: [&str; 5] = ["getrandom", "wasm-bindgen", "js-sys", "web-time", "tokio"];

/// What is asked natively and in Node.
struct Question {
    what: String,
    request: Vec<u8>,
}

/// Where the module runs, and the program and script that run it there.
const ENGINES: [(&str, &str); 3] =
    [("Node", "check.mjs"), ("wasmtime", "check_wasmtime.py"), ("Chromium", "check_browser.mjs")];
/// What modern browsers have; a module without it must give the same bits.
const SIMD: &str = "-C target-feature=+simd128";

/// Builds the modules, runs them, and compares every answer byte by byte. `minilm` is the folder of
/// the full encoder's files.
pub fn run(root: &Path, minilm: Option<&Path>) -> Result<(), String> {
    let module = build(root, PACKAGE, "anthill_wasm_check.wasm", "target/wasm-simd", SIMD)?;
    check(root, &module, minilm)?;
    let plain = build(root, PACKAGE, "anthill_wasm_check.wasm", "target/wasm", "")?;
    let few = [question("kernels", vec![KERNELS]), embeddings(root)?];
    compare(root, ENGINES[0], &plain, &few, "without SIMD")?;
    light(root)?;
    crate::guests::run(root, false)
}

/// The full encoder's folder: the one that is named, or the one that the tests fetched.
pub fn minilm(root: &Path) -> Option<PathBuf> {
    let named = std::env::var_os("ANTHILL_MINILM_DIR").map(PathBuf::from);
    named.or_else(|| {
        let fetched = root.join("target/minilm/models/minilm");
        fetched.join("tokenizer.json").exists().then_some(fetched)
    })
}

/// The light client's module: small enough for any page, and right in Node.
fn light(root: &Path) -> Result<(), String> {
    let module = build(root, LIGHT, "anthill_wasm_light.wasm", "target/wasm", "")?;
    let path = module.display().to_string();
    let script = "set -o pipefail; gzip -9 -c \"$0\" | wc -c";
    let packed = run::output(root, "bash", &["-c", script, &path])?;
    let packed: u64 = packed.trim().parse().map_err(|_| format!("gzip said {packed:?}"))?;
    let size = std::fs::metadata(&module).map_err(|e| format!("{path}: {e}"))?.len();
    if packed > MAX_LIGHT_GZIP {
        return Err(format!("{LIGHT} has {packed} bytes after gzip, above {MAX_LIGHT_GZIP}"));
    }
    let vectors = root.join("tests/vectors");
    let moved = read(&vectors.join("proof-handovers.cbor"))?;
    let mut altered = moved.clone();
    if let Some(byte) = altered.last_mut() {
        *byte ^= 1;
    }
    let ask = |proof: &[u8]| anthill_wasm_light::pack(anthill_wasm_light::PROOF, [&[], &[], proof]);
    let questions =
        [("accepted\n", ask(&moved)), ("refused\n", ask(&altered)), ("error: ", vec![0])];
    let questions = questions.map(|(what, request)| Question { what: what.into(), request });
    let folder = root.join("target/wasm/light");
    write(&folder, &questions)?;
    let script = root.join("xtask/wasm-check/check.mjs").display().to_string();
    let seconds = run::output(root, "node", &[&script, &path, &folder.display().to_string()])?;
    for (n, Question { what, request }) in questions.iter().enumerate() {
        let given = read(&folder.join(format!("{n}.answer")))?;
        if !given.starts_with(what.as_bytes()) || given != anthill_wasm_light::answer(request) {
            return Err(format!("{LIGHT}: {:?}", shorten(&String::from_utf8_lossy(&given))));
        }
    }
    let first = seconds.lines().next().and_then(|l| l.split(' ').nth(1)).unwrap_or("?");
    println!(
        "wasm: {LIGHT} is {size} bytes, {packed} after gzip, and imports nothing; a proof below five \
         changes of the validators takes {first} s CPU in Node"
    );
    Ok(())
}

fn check(root: &Path, module: &Path, minilm: Option<&Path>) -> Result<(), String> {
    let tree = run::output(root, "cargo", &tree_arguments())?;
    if let Some(line) = tree.lines().find(|l| FOREIGN.iter().any(|f| l.starts_with(f))) {
        return Err(format!("{line} has no place in the browser's pure parts (see `cargo tree`)"));
    }
    let mut floats = vec![question("kernels", vec![KERNELS]), embeddings(root)?];
    match minilm {
        Some(folder) => floats.extend(encoders(root, folder)?),
        None => println!("wasm: no MiniLM weights here, the full encoder is not compared"),
    }
    compare(root, ENGINES[0], module, &questions(root)?, "with SIMD")?;
    for engine in ENGINES {
        compare(root, engine, module, &floats, "with SIMD")?;
    }
    let size = std::fs::metadata(module).map_err(|e| format!("{}: {e}", module.display()))?.len();
    println!(
        "wasm: {PACKAGE} is {size} bytes ({:.1} MiB, most of it the embedded model) and imports nothing",
        size as f64 / 1_048_576.0
    );
    Ok(())
}

/// Asks the module in one engine and the native code, and compares.
fn compare(
    root: &Path,
    (engine, script): (&str, &str),
    module: &Path,
    questions: &[Question],
    build: &str,
) -> Result<(), String> {
    let folder = root.join("target/wasm/check");
    write(&folder, questions)?;
    let script = root.join("xtask/wasm-check").join(script).display().to_string();
    let program = match engine {
        "wasmtime" => root.join("target/python/bin/python").display().to_string(),
        _ => "node".to_string(),
    };
    let (module, place) = (module.display().to_string(), folder.display().to_string());
    let seconds = run::output(root, &program, &[&script, &module, &place])?;
    if seconds.lines().count() != questions.len() {
        let answered = seconds.lines().count();
        return Err(format!("{engine} answered {answered} of {} requests", questions.len()));
    }
    for (n, (question, line)) in questions.iter().zip(seconds.lines()).enumerate() {
        let native = answer(&question.request);
        let browser = read(&folder.join(format!("{n}.answer")))?;
        if native != browser {
            return Err(format!(
                "{}: the module {build} answers otherwise in {engine} than the native code ({})",
                question.what,
                first_difference(&native, &browser)
            ));
        }
        judge(question, &native, line, &format!("{engine}, {build}"))?;
    }
    Ok(())
}

fn tree_arguments() -> [&'static str; 9] {
    [
        "tree",
        "--locked",
        "--target",
        "wasm32-unknown-unknown",
        "-p",
        PACKAGE,
        "--edges=normal",
        "--prefix",
        "none",
    ]
}

fn build(
    root: &Path,
    package: &str,
    file: &str,
    folder: &str,
    flags: &str,
) -> Result<PathBuf, String> {
    let target = root.join(folder);
    // One shell, since the script gives its settings as a line to evaluate.
    let command = format!(
        "settings=$(tools/wasm-toolchain.sh) && eval \"$settings\" && RUSTFLAGS='{flags}' cargo build \
         --release --locked --target wasm32-unknown-unknown --target-dir {folder} --package {package} --lib"
    );
    run::run(root, "bash", &["-c", &command])?;
    Ok(target.join("wasm32-unknown-unknown/release").join(file))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn questions(root: &Path) -> Result<Vec<Question>, String> {
    let vectors = root.join("tests/vectors");
    let proof = read(&vectors.join("proof-small.cbor"))?;
    let pin =
        String::from_utf8_lossy(&read(&vectors.join("proof-small.genesis"))?).trim().to_string();
    let pin = anthill_wasm_check::genesis(&pin)?;
    let about = |kind: u8, pin: &[u8]| [&[kind], pin, &proof].concat();
    let mut other = pin;
    other[0] ^= 1;
    let texts = texts(root)?;
    Ok(vec![
        question("encodings of every wire type, 65,536 cases each", vec![CONFORMANCE]),
        question("a good proof", about(PROOF, &pin)),
        question("a proof of another chain", about(PROOF, &other)),
        question("a proof with each byte altered", about(ALTERED, &pin)),
        question("Merkle root over texts", pack(MERKLE, texts.iter().map(String::as_str))),
        question("a vector index: graph and answers", seeded_vectors(0)),
        question("a vector index of codes alone", seeded_vectors(2)),
        question("a request that makes no sense", vec![0]),
    ])
}

fn question(what: &str, request: Vec<u8>) -> Question {
    Question { what: what.into(), request }
}

fn embeddings(root: &Path) -> Result<Question, String> {
    Ok(question("embeddings", pack(EMBED, texts(root)?)))
}

/// The full encoder in f32 and int8 over the same texts.
fn encoders(root: &Path, folder: &Path) -> Result<[Question; 2], String> {
    let (weights, tokenizer) =
        (read(&folder.join("model.safetensors"))?, read(&folder.join("tokenizer.json"))?);
    let texts = texts(root)?;
    let all = |kind| {
        let files = [&weights[..], &tokenizer[..]].into_iter();
        pack(kind, files.chain(texts.iter().map(String::as_bytes)))
    };
    Ok([
        question("embeddings of the full encoder", all(ENCODER)),
        question("embeddings of the full encoder in int8", all(ENCODER_INT8)),
    ])
}

/// A request for an index of 600 seeded vectors of 48 values and the answers to 50 of them.
fn seeded_vectors(storage: u32) -> Vec<u8> {
    let mut state = 5u64;
    let mut value = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let base: Vec<f32> = (0..600 * 48).map(|_| value()).collect();
    vector_request([48, 16, 100, 10, 32, storage, 1], &base, &base[..50 * 48])
}

/// The committed texts (many scripts), filled up with lines of the specification.
fn texts(root: &Path) -> Result<Vec<String>, String> {
    let mut files = vec![root.join("xtask/wasm-check/texts.txt")];
    for page in ["protocol.md", "poei.md", "focus.md", "controller.md"] {
        files.push(root.join("docs/spec").join(page));
    }
    let mut texts = Vec::new();
    for file in files {
        let text = String::from_utf8_lossy(&read(&file)?).into_owned();
        let sentences = text.lines().flat_map(|l| l.split(". ")).map(str::trim);
        texts.extend(sentences.filter(|s| !s.is_empty()).map(String::from));
    }
    texts.truncate(TEXTS);
    if texts.len() < TEXTS {
        return Err(format!("{} texts found, {TEXTS} wanted", texts.len()));
    }
    Ok(texts)
}

fn write(folder: &Path, questions: &[Question]) -> Result<(), String> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for (n, question) in questions.iter().enumerate() {
        let path = folder.join(format!("{n}.request"));
        std::fs::write(&path, &question.request).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// Equal answers could both be wrong: each must also be what was asked for.
fn judge(question: &Question, given: &[u8], seconds: &str, place: &str) -> Result<(), String> {
    let text = String::from_utf8_lossy(given);
    let summary = match question.request[0] {
        CONFORMANCE => {
            let pinned = include_str!("../../crates/types/tests/conformance.toml");
            let pinned: Vec<&str> = pinned.lines().filter(|l| !l.starts_with('#')).collect();
            (pinned == text.lines().collect::<Vec<_>>())
                .then(|| format!("{} hashes, as pinned", pinned.len()))
        }
        PROOF if question.what.starts_with("a good") => {
            text.starts_with("accepted\n").then(|| "accepted".to_string())
        }
        PROOF => text.starts_with("refused\nthe proof is for chain").then(|| "refused".to_string()),
        ALTERED => {
            let mut words = text.split(' ');
            let (refused, all) = (words.next(), words.nth(1));
            (refused == all && refused != Some("0")).then(|| text.to_string())
        }
        KERNELS => {
            let pinned = include_str!("../../crates/kernels/tests/conformance.txt");
            (pinned == text).then(|| format!("{} hashes, as pinned", pinned.lines().count()))
        }
        EMBED => embedded(given, anthill_learn::StaticModel::embedded().dimensions())
            .map(|n| format!("{n} of {TEXTS} texts, all bits equal")),
        ENCODER | ENCODER_INT8 => {
            embedded(given, ENCODER_WIDTH).map(|n| format!("{n} of {TEXTS} texts, all bits equal"))
        }
        VECTOR => (given.len() == 32 + 50 * 10 * 8).then(|| "digest and answers equal".to_string()),
        MERKLE => (given.len() == 32).then(|| "equal".to_string()),
        _ => text.starts_with("error: ").then(|| "an error".to_string()),
    };
    let what = &question.what;
    let summary = summary.ok_or_else(|| format!("{what}: both answer {:?}", shorten(&text)))?;
    let seconds = seconds.split(' ').nth(1).unwrap_or("?");
    println!("wasm: {what}: {summary} (native = {place}; {seconds} s)");
    Ok(())
}

/// How many texts got a vector; `None` when fewer than nine in ten did.
fn embedded(given: &[u8], dimensions: usize) -> Option<usize> {
    let width = 4 * dimensions;
    let (mut rest, mut vectors) = (given.get(32..)?, 0);
    while let Some((kind, tail)) = rest.split_first() {
        let length = match kind {
            1 => width,
            _ => 4 + u32::from_le_bytes(*tail.first_chunk()?) as usize,
        };
        vectors += usize::from(*kind == 1);
        rest = tail.get(length..)?;
    }
    (vectors * 10 >= TEXTS * 9).then_some(vectors)
}

fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

fn first_difference(native: &[u8], browser: &[u8]) -> String {
    let at = native.iter().zip(browser).position(|(a, b)| a != b);
    let at = at.unwrap_or(native.len().min(browser.len()));
    format!("{} and {} bytes, the first difference at {at}", native.len(), browser.len())
}
