//! `/v1/gov`: parameters, proposals and votes.

use anthill_ledger::governance::Electorate;
use anthill_types::governance::{Action, CastVote, Counter, Proposal, Propose, Side, Status};
use anthill_types::params::{PARAMS, ParamChange, ParamInfo};
use anthill_types::{Amount, Body, keys};
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};

use super::error::{InPath, path, whole};
use super::tx::{TxView, id};
use super::{ApiError, App};

/// Most proposals in one answer.
const MAX_LISTED: u64 = 100;

/// A wish to set a parameter.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct ChangeInput {
    /// Its name, or the word of a seed (`VN_MAX`).
    name: String,
    /// The new value, an integer in the parameter's unit.
    #[schema(pattern = "^[0-9]{1,38}$")]
    value: String,
}

/// What this node's account does in governance.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum GovRequest {
    /// Proposes to set parameters.
    Propose {
        /// Which.
        changes: Vec<ChangeInput>,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// Proposes to recognise an account as one person's, or to take that back.
    Vouch {
        /// The account.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        account: String,
        /// Whether it is one.
        is_person: bool,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// Votes, also with parts of the power.
    Vote {
        /// The proposal.
        #[serde(deserialize_with = "whole")]
        proposal: u64,
        /// Part for it: 10^9 is all.
        #[serde(default, deserialize_with = "whole")]
        yes: u64,
        /// Part against it: 10^9 is all.
        #[serde(default, deserialize_with = "whole")]
        no: u64,
    },
}

/// A parameter.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ParamView {
    /// Its number.
    id: u32,
    /// Its name.
    name: &'static str,
    /// The word of a seed or of the specification.
    alias: Option<&'static str>,
    /// Its value, an integer.
    value: String,
    /// Its value, for people.
    shown: String,
    /// Its starting value.
    default: String,
    /// The smallest value.
    min: String,
    /// The largest value.
    max: String,
    /// What it is.
    text: &'static str,
}

/// A change of a parameter.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ChangeView {
    /// The parameter.
    name: String,
    /// The new value, an integer.
    value: String,
    /// For people.
    shown: String,
}

/// A proposal.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ProposalView {
    /// Its number.
    proposal: u64,
    /// Who made it.
    proposer: String,
    /// Why.
    reason: String,
    /// The parameters that it sets.
    changes: Vec<ChangeView>,
    /// The account that it vouches for, or no longer.
    vouch: Option<String>,
    /// Whether that account is one person's.
    is_person: Option<bool>,
    /// `open`, `passed`, `executed`, `rejected`, `expired` or `failed`.
    status: &'static str,
    /// The epoch with whose beginning it is carried out, or the height at which it was.
    at: Option<u64>,
    /// The epoch in which it was made.
    opened: u64,
    /// The epoch with whose beginning its time is over.
    closes: u64,
    /// Power for it.
    yes: String,
    /// Power against it.
    no: String,
    /// All power now.
    power: String,
    /// Part of all power that must vote, nano.
    quorum: u64,
}

impl GovRequest {
    fn body(self) -> Result<Body, ApiError> {
        Ok(match self {
            Self::Propose { changes, reason } => {
                let change = |c: ChangeInput| {
                    let row =
                        ParamInfo::by_name(&c.name).map_err(|e| ApiError::bad(e.to_string()))?;
                    let value = c.value.parse().map(Amount);
                    let value = value.map_err(|_| ApiError::bad("a value is an integer"))?;
                    Ok(ParamChange { id: row.id, value })
                };
                let mut changes: Vec<ParamChange> =
                    changes.into_iter().map(change).collect::<Result<_, ApiError>>()?;
                changes.sort_unstable();
                Body::Propose(Propose { action: Action::SetParams(changes), reason })
            }
            Self::Vouch { account, is_person, reason } => {
                let action = Action::Vouch { account: id(&account)?, is_person };
                Body::Propose(Propose { action, reason })
            }
            Self::Vote { proposal, yes, no } => Body::Vote(CastVote { proposal, yes, no }),
        })
    }
}

/// Signs a proposal or a vote with this node's account key and submits it.
#[utoipa::path(operation_id = "gov_submit", post, path = "/v1/gov", request_body = GovRequest, responses((status = 200, body = TxView), (status = 400), (status = 409)))]
pub async fn submit(
    State(app): State<App>,
    input: Result<Json<GovRequest>, JsonRejection>,
) -> Result<Json<TxView>, ApiError> {
    let Json(request) = input?;
    Ok(Json(TxView::of(&app.handle.submit(request.body()?).await?, None)))
}

/// All governed parameters with their values.
#[utoipa::path(operation_id = "gov_params", get, path = "/v1/gov/params", responses((status = 200, body = [ParamView])))]
pub async fn params(State(app): State<App>) -> Result<Json<Vec<ParamView>>, ApiError> {
    let params = app.handle.shared.state()?.params()?;
    let view = |row: &ParamInfo| {
        let value = row.get(&params);
        ParamView {
            id: row.id,
            name: row.name,
            alias: row.alias,
            value: value.to_string(),
            shown: row.unit.show(value),
            default: row.default.to_string(),
            min: row.min.to_string(),
            max: row.max.to_string(),
            text: row.text,
        }
    };
    Ok(Json(PARAMS.iter().map(view).collect()))
}

fn changes(action: &Action) -> Vec<ChangeView> {
    let Action::SetParams(list) = action else { return Vec::new() };
    let view = |change: &ParamChange| {
        let row = ParamInfo::by_id(change.id).ok();
        ChangeView {
            name: row.map_or_else(|| change.id.to_string(), |r| r.name.to_string()),
            value: change.value.0.to_string(),
            shown: row.map(|r| r.unit.show(change.value.0)).unwrap_or_default(),
        }
    };
    list.iter().map(view).collect()
}

fn view(proposal: &Proposal, all: &Electorate, quorum: u64) -> ProposalView {
    let (status, at) = match proposal.status {
        Status::Open => ("open", None),
        Status::Passed { at } => ("passed", Some(at)),
        Status::Executed { height } => ("executed", Some(height)),
        Status::Rejected => ("rejected", None),
        Status::Expired => ("expired", None),
        Status::Failed => ("failed", None),
    };
    let (vouch, is_person) = match &proposal.propose.action {
        Action::Vouch { account, is_person } => (Some(account.to_string()), Some(*is_person)),
        Action::SetParams(_) => (None, None),
    };
    let power = |side: &Side| all.power(side.stake, side.roots).to_string();
    ProposalView {
        proposal: proposal.number,
        proposer: proposal.proposer.to_string(),
        reason: proposal.propose.reason.clone(),
        changes: changes(&proposal.propose.action),
        vouch,
        is_person,
        status,
        at,
        opened: proposal.opened,
        closes: proposal.closes,
        yes: power(&proposal.yes),
        no: power(&proposal.no),
        power: all.whole().to_string(),
        quorum,
    }
}

/// The newest 100 proposals, newest first.
#[utoipa::path(operation_id = "gov_list", get, path = "/v1/gov/proposals", responses((status = 200, body = [ProposalView])))]
pub async fn list(State(app): State<App>) -> Result<Json<Vec<ProposalView>>, ApiError> {
    let state = app.handle.shared.state()?;
    let count = state.get::<Counter>(&keys::proposal_count())?.unwrap_or_default().value;
    let (all, quorum) = (Electorate::now(&state)?, state.params()?.quorum);
    let mut found = Vec::new();
    for number in (count.saturating_sub(MAX_LISTED)..count).rev() {
        let proposal: Option<Proposal> = state.get(&keys::proposal(number))?;
        found.extend(proposal.map(|p| view(&p, &all, quorum)));
    }
    Ok(Json(found))
}

/// A proposal by number.
#[utoipa::path(operation_id = "gov_proposal", get, path = "/v1/gov/proposals/{number}", params(("number" = u64, Path)), responses((status = 200, body = ProposalView), (status = 404)))]
pub async fn proposal(
    State(app): State<App>,
    number: InPath<u64>,
) -> Result<Json<ProposalView>, ApiError> {
    let number = path(number)?;
    let state = app.handle.shared.state()?;
    let found: Option<Proposal> = state.get(&keys::proposal(number))?;
    let found = found.ok_or_else(|| ApiError::absent(format!("there is no proposal {number}")))?;
    Ok(Json(view(&found, &Electorate::now(&state)?, state.params()?.quorum)))
}
