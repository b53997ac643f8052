//! Arguments of `cargo xtask fuzz`.

/// What was asked for.
pub struct Options {
    /// Seconds for each target.
    pub seconds: u64,
    /// Targets at a time.
    pub jobs: usize,
    /// Where the fuzzer's choices start from; another place each time when absent.
    pub seed: Option<u64>,
    /// Add what was run to the published totals.
    pub record: bool,
    /// Bring new inputs back into the repository's corpora.
    pub minimize: bool,
    targets: Vec<String>,
}

const USAGE: &str = "usage: cargo xtask fuzz [--seconds N | --minutes N] [--jobs N] [--seed N] \
                     [--record] [--minimize] [TARGET...]";

impl Options {
    /// Reads the arguments; 30 seconds a target and one target at a time unless they say otherwise.
    pub fn read(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            seconds: 30,
            jobs: 1,
            seed: None,
            record: false,
            minimize: false,
            targets: Vec::new(),
        };
        let mut rest = arguments.iter();
        while let Some(word) = rest.next() {
            let mut number = |most: u64| {
                let number = rest.next().and_then(|n| n.parse().ok());
                number
                    .filter(|n| (1..=most).contains(n))
                    .ok_or(format!("{word} takes a number from 1 to {most}\n{USAGE}"))
            };
            match word.as_str() {
                "--seconds" => options.seconds = number(1_000_000)?,
                "--minutes" => options.seconds = number(100_000)? * 60,
                "--jobs" => options.jobs = number(256)? as usize,
                "--seed" => options.seed = Some(number(u32::MAX.into())?),
                "--record" => options.record = true,
                "--minimize" => options.minimize = true,
                name if super::TARGETS.iter().any(|t| t.name == name) => {
                    options.targets.push(name.to_string());
                }
                other => {
                    let names: Vec<&str> = super::TARGETS.iter().map(|t| t.name).collect();
                    let names = names.join(", ");
                    return Err(format!(
                        "{other:?} is no target or option\n{USAGE}\ntargets: {names}"
                    ));
                }
            }
        }
        Ok(options)
    }

    /// Whether a target was asked for: no name means all.
    pub fn wants(&self, name: &str) -> bool {
        self.targets.is_empty() || self.targets.iter().any(|t| t == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let read = |text: &str| {
            Options::read(&text.split_whitespace().map(String::from).collect::<Vec<_>>())
        };
        let all = read("").unwrap();
        assert_eq!((all.seconds, all.jobs, all.wants("wire")), (30, 1, true));
        assert_eq!(all.seed, None);
        let some = read("--minutes 2 --jobs 2 --seed 7 --record wire").unwrap();
        assert_eq!((some.seconds, some.jobs, some.seed, some.record), (120, 2, Some(7), true));
        assert!(some.wants("wire") && !some.wants("store"));
        for bad in ["--seconds", "--seconds 0", "--jobs many", "--jobs 257", "--seed 0", "nothing"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
