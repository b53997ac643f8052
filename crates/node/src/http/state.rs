//! `GET /v1/state/...`: what the state holds of the bank, the graph and the registry.

use anthill_store::Row;
use anthill_types::bank::{Balance, BankTotals, CREDITS, Denomination, EscrowRecord};
use anthill_types::channel::{ChannelPhase, ChannelRecord};
use anthill_types::graph::{Edge, GraphTotals, Neuron, Particle};
use anthill_types::ids::to_hex;
use anthill_types::registry::{NameRecord, PropertyRecord};
use anthill_types::{AccountId, Amount, Cid, Digest, Wire, keys};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::error::{InPath, path};
use super::tx::id;
use super::{ApiError, App};
use crate::units;

/// Most rows in one answer.
const MAX_ROWS: usize = 1000;
/// Most denominations in one answer.
const MAX_LISTED: u64 = 100;

/// An account.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AccountView {
    /// Its id.
    account: String,
    /// Spendable, rUv.
    balance: String,
    /// The next sequence number.
    sequence: u64,
    /// Links that it has made and not taken back.
    links: u64,
}

/// A denomination.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DenominationView {
    /// Its number.
    denomination: u64,
    /// Short name (not unique: go by the number).
    symbol: String,
    /// Name.
    name: String,
    /// Decimals of its amounts.
    decimals: u8,
    /// Who made it.
    issuer: String,
    /// The most that may ever be minted.
    cap: Option<String>,
    /// The issuer may mint more.
    mintable: bool,
    /// Minted so far.
    minted: String,
    /// Burned so far.
    burned: String,
    /// Height of the block that made it.
    height: u64,
}

/// What an account holds of a denomination.
#[derive(Serialize, utoipa::ToSchema)]
pub struct HoldingView {
    /// The account.
    account: String,
    /// The denomination.
    denomination: u64,
    /// How much.
    amount: String,
}

/// An open escrow.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EscrowView {
    /// Its id.
    escrow: String,
    /// Whose money it is.
    payer: String,
    /// Who gets it when it is released.
    payee: String,
    /// In what.
    denomination: u64,
    /// How much.
    amount: String,
    /// SHA3-256 of the preimage that releases it.
    lock: Option<String>,
    /// Who may decide.
    arbiter: Option<String>,
    /// First height at which it is refunded on request.
    expires: u64,
    /// Height of the block that opened it.
    opened: u64,
}

/// A link.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LinkView {
    /// Who made it.
    neuron: String,
    /// Where it begins.
    from: String,
    /// Where it ends.
    to: String,
}

/// A link with its block.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EdgeView {
    /// Who made it.
    neuron: String,
    /// Where it begins.
    from: String,
    /// Where it ends.
    to: String,
    /// Height of the block that made it.
    height: u64,
    /// Sequence number of the transaction that made it.
    sequence: u64,
}

/// A particle.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ParticleView {
    /// Its content id.
    cid: String,
    /// Height of the block that first linked it.
    height: u64,
    /// Edges that touch it.
    edges: u64,
    /// The first 1000 links that end in it.
    links: Vec<LinkView>,
}

/// The size of the graph and the bank.
#[derive(Serialize, utoipa::ToSchema)]
pub struct TotalsView {
    /// Edges.
    edges: u64,
    /// Particles.
    particles: u64,
    /// Neurons.
    neurons: u64,
    /// Denominations beside credits.
    denominations: u64,
    /// Open escrows.
    escrows: u64,
    /// Channels that are not closed.
    channels: u64,
}

/// A name.
#[derive(Serialize, utoipa::ToSchema)]
pub struct NameView {
    /// The name.
    name: String,
    /// Who holds it.
    owner: String,
    /// What it stands for.
    target: String,
    /// First epoch in which it is free again.
    expires: u64,
    /// Height of the block that registered it.
    registered: u64,
    /// Its time is not over.
    valid: bool,
}

/// A property of an account.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PropertyView {
    /// Its key.
    key: String,
    /// Its value, if it is UTF-8.
    value: Option<String>,
    /// Its value, hexadecimal.
    hex: String,
    /// Height of the block that set it.
    height: u64,
}

/// A payment channel.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ChannelView {
    /// Its id.
    channel: String,
    /// Who opened it.
    opener: String,
    /// The other party.
    other: String,
    /// In what.
    denomination: u64,
    /// What the opener paid in.
    opener_deposit: String,
    /// What the other paid in.
    other_deposit: String,
    /// What it holds now.
    held: String,
    /// `open`, `closing` or `closed`.
    phase: &'static str,
    /// The latest version shown, while it is closing.
    version: Option<u64>,
    /// Who closes it.
    closer: Option<String>,
    /// First epoch in which it can be finalised.
    until: Option<u64>,
    /// What the opener gets or got.
    opener_balance: Option<String>,
    /// What the other gets or got.
    other_balance: Option<String>,
}

fn read<T: Wire>(app: &App, key: &[u8], what: impl FnOnce() -> String) -> Result<T, ApiError> {
    let found = app.handle.shared.state()?.get::<T>(key)?;
    found.ok_or_else(|| ApiError::absent(what()))
}

fn rows(app: &App, prefix: &[u8], most: usize) -> Result<Vec<Row>, ApiError> {
    let rows = app.handle.shared.store.prefix(prefix, most).map_err(ApiError::failed)?;
    Ok(rows
        .into_iter()
        .map(|(k, v)| (k.get(prefix.len()..).unwrap_or_default().to_vec(), v))
        .collect())
}

fn show(app: &App, denomination: u64, amount: Amount) -> Result<String, ApiError> {
    Ok(units::show(amount, super::tx::decimals(app, denomination)?))
}

/// An account: balance and next sequence number.
#[utoipa::path(get, path = "/v1/state/accounts/{id}", params(("id" = String, Path, pattern = "^[0-9a-f]{64}$")), responses((status = 200, body = AccountView), (status = 404)))]
pub async fn account(
    State(app): State<App>,
    key: InPath<String>,
) -> Result<Json<AccountView>, ApiError> {
    let account: AccountId = id(&path(key)?)?;
    let absent = || format!("there is no account {account}");
    let row: anthill_types::state::Account = read(&app, &keys::account(&account), absent)?;
    let neuron = app.handle.shared.state()?.get::<Neuron>(&keys::neuron(&account))?;
    Ok(Json(AccountView {
        account: account.to_string(),
        balance: row.balance.to_string(),
        sequence: row.sequence,
        links: neuron.map_or(0, |n| n.links),
    }))
}

/// The size of graph and bank.
#[utoipa::path(get, path = "/v1/state/totals", responses((status = 200, body = TotalsView)))]
pub async fn totals(State(app): State<App>) -> Result<Json<TotalsView>, ApiError> {
    let state = app.handle.shared.state()?;
    let graph = state.get::<GraphTotals>(&keys::graph_totals())?.unwrap_or_default();
    let bank = state.get::<BankTotals>(&keys::bank_totals())?.unwrap_or_default();
    Ok(Json(TotalsView {
        edges: graph.edges,
        particles: graph.particles,
        neurons: graph.neurons,
        denominations: bank.denominations,
        escrows: bank.escrows,
        channels: bank.channels,
    }))
}

fn denomination_view(number: u64, row: &Denomination) -> DenominationView {
    let show = |amount| units::show(amount, row.terms.decimals);
    DenominationView {
        denomination: number,
        symbol: row.terms.symbol.clone(),
        name: row.terms.name.clone(),
        decimals: row.terms.decimals,
        issuer: row.issuer.to_string(),
        cap: row.terms.cap.map(show),
        mintable: row.terms.mintable,
        minted: show(row.minted),
        burned: show(row.burned),
        height: row.height,
    }
}

/// The newest 100 denominations, newest first.
#[utoipa::path(get, path = "/v1/state/denominations", responses((status = 200, body = [DenominationView])))]
pub async fn denominations(
    State(app): State<App>,
) -> Result<Json<Vec<DenominationView>>, ApiError> {
    let state = app.handle.shared.state()?;
    let last = state.get::<BankTotals>(&keys::bank_totals())?.unwrap_or_default().denominations;
    let mut found = Vec::new();
    for number in (last.saturating_sub(MAX_LISTED) + 1..=last).rev() {
        let row = state.get::<Denomination>(&keys::denomination(number))?;
        found.extend(row.map(|row| denomination_view(number, &row)));
    }
    Ok(Json(found))
}

/// A denomination with its supply.
#[utoipa::path(get, path = "/v1/state/denominations/{number}", params(("number" = u64, Path)), responses((status = 200, body = DenominationView), (status = 404)))]
pub async fn denomination(
    State(app): State<App>,
    number: InPath<u64>,
) -> Result<Json<DenominationView>, ApiError> {
    let number = path(number)?;
    let row =
        read(&app, &keys::denomination(number), || format!("there is no denomination {number}"))?;
    Ok(Json(denomination_view(number, &row)))
}

/// What an account holds of a denomination.
#[utoipa::path(get, path = "/v1/state/balances/{number}/{id}", params(("number" = u64, Path), ("id" = String, Path, pattern = "^[0-9a-f]{64}$")), responses((status = 200, body = HoldingView), (status = 404)))]
pub async fn balance(
    State(app): State<App>,
    parts: InPath<(u64, String)>,
) -> Result<Json<HoldingView>, ApiError> {
    let (number, account) = path(parts)?;
    let account: AccountId = id(&account)?;
    let state = app.handle.shared.state()?;
    let amount = if number == CREDITS {
        anthill_ledger::bank::account(&state, &account)?.balance
    } else {
        read::<Denomination>(&app, &keys::denomination(number), || {
            format!("there is no denomination {number}")
        })?;
        state.get::<Balance>(&keys::balance(number, &account))?.unwrap_or_default().amount
    };
    let amount = show(&app, number, amount)?;
    Ok(Json(HoldingView { account: account.to_string(), denomination: number, amount }))
}

/// An open escrow.
#[utoipa::path(get, path = "/v1/state/escrows/{id}", params(("id" = String, Path, pattern = "^[0-9a-f]{64}$")), responses((status = 200, body = EscrowView), (status = 404)))]
pub async fn escrow(
    State(app): State<App>,
    key: InPath<String>,
) -> Result<Json<EscrowView>, ApiError> {
    let escrow: Digest = id(&path(key)?)?;
    let absent = || format!("no escrow {escrow} is open");
    let row: EscrowRecord = read(&app, &keys::escrow(&escrow), absent)?;
    Ok(Json(EscrowView {
        escrow: escrow.to_string(),
        payer: row.payer.to_string(),
        payee: row.terms.payee.to_string(),
        denomination: row.terms.denomination,
        amount: show(&app, row.terms.denomination, row.terms.amount)?,
        lock: row.terms.lock.map(|l| l.to_string()),
        arbiter: row.terms.arbiter.map(|a| a.to_string()),
        expires: row.terms.expires,
        opened: row.opened,
    }))
}

/// A link, if it exists.
#[utoipa::path(get, path = "/v1/state/links/{neuron}/{from}/{to}", params(("neuron" = String, Path, pattern = "^[0-9a-f]{64}$"), ("from" = String, Path, pattern = "^b[a-z2-7]{58}$"), ("to" = String, Path, pattern = "^b[a-z2-7]{58}$")), responses((status = 200, body = EdgeView), (status = 404)))]
pub async fn link(
    State(app): State<App>,
    parts: InPath<(String, String, String)>,
) -> Result<Json<EdgeView>, ApiError> {
    let (neuron, from, to) = path(parts)?;
    let (neuron, from, to): (AccountId, Cid, Cid) = (id(&neuron)?, id(&from)?, id(&to)?);
    let row: Edge =
        read(&app, &keys::edge(&neuron, &from, &to), || "there is no such link".into())?;
    let (neuron, from, to) = (neuron.to_string(), from.to_string(), to.to_string());
    Ok(Json(EdgeView { neuron, from, to, height: row.height, sequence: row.sequence }))
}

/// A particle with the links that end in it.
#[utoipa::path(get, path = "/v1/state/particles/{id}", params(("id" = String, Path, pattern = "^b[a-z2-7]{58}$")), responses((status = 200, body = ParticleView), (status = 404)))]
pub async fn particle(
    State(app): State<App>,
    key: InPath<String>,
) -> Result<Json<ParticleView>, ApiError> {
    let cid: Cid = id(&path(key)?)?;
    let row: Particle =
        read(&app, &keys::particle(&cid), || format!("nothing is linked with {cid}"))?;
    let back = rows(&app, &keys::back_edges(&cid), MAX_ROWS)?;
    let link = |(rest, _): (Vec<u8>, Vec<u8>)| {
        let from = Cid(rest.get(..32)?.try_into().ok()?).to_string();
        let neuron = AccountId(rest.get(32..)?.try_into().ok()?).to_string();
        Some(LinkView { neuron, from, to: cid.to_string() })
    };
    let links = back.into_iter().filter_map(link).collect();
    Ok(Json(ParticleView { cid: cid.to_string(), height: row.height, edges: row.edges, links }))
}

fn name_view(app: &App, name: &str, row: &NameRecord) -> Result<NameView, ApiError> {
    Ok(NameView {
        name: name.to_string(),
        owner: row.owner.to_string(),
        target: row.target.to_string(),
        expires: row.expires,
        registered: row.registered,
        valid: row.expires > app.handle.shared.state()?.chain().epoch,
    })
}

/// A name; `valid` says whether its time is over.
#[utoipa::path(get, path = "/v1/state/names/{name}", params(("name" = String, Path)), responses((status = 200, body = NameView), (status = 404)))]
pub async fn name(
    State(app): State<App>,
    name: InPath<String>,
) -> Result<Json<NameView>, ApiError> {
    let name: String = path(name)?.chars().take(64).collect();
    let row = read(&app, &keys::name(&name), || format!("nobody holds the name {name:?}"))?;
    Ok(Json(name_view(&app, &name, &row)?))
}

/// The valid names of a content id: the first 1000.
#[utoipa::path(get, path = "/v1/state/names-of/{id}", params(("id" = String, Path, pattern = "^b[a-z2-7]{58}$")), responses((status = 200, body = [NameView])))]
pub async fn names_of(
    State(app): State<App>,
    key: InPath<String>,
) -> Result<Json<Vec<NameView>>, ApiError> {
    let cid: Cid = id(&path(key)?)?;
    let mut found = Vec::new();
    for (rest, _) in rows(&app, &keys::names_of(&cid), MAX_ROWS)? {
        let name = String::from_utf8_lossy(rest.get(34..).unwrap_or_default()).into_owned();
        let row: NameRecord = read(&app, &keys::name(&name), || format!("name {name:?} is gone"))?;
        found.push(name_view(&app, &name, &row)?);
    }
    found.retain(|n| n.valid);
    Ok(Json(found))
}

/// Which property to show.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Key {
    /// One key alone; the first 1000 if absent.
    key: Option<String>,
}

/// Properties of an account.
#[utoipa::path(get, path = "/v1/state/properties/{id}", params(("id" = String, Path, pattern = "^[0-9a-f]{64}$"), Key), responses((status = 200, body = [PropertyView])))]
pub async fn properties(
    State(app): State<App>,
    account: InPath<String>,
    query: Result<Query<Key>, QueryRejection>,
) -> Result<Json<Vec<PropertyView>>, ApiError> {
    let account: AccountId = id(&path(account)?)?;
    let Query(Key { key }) = query?;
    let view = |key: String, row: PropertyRecord| PropertyView {
        key,
        hex: to_hex(&row.value.0),
        value: String::from_utf8(row.value.0).ok(),
        height: row.height,
    };
    if let Some(key) = key {
        let key: String = key.chars().take(64).collect();
        let row = app.handle.shared.state()?.get(&keys::property(&account, &key))?;
        return Ok(Json(row.map(|row| view(key, row)).into_iter().collect()));
    }
    let mut found = Vec::new();
    for (rest, value) in rows(&app, &keys::properties(&account), MAX_ROWS)? {
        let key = String::from_utf8_lossy(rest.get(2..).unwrap_or_default()).into_owned();
        let row = PropertyRecord::from_bytes(&value).map_err(ApiError::failed)?;
        found.push(view(key, row));
    }
    Ok(Json(found))
}

/// A payment channel.
#[utoipa::path(get, path = "/v1/state/channels/{id}", params(("id" = String, Path, pattern = "^[0-9a-f]{64}$")), responses((status = 200, body = ChannelView), (status = 404)))]
pub async fn channel(
    State(app): State<App>,
    key: InPath<String>,
) -> Result<Json<ChannelView>, ApiError> {
    let channel: Digest = id(&path(key)?)?;
    let absent = || format!("there is no channel {channel}");
    let row: ChannelRecord = read(&app, &keys::channel(&channel), absent)?;
    let terms = row.terms;
    let show = |amount| show(&app, terms.denomination, amount);
    let mut view = ChannelView {
        channel: channel.to_string(),
        opener: terms.opener.to_string(),
        other: terms.other.to_string(),
        denomination: terms.denomination,
        opener_deposit: show(terms.opener_deposit)?,
        other_deposit: show(terms.other_deposit)?,
        held: show(row.held)?,
        phase: "open",
        version: None,
        closer: None,
        until: None,
        opener_balance: None,
        other_balance: None,
    };
    match row.phase {
        ChannelPhase::Open { .. } => {}
        ChannelPhase::Closing { closer, version, opener_balance, other_balance, until, .. } => {
            view.phase = "closing";
            (view.version, view.until) = (Some(version), Some(until));
            view.closer = Some(closer.to_string());
            view.opener_balance = Some(show(opener_balance)?);
            view.other_balance = Some(show(other_balance)?);
        }
        ChannelPhase::Closed { opener_paid, other_paid, .. } => {
            view.phase = "closed";
            view.opener_balance = Some(show(opener_paid)?);
            view.other_balance = Some(show(other_paid)?);
        }
    }
    Ok(Json(view))
}
