//! Configuration: defaults, then the file, then the environment, then flags; each value knows
//! where it came from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use crate::moving::Partners;

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

fn is_address_or_off(text: &str) -> bool {
    text == "off" || is_address(text)
}

fn is_seconds(text: &str) -> bool {
    text.parse::<u64>().is_ok_and(|n| n <= 86_400)
}

/// Names with ports, between commas.
fn is_names(text: &str) -> bool {
    let name = |part: &str| {
        let (host, port) = part.rsplit_once(':').unwrap_or_default();
        !host.is_empty() && host.len() <= 253 && port.parse::<u16>().is_ok_and(|p| p > 0)
    };
    text.is_empty() || (text.len() <= 4096 && text.split(',').all(|part| name(part.trim())))
}

fn is_address_or_none(text: &str) -> bool {
    text.is_empty() || is_address(text)
}

fn is_path(text: &str) -> bool {
    text.len() <= 4096
}

fn is_text(text: &str) -> bool {
    text.len() <= 256
}

fn is_rate(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|n| n <= 1_000_000)
}

fn is_base_time(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|n| (1..=60_000).contains(&n))
}

fn is_webhook(text: &str) -> bool {
    text.is_empty() || text.len() <= 256 && crate::steer::webhook::parse(text).is_some()
}

fn is_partners(text: &str) -> bool {
    text.parse::<Partners>().is_ok()
}

/// All settings.
pub const SETTINGS: [Setting; 17] = [
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
        help: "tasks run at once; 0 = the autoscaler decides",
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
        name: "bandwidth",
        default: "0",
        help: "what the node may send and receive, megabits per second: above, local work goes first; \
               0 = not limited",
        expected: "a number up to 1000000",
        check: is_rate,
    },
    Setting {
        name: "t1_ms",
        default: "1000",
        help: "base time of the controller's heartbeat, milliseconds; a beat is 4.2 times as long",
        expected: "1 to 60000",
        check: is_base_time,
    },
    Setting {
        name: "webhook",
        default: "",
        help: "address (http://HOST:PORT/PATH) to which the controller's alerts are posted as JSON",
        expected: "an address such as http://127.0.0.1:9000/alerts",
        check: is_webhook,
    },
    Setting {
        name: "partners",
        default: "",
        help: "accounts whose nodes exchange virtual nodes with this one: `all`, or ids with commas; \
               they are trusted with results",
        expected: "`all`, or account ids with commas between them",
        check: is_partners,
    },
    Setting {
        name: "name",
        default: "anthill",
        help: "name of a network that `up` founds",
        expected: "a short text",
        check: is_text,
    },
    Setting {
        name: "metrics",
        default: "off",
        help: "address that serves /metrics, /healthz and /readyz to anybody, and nothing else",
        expected: "off, or an address such as 0.0.0.0:8000",
        check: is_address_or_off,
    },
    Setting {
        name: "drain",
        default: "10",
        help: "seconds that SIGTERM gives to begun tasks; 0 = end at once",
        expected: "a number of seconds up to 86400",
        check: is_seconds,
    },
    Setting {
        name: "cluster",
        default: "",
        help: "names with ports at which the replicas of a cluster find each other",
        expected: "names with ports between commas, such as anthill-headless:4479",
        check: is_names,
    },
    Setting {
        name: "cluster_secret",
        default: "",
        help: "file with the secret that lets replicas of the cluster in",
        expected: "a path",
        check: is_path,
    },
    Setting {
        name: "cluster_listen",
        default: "",
        help: "where this replica answers the others; all addresses with the cluster's port if empty",
        expected: "an address such as 10.0.0.7:4479",
        check: is_address_or_none,
    },
    Setting {
        name: "cluster_pod",
        default: "",
        help: "name of this replica; the one that ends with -0 founds, else the one with the lowest address",
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

    /// True when the autoscaler decides how many virtual nodes there are.
    pub fn autoscales(&self) -> bool {
        self.text("virtual_nodes").parse() == Ok(0)
    }

    /// Bytes per second that the node may send and receive; `None`: not limited.
    pub fn bandwidth(&self) -> Option<f64> {
        let megabits: f64 = self.text("bandwidth").parse().unwrap_or(0.0);
        (megabits > 0.0).then_some(megabits * 125_000.0)
    }

    /// Base time T1 of the controller's heartbeat, seconds.
    pub fn t1_s(&self) -> f64 {
        self.text("t1_ms").parse().unwrap_or(1_000.0) / 1e3
    }

    /// Where alerts are posted.
    pub fn webhook(&self) -> Option<&str> {
        Some(self.text("webhook")).filter(|text| !text.is_empty())
    }

    /// Whose nodes exchange virtual nodes with this one.
    pub fn partners(&self) -> Partners {
        self.text("partners").parse().unwrap_or(Partners::Some(Default::default()))
    }

    /// Number of virtual nodes at the start.
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

    /// Address of the open metrics, if there are any.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.text("metrics").parse().ok()
    }

    /// How long SIGTERM lets begun tasks go on.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.text("drain").parse().unwrap_or(0))
    }

    /// Names with ports of the cluster's replicas.
    pub fn cluster(&self) -> impl Iterator<Item = &str> {
        self.text("cluster").split(',').map(str::trim).filter(|name| !name.is_empty())
    }

    /// File of the cluster's secret; empty when none is named.
    pub fn cluster_secret(&self) -> &str {
        self.text("cluster_secret")
    }

    /// Where this replica answers the others, when that is set.
    pub fn cluster_listen(&self) -> Option<SocketAddr> {
        self.text("cluster_listen").parse().ok()
    }

    /// Name of this replica, when it is set.
    pub fn cluster_pod(&self) -> Option<&str> {
        Some(self.text("cluster_pod")).filter(|name| !name.is_empty())
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
        let names =
            |text: &str| Config::load(Path::new("/nowhere"), &[], &[("cluster", text.into())]);
        assert_eq!(names("a:1, b.c:2").unwrap().cluster().collect::<Vec<_>>(), ["a:1", "b.c:2"]);
        for wrong in ["a", "a:0", ":1", "a:1,,b:2", "a:70000"] {
            assert!(matches!(names(wrong), Err(ConfigError::Value { .. })), "{wrong}");
        }
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
