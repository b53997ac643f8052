//! Texts that people write: the configuration file, amounts, ids, subjects.

use anthill_light::Subject;
use anthill_node::Config;
use anthill_types::{AccountId, Amount, Cid, Signature};

/// What is accepted is written back as the same text, and read again as the same value.
pub fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match kind % 6 {
        0..2 => file(text),
        2 => {
            if let Ok(amount) = text.parse::<Amount>() {
                assert_eq!(amount.to_string().parse(), Ok(amount));
            }
        }
        3 => {
            if let Ok(subject) = text.parse::<Subject>() {
                assert_eq!(subject.to_string(), text);
                assert!(!subject.key().is_empty());
            }
        }
        4 => {
            if let Ok(cid) = text.parse::<Cid>() {
                assert_eq!(cid.to_string(), text, "a content id has two texts");
            }
        }
        _ => {
            if let Ok(id) = text.parse::<AccountId>() {
                assert_eq!(id.to_string(), text.to_ascii_lowercase());
            }
            if let Ok(signature) = text.parse::<Signature>() {
                assert_eq!(signature.to_string(), text.to_ascii_lowercase());
            }
        }
    }
}

fn file(text: &str) {
    match Config::from_text(text, "config.toml".into()) {
        Ok(config) => {
            assert!((1..=100).contains(&config.cpu()));
            assert!((1..=1024).contains(&config.virtual_nodes()));
            assert!(config.name().len() <= 256 && config.log().len() <= 256);
            // A value that was accepted is not replaced by a fallback.
            assert_eq!(config.listen(), config.values()["listen"].value.parse().unwrap());
            assert_eq!(config.http(), config.values()["http"].value.parse().unwrap());
        }
        // An error never repeats more of the file than a line.
        Err(error) => assert!(error.to_string().len() < 4096, "{} bytes", error.to_string().len()),
    }
}
