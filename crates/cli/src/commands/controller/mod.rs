//! `controller run`: the loop on recorded or measured features; `controller train`: its risk model.

pub mod lines;
mod mesh;
mod record;
mod train;

use std::path::Path;
use std::time::{Duration, Instant};

use anthill_scheduler::controller::audit::Json;
use anthill_scheduler::controller::mesh::News;
use anthill_scheduler::controller::{
    Advice, Beat, Controller, Features, RiskModel, Settings, SettingsError, View, advisers,
};

use super::{Context, write_out};
use crate::args_controller::{Clock, ControllerCommand, RunArgs};
use crate::error::CliError;
use lines::Lines;
use mesh::{Heard, Mesh};
use record::Record;

/// Runs a subcommand.
pub fn run(context: &Context, what: &ControllerCommand) -> Result<(), CliError> {
    match what {
        ControllerCommand::Run(args) => Loop::new(args)?.run(args, context.json),
        ControllerCommand::Train { file, out } => train::run(context, file, out.as_deref()),
    }
}

fn usage(error: &SettingsError) -> CliError {
    CliError::Usage(error.to_string())
}

/// A controller with what feeds it and what records it.
struct Loop {
    controller: Controller,
    telemetry: Option<Lines>,
    record: Option<Record>,
    mesh: Option<Mesh>,
    /// Beats to go; none: no end of its own.
    left: Option<u64>,
    /// The run ends with the telemetry.
    ends_with_telemetry: bool,
    start: Instant,
    /// Seconds that the advisers took in the beat before, under the real clock.
    measured_s: Option<f64>,
}

impl Loop {
    fn new(args: &RunArgs) -> Result<Self, CliError> {
        let settings = Settings {
            k_flows: args.k_flows,
            p_nodes: args.p_nodes,
            t1_s: args.t1,
            t_threshold_s: args.t_threshold,
            ..Settings::default()
        };
        let mut controller = Controller::new(settings).map_err(|e| usage(&e))?;
        if settings.heartbeat() > 3600.0 {
            let text = "the heartbeat is longer than an hour: give a smaller --t1";
            return Err(CliError::Usage(text.into()));
        }
        if let Some(file) = &args.model {
            controller.set_model(model(file)?);
        }
        controller.inject(args.inject_anoms, args.inject_weight).map_err(|e| usage(&e))?;
        let left = match args.beats {
            Some(-1) => None,
            Some(beats) => Some(u64::try_from(beats).map_err(|_| {
                CliError::Usage(format!("--beats is {beats}: give a count, or -1 for no end"))
            })?),
            None if args.telemetry.is_some() => None,
            None => Some(10),
        };
        Ok(Self {
            controller,
            telemetry: args.telemetry.as_deref().map(Lines::open).transpose()?,
            record: args.audit.as_deref().map(|file| Record::open(file, args.clock)).transpose()?,
            mesh: if args.mesh { Some(Mesh::start(args)?) } else { None },
            left,
            ends_with_telemetry: args.beats.is_none() && args.telemetry.is_some(),
            start: Instant::now(),
            measured_s: None,
        })
    }

    fn run(mut self, args: &RunArgs, json: bool) -> Result<(), CliError> {
        if !json && !say(&heading())? {
            return Ok(());
        }
        while self.left != Some(0) {
            let Some(features) = self.features()? else { break };
            let heard = self.listen();
            let began = Instant::now();
            let beat = self.beat(&features, args.clock);
            self.tell(&beat);
            if let Some(record) = &mut self.record {
                record.write(&beat)?;
            }
            let line = if json { as_json(&beat, &heard) } else { row(&beat) };
            if !say(&line)? {
                break;
            }
            self.left = self.left.map(|left| left - 1);
            if args.clock == Clock::Real && self.left != Some(0) {
                let pause = Duration::from_secs_f64(beat.t_lambda);
                std::thread::sleep(pause.saturating_sub(began.elapsed()));
            }
        }
        if let Some(mesh) = self.mesh {
            mesh.end();
        }
        Ok(())
    }

    /// Features of the next beat; none: the run is over.
    fn features(&mut self) -> Result<Option<Features>, CliError> {
        let mut features = Features::default();
        if let Some(lines) = &mut self.telemetry {
            match lines.next()? {
                Some(line) => {
                    let found = Features::parse(&line);
                    features = found.map_err(|e| lines.wrong(&e.to_string()))?;
                }
                None if self.ends_with_telemetry => return Ok(None),
                None => self.telemetry = None,
            }
        }
        features.beat_s = features.beat_s.or(self.measured_s);
        Ok(Some(features))
    }

    /// Takes in what other controllers said.
    fn listen(&mut self) -> Vec<Heard> {
        let heard = self.mesh.as_ref().map(Mesh::heard).unwrap_or_default();
        for Heard { news, .. } in &heard {
            if let News::Inject { anoms, weight } = news {
                // The mesh refuses weights that are no numbers.
                let _ = self.controller.inject(*anoms, *weight);
            }
        }
        heard
    }

    fn beat(&mut self, features: &Features, clock: Clock) -> Beat {
        let now_s = match clock {
            Clock::Fixed => self.controller.fixed_now_s(),
            Clock::Real => self.start.elapsed().as_secs_f64(),
        };
        let view = self.controller.view(features);
        let began = Instant::now();
        let advice = advise(&view);
        if clock == Clock::Real {
            self.measured_s = Some(began.elapsed().as_secs_f64());
        }
        self.controller.conclude(&view, advice, now_s)
    }

    fn tell(&mut self, beat: &Beat) {
        let threat = beat.decision.raw.threat;
        if let Some(mesh) = &self.mesh
            && threat >= 0.6
        {
            mesh.say(News::Threat { beat: beat.beat, threat });
        }
    }
}

/// Asks the four advisers at the same time.
fn advise(view: &View) -> Advice {
    std::thread::scope(|scope| {
        let repair = scope.spawn(|| advisers::repair(view));
        let balance = scope.spawn(|| advisers::balance(view));
        let risk = scope.spawn(|| advisers::risk(view));
        let optimize = advisers::optimize(view);
        match (repair.join(), balance.join(), risk.join()) {
            (Ok(repair), Ok(balance), Ok(risk)) => Advice { repair, balance, risk, optimize },
            // An adviser cannot fail; if its thread did, its answer is computed here.
            _ => Advice::of(view),
        }
    })
}

fn model(file: &Path) -> Result<RiskModel, CliError> {
    let path = file.display().to_string();
    let wrong = |reason: String| CliError::Usage(format!("{path}: {reason}"));
    let text = std::fs::read_to_string(file)
        .map_err(|error| CliError::File { path: path.clone(), error })?;
    let json = Json::parse(&text).map_err(|e| wrong(e.to_string()))?;
    let number = |name: &str| {
        let found = json.get(name).and_then(Json::as_f64);
        found.ok_or_else(|| wrong(format!("{name} is missing, or is no number")))
    };
    RiskModel::new(number("weight")?, number("bias")?).map_err(|e| wrong(e.to_string()))
}

/// Writes a line; false when nobody reads any more.
fn say(line: &str) -> Result<bool, CliError> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::File { path: "standard output".into(), error }),
    }
}

fn as_json(beat: &Beat, heard: &[Heard]) -> String {
    let mut json = beat.to_json();
    if !heard.is_empty() {
        let heard = heard.iter().map(Heard::to_json).collect();
        json = json.merged(Json::object([("heard", Json::List(heard))]));
    }
    json.to_string()
}

fn heading() -> String {
    "beat  measured ms  threat  stability  repair  gain   action          dT ms    dO       R     B     E     O"
        .into()
}

fn row(beat: &Beat) -> String {
    let raw = &beat.decision.raw;
    let weights = &beat.weights;
    format!(
        "{:<4}  {:>11.3}  {:>6.4}  {:>9.4}  {:>6.2}  {:>5.3}  {:<14}  {:>7.3}  {:>+7.4}  {:.3} {:.3} {:.3} {:.3}",
        beat.beat,
        beat.measured * 1000.0,
        raw.threat,
        raw.stability,
        raw.repair_score,
        raw.opt_gain,
        beat.action.name(),
        beat.pid.delta_t * 1000.0,
        beat.pid.weight_adjustment,
        weights.r,
        weights.b,
        weights.e,
        weights.o,
    )
}

/// Prints a value that is JSON of ours.
fn print(context: &Context, json: &Json, text: &str) -> Result<(), CliError> {
    let line = if context.json { format!("{json}\n") } else { text.to_string() };
    write_out(line.as_bytes())
        .map_err(|error| CliError::File { path: "standard output".into(), error })
}
