//! The program `anthill-sim` as a person would use it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_anthill-sim")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_seed_is_replayed_logged_and_drawn() {
    let folder = std::env::temp_dir().join(format!("anthill-sim-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (log, svg) = (folder.join("run.log"), folder.join("run.svg"));
    let files = [log.to_str().unwrap(), svg.to_str().unwrap()];
    let one =
        ["replay", "9", "--log", files[0], "--svg", files[1], "--from", "1000", "--to", "3000"];
    let output = sim(&one);
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("digest") && said.contains("node 0"), "{said}");
    assert!(std::fs::read_to_string(&log).unwrap().contains("precommit"));
    assert!(std::fs::read_to_string(&svg).unwrap().starts_with("<svg"));
    let again = sim(&["replay", "9"]);
    let digest = |t: &str| t.lines().find(|l| l.contains("digest")).unwrap().to_string();
    assert_eq!(digest(&text(&again)), digest(&said));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_campaign_keeps_its_record() {
    let file = std::env::temp_dir().join(format!("anthill-sim-record-{}", std::process::id()));
    let path = file.to_str().unwrap();
    for expected in ["2 seeds in all", "4 seeds in all"] {
        let output = sim(&["run", "--seeds", "2", "--record", path, "--protocol", "x"]);
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn bad_arguments_are_named() {
    assert!(text(&sim(&[])).contains("usage"));
    assert!(text(&sim(&["run", "--seeds", "many"])).contains("--seeds many: not a number"));
    assert!(text(&sim(&["replay", "1", "--faults", "x"])).contains("not numbers"));
    assert!(!sim(&["canaries"]).status.success());
}
