//! A beat as JSON, in the form of `docs/spec/controller.md`.

use super::Beat;
use super::advisers::Advice;
use super::audit::Json;
use super::decision::Values;
use super::pid::PidReport;
use super::weights::Weights;

impl Advice {
    /// What each adviser said, under its letter.
    pub fn to_json(&self) -> [(&'static str, Json); 4] {
        let Self { repair, balance, risk, optimize } = self;
        [
            ("R", Json::object([("urgency", repair.urgency.into()), ("cost", repair.cost.into())])),
            (
                "B",
                Json::object([
                    ("conserve", balance.conserve.into()),
                    ("kp", balance.kp.into()),
                    ("ki", balance.ki.into()),
                    ("kd", balance.kd.into()),
                ]),
            ),
            (
                "E",
                Json::object([
                    ("threat_score", risk.threat_score.into()),
                    ("explanation", risk.explanation.as_str().into()),
                    ("version", risk.version.as_str().into()),
                ]),
            ),
            ("O", Json::object([("expected_gain", optimize.expected_gain.into())])),
        ]
    }
}

impl Values {
    fn fields(&self) -> [(&'static str, Json); 4] {
        [
            ("threat", self.threat.into()),
            ("stability", self.stability.into()),
            ("repair_score", self.repair_score.into()),
            ("opt_gain", self.opt_gain.into()),
        ]
    }
}

impl PidReport {
    fn to_json(self) -> Json {
        Json::object([
            ("p", self.p.into()),
            ("i", self.i.into()),
            ("d", self.d.into()),
            ("out", self.out.into()),
            ("integral", self.integral.into()),
            ("delta_t", self.delta_t.into()),
            ("delta_v", self.delta_v.into()),
            ("stable", self.stable.into()),
            ("weight_adjustment", self.weight_adjustment.into()),
        ])
    }
}

impl Weights {
    fn to_json(self) -> Json {
        let Self { r, b, e, o } = self;
        Json::object([("R", r.into()), ("B", b.into()), ("E", e.into()), ("O", o.into())])
    }
}

impl Beat {
    /// The pulse alone: number, heartbeat and measured time.
    pub fn pulse(&self) -> Json {
        Json::object([
            ("beat", self.beat.into()),
            ("t_lambda", self.t_lambda.into()),
            ("measured", self.measured.into()),
        ])
    }

    /// What was decided, and what it did to the weights: the details of an action.
    pub fn outcome(&self) -> Json {
        let weighted = Json::object(self.decision.weighted.fields());
        let raw = self.decision.raw.fields().into_iter();
        Json::object([
            ("beat", self.beat.into()),
            ("decision", Json::object(raw.chain([("weighted", weighted)]))),
            ("pid", self.pid.to_json()),
            ("weights", self.weights.to_json()),
        ])
    }

    /// The whole beat.
    pub fn to_json(&self) -> Json {
        let mut all = self.pulse().merged(self.outcome());
        all = all.merged(Json::object([
            ("advisers", Json::object(self.advice.to_json())),
            ("action", self.action.name().into()),
        ]));
        all
    }
}
