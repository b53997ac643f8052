//! Configuration: defaults, then the file, then the environment, then flags; each value knows
//! where it came from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use thiserror::Error;

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {error}; correct it or remove it")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is no TOML of the expected shape.
    #[error("{path} is not a configuration file: {reason}; a line of it looks like: cpu = 50")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A name that does not exist.
    #[error("{origin}: there is no setting {name:?}; the settings are {known}")]
    Unknown {
        /// Where it was found.
        origin: String,
        /// The name.
        name: String,
        /// All names.
        known: String,
    },
    /// A value out of its range.
    #[error("{origin}: {name} = {value:?} is not {expected}")]
    Value {
        /// Where it was found.
        origin: String,
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
}

/// A setting's name, default and meaning.
pub struct Setting {
    /// Its name in the file; in the environment `ANTHILL_` and upper case.
    pub name: &'static str,
    /// Its default.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
    expected: &'static str,
    check: fn(&str) -> bool,
}

fn is_address(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok()
}

fn is_percent(text: &str) -> bool {
    text.parse::<u8>().is_ok_and(|n| (1..=100).contains(&n))
}

fn is_count(text: &str) -> bool {
    text.parse::<usize>().is_ok_and(|n| n <= 1024)
}

fn is_bool(text: &str) -> bool {
    text.parse::<bool>().is_ok()
}

fn is_text(text: &str) -> bool {
    text.len() <= 256
}

/// All settings.
pub const SETTINGS: [Setting; 7] = [
    Setting {
        name: "listen",
        default: "0.0.0.0:4478",
        help: "UDP address for other nodes",
        expected: "an address such as 0.0.0.0:4478",
        check: is_address,
    },
    Setting {
        name: "http",
        default: "127.0.0.1:4477",
        help: "address of the API and the dashboard",
        expected: "an address such as 127.0.0.1:4477",
        check: is_address,
    },
    Setting {
        name: "virtual_nodes",
        default: "0",
        help: "tasks run at once; 0 = one for each core",
        expected: "a number up to 1024",
        check: is_count,
    },
    Setting {
        name: "cpu",
        default: "100",
        help: "share of each virtual node's time, percent",
        expected: "1 to 100",
        check: is_percent,
    },
    Setting {
        name: "paused",
        default: "false",
        help: "start without taking work",
        expected: "true or false",
        check: is_bool,
    },
    Setting {
        name: "log",
        default: "warn",
        help: "what is logged: error, warn, info, debug, trace, or a tracing filter",
        expected: "a short text",
        check: is_text,
    },
    Setting {
        name: "name",
        default: "anthill",
        help: "name of a network that `up` founds",
        expected: "a short text",
        check: is_text,
    },
];

/// A value with its origin.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Value {
    /// The value as text.
    pub value: String,
    /// `default`, the file's path, `environment` or `flag`.
    pub origin: String,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Config(BTreeMap<&'static str, Value>);

impl Config {
    /// Builds the configuration; `environment` and `flags` hold names of settings and values.
    ///
    /// # Errors
    /// A name or value that does not exist, or an unreadable file.
    pub fn load(
        file: &Path,
        environment: &[(String, String)],
        flags: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let mut config = Self::defaults();
        config.read_file(file)?;
        for (name, value) in environment {
            config.set(name, value, "environment")?;
        }
        for (name, value) in flags {
            config.set(name, value, "flag")?;
        }
        Ok(config)
    }

    fn defaults() -> Self {
        let row = |s: &Setting| {
            (s.name, Value { value: s.default.to_string(), origin: "default".to_string() })
        };
        Self(SETTINGS.iter().map(row).collect())
    }

    fn read_file(&mut self, file: &Path) -> Result<(), ConfigError> {
        if !file.exists() {
            return Ok(());
        }
        let path = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError::Io { path: path.clone(), error })?;
        self.read_text(&text, path)
    }

    /// The defaults, and what the text of a file says over them; `path` names the file in errors.
    ///
    /// # Errors
    /// The text is no TOML of the expected shape, or names a setting or value that does not exist.
    pub fn from_text(text: &str, path: String) -> Result<Self, ConfigError> {
        let mut config = Self::defaults();
        config.read_text(text, path)?;
        Ok(config)
    }

    fn read_text(&mut self, text: &str, path: String) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| ConfigError::File {
            path: path.clone(),
            reason: e.message().to_string(),
        })?;
        for (name, value) in table {
            let text = match value {
                toml::Value::String(s) => s,
                toml::Value::Integer(n) => n.to_string(),
                toml::Value::Boolean(b) => b.to_string(),
                other => {
                    let reason = format!("{name} is of type {}", other.type_str());
                    return Err(ConfigError::File { path, reason });
                }
            };
            self.set(&name, &text, &path)?;
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str, origin: &str) -> Result<(), ConfigError> {
        let Some(setting) = SETTINGS.iter().find(|s| s.name == name) else {
            let known: Vec<&str> = SETTINGS.iter().map(|s| s.name).collect();
            return Err(ConfigError::Unknown {
                origin: origin.to_string(),
                name: name.chars().take(64).collect(),
                known: known.join(", "),
            });
        };
        if !(setting.check)(value) {
            return Err(ConfigError::Value {
                origin: origin.to_string(),
                name: setting.name,
                value: value.chars().take(64).collect(),
                expected: setting.expected,
            });
        }
        self.0.insert(setting.name, Value { value: value.to_string(), origin: origin.to_string() });
        Ok(())
    }

    /// All values with their origins, by name.
    pub fn values(&self) -> &BTreeMap<&'static str, Value> {
        &self.0
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |v| v.value.as_str())
    }

    fn address(&self, name: &str) -> SocketAddr {
        self.text(name).parse().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// UDP address for other nodes.
    pub fn listen(&self) -> SocketAddr {
        self.address("listen")
    }

    /// Address of the API.
    pub fn http(&self) -> SocketAddr {
        self.address("http")
    }

    /// Number of virtual nodes.
    pub fn virtual_nodes(&self) -> usize {
        match self.text("virtual_nodes").parse().unwrap_or(0) {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }

    /// Share of each virtual node's time in percent.
    pub fn cpu(&self) -> u8 {
        self.text("cpu").parse().unwrap_or(100)
    }

    /// Start without taking work.
    pub fn paused(&self) -> bool {
        self.text("paused") == "true"
    }

    /// Log filter.
    pub fn log(&self) -> &str {
        self.text("log")
    }

    /// Name of a network that `up` founds.
    pub fn name(&self) -> &str {
        self.text("name")
    }
}

/// The settings found in the environment: `ANTHILL_LISTEN` and so on. Other variables that begin
/// with `ANTHILL_` belong to the command line (`ANTHILL_DATA`) and are left alone.
pub fn environment() -> Vec<(String, String)> {
    let found = |s: &Setting| {
        let variable = format!("ANTHILL_{}", s.name.to_uppercase());
        std::env::var(variable).ok().map(|value| (s.name.to_string(), value))
    };
    SETTINGS.iter().filter_map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_sources_win_and_are_named() {
        let dir = std::env::temp_dir().join(format!("anthill-config-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("config.toml");
        std::fs::write(&file, "cpu = 50\nname = \"lab\"\n").unwrap();
        let env = [("cpu".to_string(), "40".to_string())];
        let config = Config::load(&file, &env, &[("paused", "true".into())]).unwrap();
        assert_eq!(config.cpu(), 40);
        assert_eq!(config.values()["cpu"].origin, "environment");
        assert_eq!(config.values()["name"].origin, file.display().to_string());
        assert_eq!(config.values()["listen"].origin, "default");
        assert!(config.paused());
        std::fs::write(&file, "cpu = 500").unwrap();
        assert!(matches!(Config::load(&file, &[], &[]), Err(ConfigError::Value { .. })));
        std::fs::write(&file, "cqu = 5").unwrap();
        assert!(matches!(Config::load(&file, &[], &[]), Err(ConfigError::Unknown { .. })));
        std::fs::write(&file, "= 5").unwrap();
        assert!(matches!(Config::load(&file, &[], &[]), Err(ConfigError::File { .. })));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn every_default_is_valid() {
        assert!(SETTINGS.iter().all(|s| (s.check)(s.default)));
    }
}
