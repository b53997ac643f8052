//! `/v1/stake`: the validators, and what this node's account does with its stake.

use anthill_ledger::{LedgerError, State as LedgerState, validators};
use anthill_store::prefix_end;
use anthill_types::stake::{Delegation, Unbonding, UnbondingKind};
use anthill_types::state::NodeRecord;
use anthill_types::{AccountId, Amount, Body, NodeKey, Wire, keys};
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};

use super::error::{InPath, path, whole};
use super::tx::{TxView, id};
use super::{ApiError, App};
use crate::units::{self, CREDIT_DECIMALS};

/// Most rows in one answer.
const MAX_ROWS: usize = 1000;

/// What this node's account does with its stake. Amounts are rUv as decimal numbers.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StakeRequest {
    /// Puts credits into the bond of this node.
    Bond {
        /// How much.
        #[schema(pattern = "^[0-9]{1,30}([.][0-9]{1,6})?$")]
        amount: String,
    },
    /// Takes bond out; it can be withdrawn when it has matured.
    Unbond {
        /// How much.
        #[schema(pattern = "^[0-9]{1,30}([.][0-9]{1,6})?$")]
        amount: String,
    },
    /// Stakes credits on a validator.
    Delegate {
        /// The validator's node key.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        node: String,
        /// How much.
        #[schema(pattern = "^[0-9]{1,30}([.][0-9]{1,6})?$")]
        amount: String,
    },
    /// Takes delegated stake back; it can be withdrawn when it has matured.
    Undelegate {
        /// The validator's node key.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        node: String,
        /// How many shares (see `/v1/stake/accounts/{id}`); all of them when it is left out.
        #[schema(pattern = "^[0-9]{1,30}$")]
        shares: Option<String>,
    },
    /// Pays out what has matured.
    Withdraw {
        /// The node that it was staked on.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        node: String,
        /// The epoch in which it matures.
        #[serde(deserialize_with = "whole")]
        matures: u64,
        /// It was this node's own bond, and not a delegation.
        #[serde(default)]
        own: bool,
    },
    /// Says whether this node wants to validate.
    Validate {
        /// Whether it wants to.
        on: bool,
    },
    /// Takes another account's node under this one.
    Adopt {
        /// The child's node key.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        child: String,
        /// The child's node key's signature over this node's key (`/v1/stake/consent/{parent}`).
        #[schema(pattern = "^[0-9a-f]{128}$")]
        consent: String,
    },
    /// Takes this node from under its parent.
    LeaveParent {},
}

/// A validator or a node that could be one.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ValidatorView {
    /// Its node key.
    node: String,
    /// Its vote key.
    validator: String,
    /// Its account.
    account: String,
    /// Its voting power now, in whole credits; 0 when it is not in the set.
    power: u64,
    /// It wants to validate.
    validates: bool,
    /// Its own bond, rUv.
    bond: String,
    /// What others delegated to it, rUv.
    delegated: String,
    /// Trust, a decimal number from 0 to 1.
    trust: String,
    /// It does not validate before this epoch.
    jailed_until: u64,
    /// What it has lost by slashing, rUv.
    slashed: String,
    /// The newest block that it proposed.
    last_proposed: u64,
    /// The node through which it reaches the network.
    parent: Option<String>,
}

/// The validators.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ValidatorsView {
    /// The running epoch; the set changes at its end.
    epoch: u64,
    /// The state's height.
    height: u64,
    /// Hash of the set that signs the next block.
    set: String,
    /// How this chain agrees on blocks: `bft` or `snowman`.
    consensus: String,
    /// All nodes that validate or want to, those with the most power first.
    validators: Vec<ValidatorView>,
}

/// A delegation.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DelegationView {
    /// The validator's node key.
    node: String,
    /// The account's shares.
    shares: String,
    /// What they are worth, rUv.
    worth: String,
}

/// Stake on its way out.
#[derive(Serialize, utoipa::ToSchema)]
pub struct UnbondingView {
    /// The node that it was staked on.
    node: String,
    /// The epoch in which it matures.
    matures: u64,
    /// It was the account's own bond.
    own: bool,
    /// What it is worth, rUv.
    worth: String,
}

/// The stake of an account.
#[derive(Serialize, utoipa::ToSchema)]
pub struct StakeView {
    /// The account.
    account: String,
    /// The bond of its node, rUv.
    bond: String,
    /// What it delegated.
    delegations: Vec<DelegationView>,
    /// What it takes out.
    unbonding: Vec<UnbondingView>,
}

/// A consent to become another node's child.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ConsentView {
    /// This node's key: the child.
    child: String,
    /// Its signature over the parent's key.
    consent: String,
}

fn credits(amount: Amount) -> String {
    units::show(amount, CREDIT_DECIMALS)
}

fn amount(text: &str) -> Result<Amount, ApiError> {
    units::parse(text, CREDIT_DECIMALS).map_err(ApiError::bad)
}

/// All shares of this node's account in a node's delegations.
fn all_shares(app: &App, node: &NodeKey) -> Result<Amount, ApiError> {
    let state = app.handle.shared.state()?;
    let own = keys::delegation(&app.handle.shared.keys.account_id(), node);
    let found: Option<Delegation> = state.get(&own)?;
    found.map(|d| d.shares).ok_or_else(|| ApiError::absent("nothing is delegated to this node"))
}

impl StakeRequest {
    fn body(self, app: &App) -> Result<Body, ApiError> {
        Ok(match self {
            Self::Bond { amount: text } => Body::Bond { amount: amount(&text)? },
            Self::Unbond { amount: text } => Body::Unbond { amount: amount(&text)? },
            Self::Delegate { node, amount: text } => {
                Body::Delegate { node: id(&node)?, amount: amount(&text)? }
            }
            Self::Undelegate { node, shares: None } => {
                let node = id(&node)?;
                Body::Undelegate { node, shares: all_shares(app, &node)? }
            }
            Self::Undelegate { node, shares: Some(text) } => {
                let shares = units::parse(&text, 0).map_err(ApiError::bad)?;
                Body::Undelegate { node: id(&node)?, shares }
            }
            Self::Withdraw { node, matures, own } => {
                let kind = if own { UnbondingKind::Own } else { UnbondingKind::Delegated };
                Body::Withdraw { node: id(&node)?, matures, kind }
            }
            Self::Validate { on } => Body::Validate { on },
            Self::Adopt { child, consent } => {
                Body::Adopt { child: id(&child)?, consent: id(&consent)? }
            }
            Self::LeaveParent {} => Body::LeaveParent,
        })
    }
}

/// Signs a transaction about stake with this node's account key and submits it.
#[utoipa::path(operation_id = "stake_submit", post, path = "/v1/stake", request_body = StakeRequest, responses((status = 200, body = TxView), (status = 400), (status = 404), (status = 409)))]
pub async fn submit(
    State(app): State<App>,
    input: Result<Json<StakeRequest>, JsonRejection>,
) -> Result<Json<TxView>, ApiError> {
    let Json(request) = input?;
    let body = request.body(&app)?;
    Ok(Json(TxView::of(&app.handle.submit(body).await?, None)))
}

fn view(state: &LedgerState<'_>, node: &NodeRecord) -> Result<ValidatorView, ApiError> {
    let set = state.validators()?;
    let power = set.validators.iter().find(|v| v.key == node.validator).map_or(0, |v| v.power);
    Ok(ValidatorView {
        node: node.node.to_string(),
        validator: node.validator.to_string(),
        account: node.account.to_string(),
        power,
        validates: node.validates,
        bond: credits(node.bond),
        delegated: credits(node.delegated.tokens),
        trust: anthill_light::scores::decimal(node.trust),
        jailed_until: node.jailed_until,
        slashed: credits(node.slashed),
        last_proposed: node.last_proposed,
        parent: node.parent.map(|p| p.to_string()),
    })
}

/// The validators, and who wants to be one.
#[utoipa::path(operation_id = "stake_list", get, path = "/v1/stake/validators", responses((status = 200, body = ValidatorsView)))]
pub async fn list(State(app): State<App>) -> Result<Json<ValidatorsView>, ApiError> {
    let state = app.handle.shared.state()?;
    let set = state.validators()?;
    let is_in = |n: &NodeRecord| set.validators.iter().any(|v| v.key == n.validator);
    let mut nodes = state.nodes()?;
    nodes.retain(|n| n.validates || is_in(n));
    nodes.sort_by_key(|n| (std::cmp::Reverse(validators::power(n)), n.node));
    nodes.truncate(MAX_ROWS);
    let rows = nodes.iter().map(|n| view(&state, n)).collect::<Result<_, _>>()?;
    Ok(Json(ValidatorsView {
        epoch: state.chain().epoch,
        height: state.height(),
        set: set.hash().to_string(),
        consensus: state.consensus()?.name().to_string(),
        validators: rows,
    }))
}

/// What an account has staked, and takes out.
#[utoipa::path(operation_id = "stake_account", get, path = "/v1/stake/accounts/{id}", params(("id" = String, Path, pattern = "^[0-9a-f]{64}$")), responses((status = 200, body = StakeView)))]
pub async fn account(
    State(app): State<App>,
    account: InPath<String>,
) -> Result<Json<StakeView>, ApiError> {
    let account: AccountId = id(&path(account)?)?;
    let state = app.handle.shared.state()?;
    let bond = state.node_of_account(&account)?.map(|n| n.bond).unwrap_or_default();
    Ok(Json(StakeView {
        account: account.to_string(),
        bond: credits(bond),
        delegations: delegations(&state, &account)?,
        unbonding: unbonding(&state, &account)?,
    }))
}

fn delegations(
    state: &LedgerState<'_>,
    account: &AccountId,
) -> Result<Vec<DelegationView>, ApiError> {
    let prefix = keys::delegations_of(account);
    let end = prefix_end(&prefix).unwrap_or_default();
    let mut found = Vec::new();
    for (key, value) in state.range(&prefix, &end, MAX_ROWS)? {
        let Some(node) = key.get(prefix.len()..).and_then(|k| k.try_into().ok()) else { continue };
        let Some(record) = state.node(&NodeKey(node))? else { continue };
        let shares = Delegation::from_bytes(&value).map_err(LedgerError::from)?.shares;
        found.push(DelegationView {
            node: record.node.to_string(),
            shares: shares.0.to_string(),
            worth: credits(record.delegated.worth(shares).unwrap_or_default()),
        });
    }
    Ok(found)
}

fn unbonding(state: &LedgerState<'_>, account: &AccountId) -> Result<Vec<UnbondingView>, ApiError> {
    let prefix = keys::unbonding_owned_by(account);
    let end = prefix_end(&prefix).unwrap_or_default();
    let mut found = Vec::new();
    for (key, value) in state.range(&prefix, &end, MAX_ROWS)? {
        // Behind the owner: node, epoch and kind, as in the pool's own key.
        let Some(part) = key.get(prefix.len()..) else { continue };
        let pool = [keys::UNBONDING.as_bytes(), part].concat();
        let Some(of) = state.get::<Unbonding>(&pool)? else { continue };
        let shares = Delegation::from_bytes(&value).map_err(LedgerError::from)?.shares;
        found.push(UnbondingView {
            node: of.node.to_string(),
            matures: of.matures,
            own: of.kind == UnbondingKind::Own,
            worth: credits(of.pool.worth(shares).unwrap_or_default()),
        });
    }
    Ok(found)
}

/// This node's consent to become the child of another.
#[utoipa::path(operation_id = "stake_consent", get, path = "/v1/stake/consent/{parent}", params(("parent" = String, Path, pattern = "^[0-9a-f]{64}$")), responses((status = 200, body = ConsentView)))]
pub async fn consent(
    State(app): State<App>,
    parent: InPath<String>,
) -> Result<Json<ConsentView>, ApiError> {
    let parent: NodeKey = id(&path(parent)?)?;
    let shared = &app.handle.shared;
    let signature = shared.keys.node.sign("adopt", &shared.genesis_hash.0, &parent.0);
    Ok(Json(ConsentView {
        child: NodeKey(shared.keys.node.public()).to_string(),
        consent: anthill_types::Signature(signature).to_string(),
    }))
}
