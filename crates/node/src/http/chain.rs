//! `/v1/blocks` and `/v1/light`: blocks for people, and what light clients follow.

use anthill_ledger::chain::{stored_block, stored_handovers};
use anthill_types::Wire;
use anthill_types::ids::to_hex;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::error::{InPath, path};
use super::{ApiError, App};

/// Most links of the chain of trust in one answer.
const MAX_HANDOVERS: usize = 64;

/// A transaction in a block.
#[derive(Serialize, utoipa::ToSchema)]
pub struct TransactionView {
    /// Its id.
    id: String,
    /// The signing key.
    sender: String,
    /// Its sequence number; 0 for a duty.
    sequence: u64,
    /// What it does, in one word.
    kind: &'static str,
    /// Its size in bytes.
    bytes: usize,
}

/// A block.
#[derive(Serialize, utoipa::ToSchema)]
pub struct BlockView {
    /// Its height.
    height: u64,
    /// Its header's hash.
    hash: String,
    /// The header before it.
    previous: String,
    /// Milliseconds since the Unix epoch.
    time_ms: u64,
    /// Who proposed it: a vote key.
    proposer: String,
    /// Root of the state after it.
    state_root: String,
    /// Root over its transactions.
    transaction_root: String,
    /// Hash of the set that signed it.
    validators: String,
    /// Hash of the set that signs the next.
    next_validators: String,
    /// How many have signed it.
    signatures: usize,
    /// The round in which it was agreed.
    round: u32,
    /// Its transactions.
    transactions: Vec<TransactionView>,
}

/// Changes of the validator set.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LightHandovers {
    /// Canonical bytes of each, hexadecimal, in order.
    handovers: Vec<String>,
}

/// Where a light client begins.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LightGenesis {
    /// The chain's name: compare it with one that you trust.
    hash: String,
    /// Canonical bytes of the genesis, hexadecimal.
    genesis: String,
    /// Height of the newest block.
    height: u64,
}

/// A block with its transactions.
#[utoipa::path(operation_id = "chain_block", get, path = "/v1/blocks/{height}", params(("height" = u64, Path)), responses((status = 200, body = BlockView), (status = 404)))]
pub async fn block(
    State(app): State<App>,
    height: InPath<u64>,
) -> Result<Json<BlockView>, ApiError> {
    let height = path(height)?;
    let found = stored_block(app.handle.shared.store.as_ref(), height)?;
    let (block, certificate) =
        found.ok_or_else(|| ApiError::absent(format!("there is no block {height} here")))?;
    let certificate = anthill_consensus::Certificate::from_bytes(&certificate)
        .map_err(|e| ApiError::conflict(e.to_string()))?;
    let header = &block.header;
    let transaction = |t: &anthill_types::SignedTransaction| TransactionView {
        id: t.id().to_string(),
        sender: t.transaction.sender.to_string(),
        sequence: t.transaction.sequence,
        kind: t.transaction.body.name(),
        bytes: t.to_bytes().len(),
    };
    Ok(Json(BlockView {
        height: header.height,
        hash: header.hash().to_string(),
        previous: header.previous.to_string(),
        time_ms: header.time_ms,
        proposer: header.proposer.to_string(),
        state_root: header.state_root.to_string(),
        transaction_root: header.transaction_root.to_string(),
        validators: header.validators.to_string(),
        next_validators: header.next_validators.to_string(),
        signatures: certificate.signatures.len(),
        round: certificate.round,
        transactions: block.transactions.iter().map(transaction).collect(),
    }))
}

/// The next 64 changes of the validator set above a height.
#[utoipa::path(operation_id = "chain_handovers", get, path = "/v1/light/handovers/{above}", params(("above" = u64, Path)), responses((status = 200, body = LightHandovers)))]
pub async fn handovers(
    State(app): State<App>,
    above: InPath<u64>,
) -> Result<Json<LightHandovers>, ApiError> {
    let above = path(above)?;
    if i64::try_from(above).is_err() {
        return Err(ApiError::bad("a height is below 2^63"));
    }
    let store = app.handle.shared.store.as_ref();
    let list = stored_handovers(store, above, MAX_HANDOVERS)?;
    let handovers = list.iter().map(|h| to_hex(&h.to_bytes())).collect();
    Ok(Json(LightHandovers { handovers }))
}

/// The genesis, where a light client begins.
#[utoipa::path(operation_id = "chain_genesis", get, path = "/v1/light/genesis", responses((status = 200, body = LightGenesis)))]
pub async fn genesis(State(app): State<App>) -> Result<Json<LightGenesis>, ApiError> {
    let shared = &app.handle.shared;
    Ok(Json(LightGenesis {
        hash: shared.genesis_hash.to_string(),
        genesis: to_hex(&shared.genesis.to_bytes()),
        height: shared.state()?.height(),
    }))
}
