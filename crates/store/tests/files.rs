//! Power cuts and full disks while files are written: the old or the new contents, whole.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#[path = "../../../tests/support/crash_record.rs"]
mod crash_record;

use anthill_store::files::{
    Files, OsFiles, make_folder, move_whole, remove_whole, temporary, write_whole,
};
use anthill_store::sim::{Crash, Faults, SimFiles};
use std::path::Path;

const OLD: &[u8] = b"old contents";

fn new_contents() -> Vec<u8> {
    (0..3000u32).map(|n| (n % 251) as u8 + 1).collect()
}

fn prepared(seed: u64) -> SimFiles {
    let files = SimFiles::new(seed);
    write_whole(&files, Path::new("home/keys/a.key"), OLD, true).unwrap();
    files
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all_at_every_point() {
    let path = Path::new("home/keys/a.key");
    let files = prepared(0);
    let (first, synced) = (files.operations(), files.syncs());
    write_whole(&files, path, &new_contents(), true).unwrap();
    let (last, syncs) = (files.operations(), files.syncs() - synced);
    let (mut cases, mut after) = (0, 0);
    for cut in first + 1..=last + 1 {
        for crash in Crash::ALL {
            for seed in 0..20 {
                let files = prepared(seed << 32 | cut);
                files.power_cut_at(cut);
                let done = write_whole(&files, path, &new_contents(), true).is_ok();
                let files = files.crash(crash);
                let found = files.read(path).unwrap();
                let new = found == new_contents();
                assert!(new || (!done && found == OLD), "{cut} {crash:?} {seed}");
                write_whole(&files, path, b"again", true).unwrap();
                assert!(!files.exists(&temporary(path)));
                (cases, after) = (cases + 1, after + u64::from(new));
            }
        }
    }
    crash_record::visited("file replacement", last + 1 - first, syncs, cases);
    assert!(after > 10 && cases - after > 10, "{after} of {cases}");
}

#[test]
fn a_first_file_is_there_whole_or_not_at_all_at_every_point() {
    let path = Path::new("a/b/c");
    let files = SimFiles::new(0);
    write_whole(&files, path, &new_contents(), false).unwrap();
    let last = files.operations();
    for cut in 1..=last + 1 {
        for crash in Crash::ALL {
            let files = SimFiles::new(cut);
            files.power_cut_at(cut);
            let done = write_whole(&files, path, &new_contents(), false).is_ok();
            let files = files.crash(crash);
            match files.read(path) {
                Ok(found) => assert_eq!(found, new_contents()),
                Err(_) => assert!(!done, "{cut} {crash:?}: what was acknowledged is gone"),
            }
        }
    }
    crash_record::visited("first file in new folders", last + 1, files.syncs(), 3 * (last + 1));
}

#[test]
fn moving_and_removing_are_durable_when_they_return() {
    for crash in Crash::ALL {
        let files = prepared(1);
        move_whole(&files, Path::new("home/keys"), Path::new("home/moved")).unwrap();
        let files = files.crash(crash);
        assert_eq!(files.read(Path::new("home/moved/a.key")).unwrap(), OLD);
        assert!(!files.exists(Path::new("home/keys")));
        remove_whole(&files, Path::new("home/moved")).unwrap();
        remove_whole(&files, Path::new("home/moved")).unwrap();
        let files = files.crash(crash);
        assert_eq!(files.list(Path::new("home")).unwrap(), Vec::<String>::new());
    }
}

/// What the simulation is for: each step that a careless writer leaves out is seen.
#[test]
fn a_step_left_out_loses_the_file() {
    let path = Path::new("a.key");
    let lost = |write: &dyn Fn(&SimFiles), crash| {
        (0..200).any(|seed| {
            let files = SimFiles::new(seed);
            write_whole(&files, path, OLD, true).unwrap();
            write(&files);
            let found = files.crash(crash).read(path).unwrap_or_default();
            found != new_contents()
        })
    };
    let no_folder_sync = |files: &SimFiles| {
        files.create(&temporary(path), &new_contents(), true).unwrap();
        files.rename(&temporary(path), path).unwrap();
    };
    assert!(lost(&no_folder_sync, Crash::Nothing));
    assert!(lost(&no_folder_sync, Crash::Subset));
    let in_place = |files: &SimFiles| {
        files.power_cut_at(files.operations() + 4);
        drop(files.create(path, &new_contents(), true));
    };
    assert!(lost(&in_place, Crash::Prefix) && lost(&in_place, Crash::Subset));
    let whole = |files: &SimFiles| write_whole(files, path, &new_contents(), true).unwrap();
    assert!(Crash::ALL.iter().all(|crash| !lost(&whole, *crash)));
}

#[test]
fn a_full_or_failing_disk_is_reported_and_the_old_contents_stay() {
    let path = Path::new("home/keys/a.key");
    let files = prepared(3);
    files.set_faults(Faults { capacity: Some(1000), ..Faults::default() });
    let error = write_whole(&files, path, &new_contents(), true).unwrap_err();
    assert_eq!(error.error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(files.read(path).unwrap(), OLD);
    // The half that was written does not eat the space that is left.
    assert!(!files.exists(&temporary(path)));
    files.set_faults(Faults { failed_syncs: 1_000_000, ..Faults::default() });
    assert!(write_whole(&files, path, &new_contents(), true).is_err());
    assert_eq!(files.crash(Crash::Subset).read(path).unwrap(), OLD);
}

#[test]
fn the_system_s_files_do_the_same() {
    let root = std::env::temp_dir().join(format!("anthill-files-{}", std::process::id()));
    let path = root.join("x/y/a.key");
    write_whole(&OsFiles, &path, OLD, true).unwrap();
    // A leftover of a crash, readable by all, does not lend its permissions.
    std::fs::write(temporary(&path), b"left").unwrap();
    write_whole(&OsFiles, &path, &new_contents(), true).unwrap();
    assert_eq!(OsFiles.read(&path).unwrap(), new_contents());
    assert_eq!(OsFiles.list(&root.join("x/y")).unwrap(), ["a.key"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    move_whole(&OsFiles, &path, &root.join("x/y/b.key")).unwrap();
    assert!(OsFiles.exists(&root.join("x/y/b.key")) && !OsFiles.exists(&path));
    let error = write_whole(&OsFiles, &root.join("x/y/b.key/c"), OLD, false).unwrap_err();
    assert!(error.to_string().contains("b.key"), "{error}");
    make_folder(&OsFiles, &root.join("x")).unwrap();
    remove_whole(&OsFiles, &root).unwrap();
    remove_whole(&OsFiles, &root).unwrap();
    assert!(!root.exists());
}
