//! What a person may get wrong, or a machine may do to one: each case has a message that says what
//! to do, the right exit code, and loses nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use common::{Dir, Mount, Node, anthill, documents, run, run_with, until};
use serde_json::Value;

/// Asserts that a node still works: it makes blocks, and holds the index and the account it had.
#[track_caller]
fn assert_whole(node: &Node, account: &Value, digest: &Value) {
    let height = node.status().unwrap()["height"].as_u64().unwrap();
    until("another block", || (node.status()?["height"].as_u64()? > height).then_some(()));
    assert_eq!(node.status().unwrap()["account"], *account);
    assert_eq!(node.job("notes", &["ready", "final"])["digest"], *digest);
    assert!(node.ok(&["ask", "bees", "--index", "notes"]).contains("note-"));
    node.assert_conserved();
}

#[test]
fn what_cannot_be_indexed_says_why() {
    let dir = Dir::new("files");
    let node = Node::up(dir.join("node"));
    let folder = documents(&dir, "docs", 4);
    let digest = node.json(&["index", &folder])["digest"].clone();
    let account = node.status().unwrap()["account"].clone();
    let index = |path: &str| node.run(&["index", path, "--name", "bad"]);

    let (big, binary, empty) = (dir.text("big"), dir.text("binary"), dir.text("empty"));
    std::fs::File::create(&big).unwrap().set_len(1 << 30).unwrap();
    std::fs::write(&binary, [7, 0, 7]).unwrap();
    std::fs::create_dir_all(&empty).unwrap();
    index(&dir.text("absent")).fails(1, &["absent", "check the path"]);
    index(&big).fails(1, &["files above 16 MiB are left out", "give a folder with text"]);
    index(&binary).fails(1, &["binary", "give a folder with text"]);
    index(&empty).fails(1, &["holds no text to index", "give a folder with text"]);
    let folder_model = node.run(&["index", &folder, "--name", "bad", "--model", "gpt"]);
    folder_model.fails(1, &["\"gpt\"", "anthill model list", "anthill model pull minilm"]);
    unreadable(&dir, &node);
    assert_eq!(node.json(&["index", "--status"]).as_array().unwrap().len(), 2);

    // Among good files, bad ones are named and left out, and change nothing.
    std::fs::rename(&big, dir.join("docs/big.md")).unwrap();
    std::fs::rename(&binary, dir.join("docs/binary.md")).unwrap();
    let mixed = node.json(&["index", &folder, "--name", "mixed"]);
    assert_eq!(mixed["skipped"].as_array().unwrap().len(), 2, "{mixed}");
    assert_eq!(mixed["digest"], digest);
    assert_whole(&node, &account, &digest);
}

/// A dangling link for root, who may read everything; else files without the right to read them.
fn unreadable(dir: &Dir, node: &Node) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    symlink("/nonexistent/file", dir.join("dangling")).unwrap();
    node.run(&["index", &dir.text("dangling")]).fails(1, &["dangling", "check the path"]);
    let folder = documents(dir, "locked", 2);
    let file = dir.join("locked/note-000.md");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    symlink("/nonexistent/file", dir.join("locked/link.md")).unwrap();
    let job = node.json(&["index", &folder, "--name", "locked"]);
    let root = std::fs::read(&file).is_ok();
    let skipped: Vec<&str> =
        job["skipped"].as_array().unwrap().iter().filter_map(|s| s["path"].as_str()).collect();
    let expected = if root { vec!["link.md"] } else { vec!["link.md", "note-000.md"] };
    assert_eq!(skipped, expected, "{job}");
}

#[test]
fn tickets_that_do_not_let_in() {
    let dir = Dir::new("tickets");
    let node = Node::up(dir.join("node"));
    let other = Node::up(dir.join("other"));
    let ticket = node.ticket();
    let data = dir.text("newcomer");
    let listen = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let join =
        |data: &str, ticket: &str| run(&[&["--data", data, "join", ticket], &listen[..]].concat());
    let mut typo = ticket.clone().into_bytes();
    typo[60] = if typo[60] == b'q' { b'p' } else { b'q' };
    join(&data, &String::from_utf8(typo).unwrap()).fails(2, &["mistyped or cut short", "copy it"]);
    join(&data, &ticket[..ticket.len() / 2]).fails(2, &["copy it"]);
    join(&data, "hello").fails(2, &["starts with `anthill1`"]);
    assert!(!Path::new(&data).exists());
    let body = serde_json::json!({ "bond": "10", "valid_seconds": 1 });
    let short = node.post("/api/tickets", &body)["ticket"].as_str().unwrap().to_string();
    std::thread::sleep(std::time::Duration::from_millis(1_300));
    join(&data, &short).fails(1, &["expired", "ask for a new one"]);
    let other_data = other.data.display().to_string();
    join(&other_data, &ticket).fails(1, &["holds a node already", "another --data folder"]);
    // The API's port is taken: the newcomer is let in, but does not run. The second try must not
    // need a second ticket, and must still know whom to call.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = taken.local_addr().unwrap().to_string();
    let first = ["--data", &data, "join", &ticket, "--listen", "127.0.0.1:0", "--http", &http];
    run(&first).fails(1, &["cannot listen on", "--http"]);
    let mut newcomer = Node::joined(data.clone().into(), &ticket);
    until("the newcomer follows the chain", || (newcomer.status()?["height"] != 0).then_some(()));
    newcomer.kill();
    std::fs::remove_file(newcomer.data.join("peers.json")).unwrap();
    drop(newcomer);
    let newcomer = Node::joined(data.into(), &ticket);
    join(&dir.text("third"), &ticket).fails(1, &["used already", "ask for a new ticket"]);
    let mut node = node;
    let late = node.ticket();
    node.kill();
    join(&dir.text("fourth"), &late).fails(1, &["is the node that made the ticket running"]);
    drop(newcomer);
    assert_eq!(other.status().unwrap()["peers"], 0);
}

#[test]
fn ports_and_folders_in_use_are_named() {
    let dir = Dir::new("ports");
    let node = Node::up(dir.join("node"));
    let digest = node.json(&["index", &documents(&dir, "docs", 3)])["digest"].clone();
    let account = node.status().unwrap()["account"].clone();
    let second = dir.text("second");
    let up = |data: &str, listen: &str, http: &str| {
        run(&["--data", data, "up", "--quiet", "--listen", listen, "--http", http])
    };
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tcp_text, udp_text) =
        (tcp.local_addr().unwrap().to_string(), udp.local_addr().unwrap().to_string());
    up(&second, "127.0.0.1:0", &tcp_text).fails(1, &[&tcp_text, "choose another with --http"]);
    up(&second, &udp_text, "127.0.0.1:0").fails(1, &[&udp_text, "choose another port"]);
    let doctor = run(&["--data", &second, "doctor", "--listen", &udp_text, "--http", &tcp_text]);
    doctor.fails(1, &["checks failed"]);
    for word in ["choose another with --http", "choose another with --listen"] {
        assert!(doctor.text().contains(word), "{}", doctor.text());
    }
    drop((tcp, udp));
    let mut node_two = Node::new(second.into());
    node_two.start(&["up", "--quiet"]);

    let data = node.data.display().to_string();
    let again = up(&data, "127.0.0.1:0", "127.0.0.1:0");
    again.fails(1, &["in use by another process", "another data folder"]);
    up(&data, "nonsense", "127.0.0.1:0").fails(2, &["listen", "an address such as"]);
    assert_whole(&node, &account, &digest);
    let file = dir.text("file");
    std::fs::write(&file, "").unwrap();
    up(&file, "127.0.0.1:0", "127.0.0.1:0").fails(1, &["file", "check that the folder exists"]);
}

/// Damages a file of a stopped node, sees `up` refuse with the words, and puts the file back.
#[track_caller]
fn damaged(node: &mut Node, name: &str, bytes: &[u8], code: i32, words: &[&str]) {
    let file = node.data.join(name);
    let kept = std::fs::read(&file).ok();
    std::fs::write(&file, bytes).unwrap();
    let listen = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let refused = node.run(&[&["up", "--quiet"], &listen[..]].concat());
    refused.fails(code, words);
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "{name} was overwritten");
    match kept {
        Some(kept) => std::fs::write(&file, kept).unwrap(),
        None => std::fs::remove_file(&file).unwrap(),
    }
}

#[test]
fn damaged_files_are_named_and_not_overwritten() {
    let dir = Dir::new("damaged");
    let mut node = Node::up(dir.join("node"));
    let digest = node.json(&["index", &documents(&dir, "docs", 3)])["digest"].clone();
    let account = node.status().unwrap()["account"].clone();
    assert_eq!(node.stop(), 0);
    let state = std::fs::read(node.data.join("state.redb")).unwrap();
    let genesis = std::fs::read(node.data.join("genesis.cbor")).unwrap();
    let mut scribbled = state.clone();
    scribbled.iter_mut().step_by(997).for_each(|b| *b ^= 0x55);
    let mut altered = genesis.clone();
    *altered.last_mut().unwrap() ^= 1;
    let node_ref = &mut node;
    damaged(node_ref, "state.redb", &scribbled, 1, &["state.redb is damaged", "restore a copy"]);
    damaged(node_ref, "state.redb", &state[..state.len() / 2], 1, &["state.redb is damaged"]);
    damaged(node_ref, "state.redb", b"hello", 1, &["state.redb is damaged"]);
    damaged(node_ref, "genesis.cbor", &genesis[..50], 1, &["genesis.cbor is damaged", "copy it"]);
    damaged(
        node_ref,
        "genesis.cbor",
        b"",
        1,
        &["genesis.cbor is damaged", "another --data folder"],
    );
    damaged(node_ref, "genesis.cbor", &altered, 1, &["chain", "use another --data folder"]);
    damaged(node_ref, "keys/account.key", b"hello", 1, &["account.key is damaged", "restore"]);
    damaged(node_ref, "token", b"", 1, &["token is damaged", "remove it"]);
    damaged(node_ref, "peers.json", b"{", 1, &["peers.json is damaged", "remove it"]);
    damaged(node_ref, "config.toml", b"\xff\xfe", 2, &["config.toml", "correct it or remove it"]);
    damaged(node_ref, "config.toml", b"= = =", 2, &["config.toml is not a configuration file"]);
    damaged(node_ref, "config.toml", b"cpu = [1]", 2, &["cpu is of type array", "cpu = 50"]);
    damaged(node_ref, "config.toml", b"cpu = 0", 2, &["config.toml: cpu = \"0\" is not 1 to 100"]);
    damaged(node_ref, "config.toml", b"cqu = 5", 2, &["no setting \"cqu\"; the settings are"]);

    // One damaged index is shown as failed and keeps nothing else from running.
    let docs = documents(&dir, "docs", 3);
    std::fs::create_dir_all(node.data.join("indexes/torn")).unwrap();
    std::fs::write(node.data.join("indexes/torn/plan.json"), "{\"name\":").unwrap();
    node.start(&["up", "--quiet"]);
    assert_whole(&node, &account, &digest);
    let jobs = node.json(&["index", "--status"]);
    let torn = jobs.as_array().unwrap().iter().find(|j| j["name"] == "torn").unwrap();
    assert!(torn["stage"] == "failed" && torn["error"].as_str().unwrap().contains("index again"));
    let index = node.data.join("indexes/notes/index.bin");
    std::fs::write(&index, "hello").unwrap();
    let touched = std::fs::read(node.data.join("indexes/notes/plan.json")).unwrap();
    std::fs::write(node.data.join("indexes/notes/plan.json"), touched).unwrap();
    node.run(&["ask", "bees", "--index", "notes"]).fails(1, &["index.bin", "rebuild the index"]);
    std::fs::remove_dir_all(node.data.join("indexes/torn")).unwrap();
    assert_eq!(node.json(&["index", &docs])["digest"], digest);
    assert_whole(&node, &account, &digest);
}

/// Takes all room that is left.
fn fill(filler: &Path) {
    let mut file = std::fs::File::options().create(true).append(true).open(filler).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    while std::io::Write::write_all(&mut file, &[1]).is_ok() {}
}

#[test]
fn a_full_disk_stops_the_node_and_loses_nothing() {
    let dir = Dir::new("full");
    let Some(mount) = Mount::new(&dir.text("disk"), "3m") else { return };
    // By way of a link, so that the log beside it is on another disk.
    std::fs::create_dir(dir.join("disk/node")).unwrap();
    std::os::unix::fs::symlink(dir.join("disk/node"), dir.join("node")).unwrap();
    let mut node = Node::up(dir.join("node"));
    let folder = documents(&dir, "docs", 4);
    let digest = node.json(&["index", &folder])["digest"].clone();
    let before = node.status().unwrap();
    let filler = dir.join("disk/filler");
    fill(&filler);
    let code = node.ended();
    assert!(code == 1, "{code}: {}", node.log());
    assert!(node.log().contains("free some and start again, nothing is lost"), "{}", node.log());
    // Nothing can be written any more, by commands either.
    fill(&filler);
    let doctor = node.run(&["doctor"]);
    doctor.fails(1, &["checks failed"]);
    assert!(doctor.text().contains("free some space"), "{}", doctor.text());
    let backup = dir.text("disk/backup");
    let mut command = anthill();
    command.env("ANTHILL_PASSWORD", "pw").arg("--data").arg(&node.data);
    let full = ["No space left on device", "has room"];
    run_with(command.args(["backup", &backup]), b"").fails(1, &full);
    assert!(!Path::new(&backup).exists());
    std::fs::remove_file(&filler).unwrap();
    node.start(&["up", "--quiet"]);
    assert!(node.status().unwrap()["height"].as_u64() >= before["height"].as_u64());
    assert_whole(&node, &before["account"], &digest);
    drop((node, mount));
}
