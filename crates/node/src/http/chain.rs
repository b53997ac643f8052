//! `/v1/blocks` and `/v1/light`: blocks for people, and what light clients follow.

use anthill_ledger::chain::{stored_block, stored_handovers};
use anthill_types::ids::to_hex;
use anthill_types::{Block, Wire};
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
    kind: String,
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

/// What a light client needs of one height.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LightHeader {
    /// Canonical bytes of the header, hexadecimal.
    header: String,
    /// Canonical bytes of its certificate, hexadecimal.
    certificate: String,
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

fn block_at(app: &App, height: u64) -> Result<(Block, Vec<u8>), ApiError> {
    let found = stored_block(app.handle.shared.store.as_ref(), height)?;
    found.ok_or_else(|| ApiError::absent(format!("there is no block {height} here")))
}

/// The name of a body's variant.
fn kind(body: &anthill_types::Body) -> String {
    let text = format!("{body:?}");
    text.chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// A block with its transactions.
#[utoipa::path(operation_id = "chain_block", get, path = "/v1/blocks/{height}", params(("height" = u64, Path)), responses((status = 200, body = BlockView), (status = 404)))]
pub async fn block(
    State(app): State<App>,
    height: InPath<u64>,
) -> Result<Json<BlockView>, ApiError> {
    let (block, certificate) = block_at(&app, path(height)?)?;
    let certificate = anthill_consensus::Certificate::from_bytes(&certificate)
        .map_err(|e| ApiError::conflict(e.to_string()))?;
    let header = &block.header;
    let transaction = |t: &anthill_types::SignedTransaction| TransactionView {
        id: t.id().to_string(),
        sender: t.transaction.sender.to_string(),
        sequence: t.transaction.sequence,
        kind: kind(&t.transaction.body),
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

/// A header with its certificate.
#[utoipa::path(operation_id = "chain_header", get, path = "/v1/light/headers/{height}", params(("height" = u64, Path)), responses((status = 200, body = LightHeader), (status = 404)))]
pub async fn header(
    State(app): State<App>,
    height: InPath<u64>,
) -> Result<Json<LightHeader>, ApiError> {
    let (block, certificate) = block_at(&app, path(height)?)?;
    let header = to_hex(&block.header.to_bytes());
    Ok(Json(LightHeader { header, certificate: to_hex(&certificate) }))
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
