//! Rules on source text: lengths, words that a layer may not name, documentation, ASCII.
//!
//! The sources are formatted by rustfmt, so a function ends at the first line that closes its
//! indentation; no parser is needed.

use std::path::{Path, PathBuf};

use super::layers::is_pure;

/// Most lines of a function.
const FUNCTION: usize = 70;
/// Most lines of a file, tests at its end left out.
const FILE: usize = 600;

/// What pure layers may not name.
const IMPURE: [&str; 12] = [
    "tokio",
    "std::time::Instant",
    "std::time::SystemTime",
    "time::{Instant",
    "time::{SystemTime",
    "SystemTime::now",
    "Instant::now",
    "std::net::",
    "std::thread",
    "thread_rng",
    "rand::rng",
    "getrandom",
];

/// What no shipped source may hold. (Split so that this list does not break its own rule.)
fn banned() -> [String; 7] {
    [
        format!(".{}()", "unwrap"),
        format!(".{}(", "expect"),
        format!("{}!(", "todo"),
        format!("{}!(", "unimplemented"),
        format!("{}!(", "dbg"),
        format!("/{}/", "work"),
        format!("{}/shared", ".."),
    ]
}

/// What no source may hold, tests included.
fn banned_in_tests() -> [String; 2] {
    [format!("#[{}", "ignore"), format!("#[{}", "should_panic")]
}

/// Checks every Rust source of the repository.
pub fn check(root: &Path) -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    for folder in ["crates", "fuzz", "guests", "xtask"] {
        collect(&root.join(folder), &mut files)?;
    }
    let mut problems = Vec::new();
    for path in files {
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        problems.extend(check_file(&name, &text));
    }
    Ok(problems)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|n| n != "target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

fn crate_of(name: &str) -> String {
    let folder = name.split('/').nth(1).unwrap_or_default();
    if folder == "cli" { "anthill".into() } else { format!("anthill-{folder}") }
}

fn check_file(name: &str, text: &str) -> Vec<String> {
    // A fuzz target says by a panic that something is wrong, as a test does.
    let in_tests = ["/tests/", "/benches/", "/examples/"].iter().any(|part| name.contains(part))
        || name.starts_with("fuzz/");
    let lines: Vec<&str> = text.lines().collect();
    let cut = lines.iter().position(|l| l.trim() == "#[cfg(test)]").unwrap_or(lines.len());
    let shipped = if in_tests { &[][..] } else { &lines[..cut] };
    let mut problems = Vec::new();
    let mut say = |line: usize, what: String| problems.push(format!("{name}:{}: {what}", line + 1));
    if !in_tests && !text.trim_start().starts_with("//!") {
        say(0, "a module opens with a sentence (//!)".into());
    }
    if shipped.len() > FILE {
        say(cut - 1, format!("{} lines; {FILE} are allowed", shipped.len()));
    }
    for (i, line) in lines.iter().enumerate() {
        for word in banned_in_tests().iter().filter(|w| line.contains(w.as_str())) {
            say(i, format!("{word}]: no test is left out or expected to panic"));
        }
        let code = line.split("//").next().unwrap_or_default();
        if !line.is_ascii() && !code.contains('"') && !in_tests {
            say(i, "only strings hold other characters than ASCII".into());
        }
    }
    let pure = is_pure(&crate_of(name)) && name.starts_with("crates/");
    for (i, line) in shipped.iter().enumerate() {
        let code = if line.trim_start().starts_with("//") { "" } else { line };
        for word in banned().iter().filter(|w| code.contains(w.as_str())) {
            say(i, format!("{word} has no place in shipped code"));
        }
        for word in IMPURE.iter().filter(|w| pure && code.contains(**w)) {
            say(i, format!("layers 0 to 2 are pure and do not name {word}"));
        }
        if is_public_item(line) && !is_documented(shipped, i) {
            say(i, "a public item is documented".into());
        }
        if let Some(length) = function_length(shipped, i).filter(|n| *n > FUNCTION) {
            say(i, format!("a function of {length} lines; {FUNCTION} are allowed"));
        }
    }
    problems
}

fn is_public_item(line: &str) -> bool {
    let Some(rest) = line.trim_start().strip_prefix("pub ") else { return false };
    let words = [
        "fn ",
        "struct ",
        "enum ",
        "trait ",
        "const ",
        "type ",
        "static ",
        "async fn ",
        "unsafe fn ",
    ];
    words.iter().any(|w| rest.starts_with(w))
}

/// Looks above the item, over its attributes, for a doc comment. A macro's item takes the caller's;
/// clap shows the comments of a subcommand's variants, and one on the enum would replace the parent's.
fn is_documented(lines: &[&str], at: usize) -> bool {
    let mut at = at;
    while let Some(above) = at.checked_sub(1).map(|n| lines[n].trim()) {
        at -= 1;
        if above.starts_with("///") || above.starts_with("$(#[$doc") {
            return true;
        }
        if above.starts_with("#[derive(") && above.contains("Subcommand") {
            return true;
        }
        if above.starts_with("#[") && above.ends_with(']') {
            continue;
        }
        // The last line of a longer attribute: go to its first.
        if !above.ends_with(']') {
            return false;
        }
        match lines[..at].iter().rposition(|l| l.trim().starts_with("#[")) {
            Some(first) => at = first,
            None => return false,
        }
    }
    false
}

/// Length of the function that begins at a line, if one does.
fn function_length(lines: &[&str], at: usize) -> Option<usize> {
    let line = lines[at];
    let start = line.trim_start();
    let words = start
        .trim_start_matches("pub ")
        .trim_start_matches("pub(crate) ")
        .trim_start_matches("pub(super) ");
    let words = words
        .trim_start_matches("const ")
        .trim_start_matches("async ")
        .trim_start_matches("unsafe ");
    if !words.starts_with("fn ") || start.ends_with(';') {
        return None;
    }
    let indent = &line[..line.len() - start.len()];
    let close = format!("{indent}}}");
    if line.ends_with('}') {
        return Some(1);
    }
    let end = lines[at..].iter().position(|l| *l == close)?;
    Some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_break() {
        let finds = |name: &str, text: &str, what: &str| {
            let problems = check_file(name, text);
            assert!(problems.iter().any(|p| p.contains(what)), "{what}: {problems:?}");
        };
        finds("crates/types/src/a.rs", "fn f() {}\n", "opens with a sentence");
        finds("crates/types/src/a.rs", "//! A.\nuse tokio::sync;\n", "tokio");
        finds("crates/types/src/a.rs", "//! A.\npub fn f() {}\n", "documented");
        let call = format!("//! A.\nfn f() {{\n    x.{}();\n}}\n", "unwrap");
        finds("crates/node/src/a.rs", &call, "no place");
        let long = format!("//! A.\nfn f() {{\n{}}}\n", "    g();\n".repeat(70));
        finds("crates/node/src/a.rs", &long, "a function of 72 lines");
        let file = format!("//! A.\n{}", "\n".repeat(600));
        finds("crates/node/src/a.rs", &file, "600 are allowed");
        finds("crates/node/src/a.rs", "//! A.\n// \u{e9}\n", "ASCII");
    }

    #[test]
    fn documentation_is_found_above_attributes() {
        let documented = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            is_documented(&lines, lines.len() - 1)
        };
        for good in [
            "/// A.\npub struct A;",
            "/// A.\n#[derive(Debug)]\n#[error(\n    \"a\"\n)]\npub struct A;",
            "$(#[$doc])*\n#[derive(Debug)]\npub struct A;",
            "#[derive(Subcommand)]\npub enum A {",
        ] {
            assert!(documented(good), "{good}");
        }
        for bad in [
            "pub struct A;",
            "/// B.\nfn b() {}\n\n#[derive(Debug)]\npub struct A;",
            "x]\npub fn f",
        ] {
            assert!(!documented(bad), "{bad}");
        }
    }

    #[test]
    fn tests_may_do_what_shipped_code_may_not() {
        let text =
            format!("//! A.\n#[cfg(test)]\nmod tests {{\n    fn f() {{ x.{}(); }}\n}}\n", "unwrap");
        assert!(check_file("crates/types/src/a.rs", &text).is_empty());
    }
}
