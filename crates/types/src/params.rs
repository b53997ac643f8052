//! The governed parameters of a chain: their numbers, names, bounds and starting values.
//!
//! Every value that the seeds or `docs/spec/` leave to governance is one row of the table in this
//! file. A proposal names rows by number ([`ParamInfo::id`]); people name them by their name here
//! or by the word of a seed (`VN_MAX`, `wE`). A row's number never changes and is never used again.

use minicbor::{Decode, Encode};
use thiserror::Error;

use crate::amount::{Amount, MICRO};
use crate::genesis::NANO;
use crate::state::Terms;
use crate::wire;

/// What a parameter's integer counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Epochs.
    Epochs,
    /// Blocks.
    Blocks,
    /// Micro-credits.
    Micro,
    /// A ratio: 10^9 is one.
    Nano,
    /// A plain number.
    Count,
    /// 0 is off, 1 is on.
    Switch,
    /// A ratio: 10,000 is one.
    TenThousandths,
}

impl Unit {
    /// A value of this unit for people: `600 s`, `0.75`, `12.5 rUv`, `on`.
    pub fn show(self, value: u128) -> String {
        match self {
            Self::Milliseconds if value.is_multiple_of(1000) => format!("{} s", value / 1000),
            Self::Milliseconds => format!("{value} ms"),
            Self::Epochs => format!("{value} epochs"),
            Self::Blocks => format!("{value} blocks"),
            Self::Micro => format!("{} rUv", Amount(value)),
            Self::Nano => Amount(value / 1000).to_string(),
            Self::Count => value.to_string(),
            Self::TenThousandths => Amount(value * 100).to_string(),
            Self::Switch => (if value == 0 { "off" } else { "on" }).to_string(),
        }
    }
}

/// One row of the table of parameters.
#[derive(Clone, Copy, Debug)]
pub struct ParamInfo {
    /// Its number in proposals and in the encoding.
    pub id: u32,
    /// Its name.
    pub name: &'static str,
    /// The word of a seed or of the specification, where it has one of its own.
    pub alias: Option<&'static str>,
    /// What its integer counts.
    pub unit: Unit,
    /// Smallest value.
    pub min: u128,
    /// Largest value.
    pub max: u128,
    /// Starting value.
    pub default: u128,
    /// What it is.
    pub text: &'static str,
    get: fn(&ChainParams) -> u128,
    set: fn(&mut ChainParams, u128),
}

/// Why parameters are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParamError {
    /// No row has this number.
    #[error("there is no parameter number {0}: `anthill gov params` lists them")]
    UnknownId(u32),
    /// No row has this name.
    #[error("there is no parameter {0:?}: `anthill gov params` lists them")]
    UnknownName(String),
    /// A value outside its bounds.
    #[error("{name} must be {min} to {max}, not {value}")]
    OutOfBounds {
        /// The parameter.
        name: &'static str,
        /// What was asked for.
        value: u128,
        /// Smallest value.
        min: u128,
        /// Largest value.
        max: u128,
    },
    /// Values that do not fit together.
    #[error("{0}")]
    Together(&'static str),
}

/// A field of the table: `u64` or [`Amount`].
trait Field: Copy {
    fn wide(self) -> u128;
    fn narrow(value: u128) -> Self;
}

impl Field for u64 {
    fn wide(self) -> u128 {
        self.into()
    }
    fn narrow(value: u128) -> Self {
        // The bounds of each row fit its field.
        Self::try_from(value).unwrap_or(Self::MAX)
    }
}

impl Field for Amount {
    fn wide(self) -> u128 {
        self.0
    }
    fn narrow(value: u128) -> Self {
        Self(value)
    }
}

macro_rules! alias {
    () => {
        None
    };
    ($alias:literal) => {
        Some($alias)
    };
}

macro_rules! params {
    ($($id:literal $name:ident $(as $alias:literal)? : $type:ident = $default:expr,
       $min:expr => $max:expr, $unit:ident, $text:literal;)+) => {
        /// Parameters of a chain; every value marked with a star in `docs/spec/protocol.md` is here.
        #[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
        #[cbor(array)]
        pub struct ChainParams {
            $(#[doc = $text] #[n($id)] pub $name: $type,)+
        }

        impl Default for ChainParams {
            /// The starting values of the seeds, `docs/spec/protocol.md` and `docs/spec/poei.md`.
            fn default() -> Self {
                Self { $($name: <$type as Field>::narrow($default),)+ }
            }
        }

        /// All parameters, ascending by number.
        pub static PARAMS: &[ParamInfo] = &[$(ParamInfo {
            id: $id,
            name: stringify!($name),
            alias: alias!($($alias)?),
            unit: Unit::$unit,
            min: $min,
            max: $max,
            default: $default,
            text: $text,
            get: |p| p.$name.wide(),
            set: |p, value| p.$name = <$type as Field>::narrow(value),
        },)+];
    };
}

/// One, in nano, as wide as a row.
const ONE: u128 = NANO as u128;
/// The longest time that a parameter may set: 30 days in milliseconds.
const MONTH_MS: u128 = 30 * 24 * 3600 * 1000;
/// The largest amount that a parameter may set: a million million credits.
const MOST: u128 = 1_000_000_000_000 * MICRO;

params! {
    0 block_interval_ms: u64 = 1_000, 10 => 600_000, Milliseconds,
        "Milliseconds between blocks when there is something to do.";
    1 idle_interval_ms: u64 = 10_000, 10 => 3_600_000, Milliseconds,
        "Milliseconds between blocks otherwise.";
    2 epoch_ms as "Epoch_Duration": u64 = 600_000, 1_000 => MONTH_MS, Milliseconds,
        "Length of an epoch in milliseconds.";
    3 challenge_epochs: u64 = 2, 1 => 1_000, Epochs,
        "Epochs during which a provisional result may be challenged.";
    4 unit_price: u64 = 10, 0 => 1_000_000_000, Micro,
        "Micro-credits per unit of reference cost.";
    5 base_fee: u64 = 1, 0 => 1_000_000_000, Micro,
        "Micro-credits per byte of a transaction, burned.";
    6 min_bond: Amount = 100 * MICRO, MICRO => MOST, Micro,
        "Bond up to which a newcomer's rewards are bonded, and below which nobody validates.";
    7 worker_share: u64 = ONE * 9 / 10, 0 => ONE, Nano,
        "Share of the price that a worker gets (nano); the rest is burned.";
    8 audit_rate: u64 = ONE / 20, ONE / 1000 => ONE, Nano,
        "Share of unreplicated results that are audited (nano).";
    9 proven_trust: u64 = ONE * 9 / 10, 0 => ONE, Nano,
        "Trust from which a worker may work alone (nano).";
    10 committee: u64 = 7, 1 => 101, Count,
        "Most validators drawn to re-execute a task in doubt.";
    11 slash_wrong: u64 = ONE / 10, 0 => ONE, Nano,
        "Bond lost for a wrong result (nano).";
    12 missed_reveal: Amount = MICRO, 0 => MOST, Micro,
        "Bond lost for a missed beacon reveal.";
    13 reply_blocks: u64 = 30, 1 => 100_000, Blocks,
        "Blocks that replicas have to commit, then again to reveal.";
    14 challenge_deposit: Amount = MICRO, 0 => MOST, Micro,
        "Deposit of a challenge.";
    15 base_pool as "Reward_Pool": Amount = 1_000_000 * MICRO, 0 => MOST, Micro,
        "PoEI: credits that an epoch may mint before the growth multiplier.";
    16 e_ref as "E_ref": u64 = ONE, 1 => 1000 * ONE, Nano,
        "PoEI: reference efficiency (nano).";
    17 kappa as "κ": u64 = ONE * 15 / 100, 0 => ONE, Nano,
        "PoEI: share of flow in efficiency and FlowWeight (nano).";
    18 weight_e as "wE": u64 = ONE / 4, 0 => ONE, Nano,
        "PoEI: weight of efficiency (nano); the four weights sum to one.";
    19 weight_q as "wQ": u64 = ONE / 4, 0 => ONE, Nano,
        "PoEI: weight of quality (nano).";
    20 weight_i as "wI": u64 = ONE / 4, 0 => ONE, Nano,
        "PoEI: weight of impact (nano).";
    21 weight_t as "wT": u64 = ONE / 4, 0 => ONE, Nano,
        "PoEI: weight of trust (nano).";
    22 trust_threshold as "TRR_Threshold": u64 = ONE * 75 / 100, 0 => ONE, Nano,
        "Trust below which a node neither earns an epoch's reward nor votes (nano).";
    23 score_memory: u64 = ONE / 5, 0 => ONE, Nano,
        "PoEI: share of the epoch before in a score (nano).";
    24 parent_ratio as "Reward_ratio": u64 = ONE * 12 / 10, ONE => 10 * ONE, Nano,
        "PoEI: factor of a parent's share against a child's (nano).";
    25 adaptive_weights: u64 = 0, 0 => 1, Switch,
        "PoEI: whether the weights follow the bounded adaptive rule at each epoch's end.";
    26 slash_equivocation: u64 = ONE / 2, 0 => ONE, Nano,
        "Bond lost for two votes that exclude each other (nano).";
    27 unbonding_epochs: u64 = 4, 1 => 2_000, Epochs,
        "Epochs that an unbonded stake can still be slashed before it is paid out.";
    28 max_validators: u64 = 100, 1 => 1024, Count,
        "Most validators of a set; those with the most stake are taken.";
    29 jail_epochs: u64 = 2, 1 => 10_000, Epochs,
        "Epochs after which a jailed validator may ask to be let back in.";
    30 missed_blocks: u64 = 50, 1 => 100_000, Blocks,
        "Proposals in a row without a beacon reveal after which a validator is jailed.";
    31 quorum: u64 = ONE * 70 / 100, ONE / 2 => ONE, Nano,
        "Share of all voting power that must vote for a proposal to count (nano).";
    32 voting_epochs: u64 = 6, 1 => 10_000, Epochs,
        "Epochs after which a proposal expires that has not passed.";
    33 delay_epochs: u64 = 1, 1 => 10_000, Epochs,
        "Epochs between the passing of a proposal and its execution.";
    34 proposal_deposit: Amount = 10 * MICRO, 0 => MOST, Micro,
        "Deposit of a proposal; it returns unless the proposal expires without a quorum.";
    35 identity_epochs: u64 = 10, 1 => 10_000, Epochs,
        "Epochs with final results before a proven identity votes by the square root of its stake.";
    36 identity_kinds: u64 = 0, 0 => 1, Count,
        "What proves an identity to governance: 0 nothing, 1 that a vote has vouched for it.";
    37 link_fee: Amount = MICRO / 100, 0 => MOST, Micro,
        "Flat fee of a graph link, burned.";
    38 name_price: Amount = MICRO / 10, 0 => MOST, Micro,
        "Price of a name for one epoch, burned.";
    39 name_epochs: u64 = 1_000, 1 => 1_000_000, Epochs,
        "Most epochs for which a name can be held ahead.";
    40 denomination_fee: Amount = 10 * MICRO, 0 => MOST, Micro,
        "Fee of creating a denomination, burned.";
    41 property_fee: Amount = 100, 0 => MOST, Micro,
        "Fee per byte of a property's key and value, burned.";
    42 channel_epochs: u64 = 2, 1 => 10_000, Epochs,
        "Epochs in which the close of a payment channel can be disputed.";
    43 vn_max as "VN_MAX": u64 = 64, 1 => 100_000, Count,
        "Most virtual nodes of one physical node.";
    44 aro_interval_ms as "ARO_INTERVAL": u64 = 1_000, 10 => 3_600_000, Milliseconds,
        "Milliseconds between two decisions of the autoscaler.";
    45 cpu_threshold as "CPU_threshold": u64 = ONE * 80 / 100, 0 => ONE, Nano,
        "CPU load at which virtual nodes are spawned or merged (nano).";
    46 sync_ttl_ms as "Sync_TTL": u64 = 5_000, 100 => 3_600_000, Milliseconds,
        "Longest time that a virtual node's state may lag behind its parent's.";
    47 delegator_share: u64 = ONE * 90 / 100, 0 => ONE, Nano,
        "Share of what a delegated stake earns that goes to its delegator (nano).";
    48 damping: u64 = 8_500, 7_001 => 9_929, TenThousandths,
        "Share of a particle's focus that flows along its links in each step (ten-thousandths).";
}

impl ParamInfo {
    /// The row of a number.
    ///
    /// # Errors
    /// [`ParamError::UnknownId`].
    pub fn by_id(id: u32) -> Result<&'static Self, ParamError> {
        usize::try_from(id).ok().and_then(|at| PARAMS.get(at)).ok_or(ParamError::UnknownId(id))
    }

    /// The row of a name or a seed's word, in any case of letters.
    ///
    /// # Errors
    /// [`ParamError::UnknownName`].
    pub fn by_name(name: &str) -> Result<&'static Self, ParamError> {
        let is = |word: &str| word.eq_ignore_ascii_case(name);
        let row = PARAMS.iter().find(|row| is(row.name) || row.alias.is_some_and(is));
        row.ok_or_else(|| ParamError::UnknownName(name.chars().take(64).collect()))
    }

    /// The value in `params`.
    pub fn get(&self, params: &ChainParams) -> u128 {
        (self.get)(params)
    }

    fn check(&self, value: u128) -> Result<(), ParamError> {
        if (self.min..=self.max).contains(&value) {
            return Ok(());
        }
        let Self { name, min, max, .. } = *self;
        Err(ParamError::OutOfBounds { name, value, min, max })
    }
}

/// A wish to set one parameter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(array)]
pub struct ParamChange {
    /// [`ParamInfo::id`].
    #[n(0)]
    pub id: u32,
    /// The new value, in the row's unit.
    #[n(1)]
    pub value: Amount,
}

impl ChainParams {
    /// Checks every value against its bounds, and those that belong together.
    ///
    /// # Errors
    /// [`ParamError`] of the first that does not fit.
    pub fn check(&self) -> Result<(), ParamError> {
        for row in PARAMS {
            row.check(row.get(self))?;
        }
        let weights = [self.weight_e, self.weight_q, self.weight_i, self.weight_t];
        if weights.iter().map(|w| u128::from(*w)).sum::<u128>() != ONE {
            return Err(ParamError::Together("the four weights of PoEI must sum to one"));
        }
        if self.proven_trust < self.trust_threshold {
            return Err(ParamError::Together("proven_trust must not be below trust_threshold"));
        }
        if self.idle_interval_ms < self.block_interval_ms {
            return Err(ParamError::Together(
                "idle_interval_ms must not be below block_interval_ms",
            ));
        }
        Ok(())
    }

    /// The parameters after these changes, all of them or none.
    ///
    /// # Errors
    /// [`ParamError`] when a number is unknown or the result does not check.
    pub fn with(&self, changes: &[ParamChange]) -> Result<Self, ParamError> {
        let mut next = self.clone();
        for change in changes {
            let row = ParamInfo::by_id(change.id)?;
            row.check(change.value.0)?;
            (row.set)(&mut next, change.value.0);
        }
        next.check()?;
        Ok(next)
    }

    /// The prices of a task that is submitted now.
    pub fn terms(&self) -> Terms {
        Terms { unit_price: self.unit_price, worker_share: self.worker_share }
    }
}

wire! {
    ChainParams = "chain parameters", max 1024;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Wire as _;

    #[test]
    fn the_table_is_sound() {
        let defaults = ChainParams::default();
        defaults.check().unwrap();
        for (at, row) in PARAMS.iter().enumerate() {
            assert_eq!(row.id as usize, at);
            assert_eq!(row.get(&defaults), row.default, "{}", row.name);
            assert!(std::ptr::eq(ParamInfo::by_name(row.name).unwrap(), row));
            if let Some(alias) = row.alias {
                assert!(std::ptr::eq(ParamInfo::by_name(alias).unwrap(), row));
            }
        }
        assert_eq!(ChainParams::from_bytes(&defaults.to_bytes()).unwrap(), defaults);
    }

    #[test]
    fn each_row_can_be_changed_and_keeps_its_bounds() {
        let defaults = ChainParams::default();
        for row in PARAMS {
            for value in [row.min, row.max] {
                let mut params = defaults.clone();
                (row.set)(&mut params, value);
                assert_eq!(row.get(&params), value, "{}", row.name);
            }
            for value in [row.min.checked_sub(1), row.max.checked_add(1)].into_iter().flatten() {
                let change = ParamChange { id: row.id, value: Amount(value) };
                assert!(matches!(
                    defaults.with(&[change]),
                    Err(ParamError::OutOfBounds { name, .. }) if name == row.name
                ));
            }
        }
        let unknown = ParamChange { id: PARAMS.len() as u32, value: Amount(1) };
        assert_eq!(defaults.with(&[unknown]), Err(ParamError::UnknownId(unknown.id)));
    }

    /// A step shrinks the residual, 2 at most, to `d` of it, so after so many steps it is within
    /// the bound: the most steps can never be what stops a run (`docs/spec/focus.md` 9).
    #[test]
    fn the_most_steps_of_focus_never_bind() {
        let row = ParamInfo::by_name("damping").unwrap();
        let steps = |damping: u128| {
            let d = damping as f64 / 10_000.0;
            ((2.0f64 / 1e-6).ln() / (1.0 / d).ln()).ceil()
        };
        for damping in row.min..=row.max {
            assert!(steps(damping) <= 2048.0, "{damping}");
        }
        assert!(steps(row.max + 1) > 2048.0, "the bound could be wider");
        assert_eq!(row.unit.show(row.default), "0.85");
    }

    #[test]
    fn weights_change_together() {
        let change = |name, value| ParamChange {
            id: ParamInfo::by_name(name).unwrap().id,
            value: Amount(value),
        };
        let defaults = ChainParams::default();
        assert!(defaults.with(&[change("wE", ONE / 2)]).is_err());
        let both = [change("wE", ONE / 2), change("wQ", 0)];
        assert_eq!(defaults.with(&both).unwrap().weight_e, NANO / 2);
    }
}
