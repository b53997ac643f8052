//! `anthill vector` through the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Dir, Node, run, until};
use serde_json::Value;

/// Seeded vectors around a few centres.
fn rows(count: usize, dims: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut state = 9u64;
    let mut centres: Vec<Vec<f32>> = Vec::new();
    let mut uniform = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..20).for_each(|_| centres.push((0..dims).map(|_| uniform()).collect()));
    // Another seed goes on elsewhere in the sequence.
    let _skipped: f32 = (0..seed).map(|_| uniform()).sum();
    (0..count).map(|n| centres[n % 20].iter().map(|c| c + 0.4 * uniform()).collect()).collect()
}

fn npy(rows: &[Vec<f32>]) -> Vec<u8> {
    let shape = format!("({}, {})", rows.len(), rows[0].len());
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(rows.iter().flatten().flat_map(|v| v.to_le_bytes()));
    bytes
}

fn vecs<T, const N: usize>(rows: &[Vec<T>], value: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    let row = |row: &Vec<T>| {
        let mut bytes = (row.len() as i32).to_le_bytes().to_vec();
        bytes.extend(row.iter().flat_map(&value));
        bytes
    };
    rows.iter().flat_map(row).collect()
}

fn json(arguments: &[&str]) -> Value {
    let output = run(&[&["vector"], arguments, &["--json"]].concat());
    assert_eq!(output.code, 0, "{}", output.err);
    output.json()
}

fn refused(code: i32, arguments: &[&str], what: &str) {
    run(&[&["vector"], arguments].concat()).fails(code, &[what]);
}

#[test]
fn an_index_is_built_searched_and_measured() {
    let dir = Dir::new("vector");
    let path = |name: &str| dir.text(name);
    let (base, queries) = (rows(600, 32, 0), rows(40, 32, 7));
    std::fs::write(path("base.npy"), npy(&base)).unwrap();
    std::fs::write(path("base.fvecs"), vecs(&base, |v: &f32| v.to_le_bytes())).unwrap();
    std::fs::write(path("query.npy"), npy(&queries)).unwrap();
    let [npy_base, fvecs, query, out] =
        ["base.npy", "base.fvecs", "query.npy", "a.index"].map(path);

    let built = json(&["build", "--base", &npy_base, "--out", &out]);
    assert_eq!((&built["items"], &built["dimensions"]), (&600.into(), &32.into()));
    let again = json(&["build", "--base", &fvecs, "--out", &path("b.index")]);
    assert_eq!(built["digest"], again["digest"], "both formats give the same index");

    let found = json(&["search", "--index", &out, "--query", &query, "-k", "10"]);
    let exact = json(&["search", "--index", &out, "--query", &query, "-k", "10", "--exact"]);
    assert_eq!(found.as_array().unwrap().len(), 40);
    assert_eq!(found[0]["rows"].as_array().unwrap().len(), 10);
    let truth: Vec<Vec<i32>> = exact
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["rows"].as_array().unwrap().iter().map(|r| r.as_i64().unwrap() as i32).collect())
        .collect();
    std::fs::write(path("gt.ivecs"), vecs(&truth, |v: &i32| v.to_le_bytes())).unwrap();

    let gt = path("gt.ivecs");
    let asked = ["--query", &query, "--ef", "16,64", "--rounds", "1"];
    let given = json(&[&["bench", "--base", &npy_base, "--gt", &gt], &asked[..]].concat());
    let computed = json(&[&["bench", "--index", &out], &asked[..]].concat());
    for value in [&given, &computed] {
        assert_eq!(value["digest"], built["digest"]);
        let results = value["results"].as_array().unwrap();
        assert_eq!(results.len(), 2);
        assert_eq!((&results[0]["ef"], &results[1]["ef"]), (&16.into(), &64.into()));
        assert!(results[1]["recall"].as_f64().unwrap() >= 0.99, "{value}");
        assert!(results[1]["qps"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(given["results"][0]["recall"], computed["results"][0]["recall"]);
    assert!(given["build_seconds"].as_f64().unwrap() > 0.0 && computed["build_seconds"].is_null());

    let more = ["bench", "--base", &npy_base, "--filter", "0.1,0.9", "--churn", "0.3"];
    let more = json(&[&more[..], &asked[..]].concat());
    assert!(
        more["filtered"].as_array().unwrap().iter().all(|f| f["recall"].as_f64() >= Some(0.95))
    );
    assert_eq!(more["churn"]["same_items"], true);
    let (after, fresh) = (&more["churn"]["after"][1], &more["churn"]["fresh"][1]);
    let [after, fresh] = [after, fresh].map(|r| r["recall"].as_f64().unwrap());
    assert!(after >= fresh - 0.005, "{after} against {fresh}");
    let small = json(&[&["bench", "--base", &npy_base, "--storage", "int8"], &asked[..]].concat());
    let vectors = |v: &Value| v["memory"]["vectors"].as_f64().unwrap();
    let plain = json(&[&["bench", "--base", &npy_base, "--storage", "f32"], &asked[..]].concat());
    assert!(vectors(&small) <= 0.32 * vectors(&plain), "32 values: the factors weigh more");

    let curve = ["bench", "--base", &npy_base, "--curve", "500,1000"];
    let curve = json(&[&curve[..], &asked[..]].concat());
    let points = curve["points"].as_array().unwrap();
    assert_eq!(points.len(), 4);
    assert_eq!((&points[3]["n"], &points[3]["real"]), (&1000.into(), &600.into()));
    let text = run(&[&["vector", "bench", "--index", &out], &asked[..]].concat()).text();
    assert!(text.contains("queries/s"), "{text}");
}

#[test]
fn bad_files_and_questions_say_what_is_wrong() {
    let dir = Dir::new("vector-bad");
    let path = |name: &str| dir.text(name);
    let base = rows(30, 8, 0);
    std::fs::write(path("base.npy"), npy(&base)).unwrap();
    std::fs::write(path("wide.npy"), npy(&rows(3, 16, 0))).unwrap();
    let mut zero = base.clone();
    zero[4] = vec![0.0; 8];
    std::fs::write(path("zero.npy"), npy(&zero)).unwrap();
    zero[4][2] = f32::NAN;
    std::fs::write(path("nan.npy"), npy(&zero)).unwrap();
    let whole = npy(&base);
    std::fs::write(path("cut.npy"), &whole[..whole.len() - 1]).unwrap();
    std::fs::write(path("base.txt"), "1 2 3").unwrap();
    let index = path("a.index");
    json(&["build", "--base", &path("base.npy"), "--out", &index]);
    for (file, what) in [
        ("absent.npy", "No such file"),
        ("base.txt", "neither .npy nor .fvecs"),
        ("cut.npy", "959 bytes of values"),
        ("zero.npy", "row 4: a vector is zero"),
        ("nan.npy", "row 4: value 2 is NaN"),
    ] {
        refused(1, &["build", "--base", &path(file), "--out", &path("b.index")], what);
    }
    let ask = |query: &str, k: &str, what: &str| {
        refused(1, &["search", "--index", &index, "--query", &path(query), "-k", k], what);
    };
    ask("wide.npy", "3", "16 values but the index has 8");
    ask("base.npy", "31", "31 items are asked for, but the index holds 30");
    let bytes = std::fs::read(&index).unwrap();
    std::fs::write(&index, &bytes[..bytes.len() - 5]).unwrap();
    ask("base.npy", "3", "the index snapshot is damaged");
    refused(2, &["bench", "--query", &path("base.npy")], "--base");
}

#[test]
fn shards_find_the_same_here_and_on_the_mesh_and_every_score_is_checked() {
    let dir = Dir::new("vector-mesh");
    let path = |name: &str| dir.text(name);
    std::fs::write(path("base.npy"), npy(&rows(900, 32, 0))).unwrap();
    std::fs::write(path("query.npy"), npy(&rows(20, 32, 7))).unwrap();
    let (index, query) = (path("a.index"), path("query.npy"));
    json(&["build", "--base", &path("base.npy"), "--out", &index]);
    let words = ["search", "--index", &index, "--query", &query, "--ef", "200"];
    let whole = json(&words);
    let local = json(&[&words[..], &["--shards", "3"]].concat());
    assert_eq!(local["answers"], whole, "with so many candidates the graphs miss nothing");
    let report = &local["search"];
    assert_eq!((&report["shards"], &report["scores_checked"]), (&3.into(), &200.into()));
    assert_eq!((&report["missed"], &report["tasks"]), (&0.into(), &serde_json::json!([])));

    let founder = Node::up(dir.join("one"));
    let _second = Node::joined(dir.join("two"), &founder.ticket());
    until("both nodes are known", || {
        (founder.json(&["status"])["nodes"].as_array()?.len() == 2).then_some(())
    });
    let mesh = founder.json(&[&["vector"], &words[..], &["--shards", "3", "--mesh"]].concat());
    assert_eq!(mesh["answers"], whole);
    assert_eq!(mesh["search"]["tasks"].as_array().unwrap().len(), 3);
    assert!(!mesh["search"]["workers"].as_array().unwrap().is_empty());

    let data = path("none");
    let asked = ["--data", &data, "vector"];
    run(&[&asked[..], &words, &["--mesh"]].concat()).fails(3, &["anthill up"]);
    json(&["build", "--base", &path("base.npy"), "--out", &index, "--storage", "int8"]);
    refused(2, &[&words[..], &["--shards", "2"]].concat(), "--storage f32-int8");
}
