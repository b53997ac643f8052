//! `POST /v1/tx`: a transaction as JSON, signed with the node's account key and submitted.

use std::str::FromStr;

use anthill_engine::Submitted;
use anthill_types::bank::{CREDITS, CreateDenomination, OpenEscrow, Output, escrow_id};
use anthill_types::channel::{ChannelTerms, SignedChannelUpdate};
use anthill_types::graph::Pair;
use anthill_types::ids::{ParseIdError, from_hex};
use anthill_types::registry::Property;
use anthill_types::{AccountId, Amount, Body, Bytes, Digest, Wire};
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};

use super::error::whole;
use super::{ApiError, App};
use crate::units;

/// An output of a multi-send.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct OutputInput {
    /// The receiving account, hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    to: String,
    /// A decimal number.
    #[schema(pattern = "^[0-9]{1,30}([.][0-9]{1,30})?$")]
    amount: String,
}

/// A link.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct PairInput {
    /// Content id of the particle in which it begins.
    #[schema(pattern = "^b[a-z2-7]{58}$")]
    from: String,
    /// Content id of the particle in which it ends.
    #[schema(pattern = "^b[a-z2-7]{58}$")]
    to: String,
}

/// A property.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct PropertyInput {
    /// Its key.
    key: String,
    /// Its value: a text, or hexadecimal.
    value: String,
    /// The value is hexadecimal.
    #[serde(default)]
    hex: bool,
}

/// A transaction of this node's account. Amounts are decimal numbers: of rUv for denomination 0,
/// else with as many decimals as the denomination has. Ids are hexadecimal.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TxRequest {
    /// Moves an amount to another account.
    Send {
        /// In what; 0 is credits.
        #[serde(default, deserialize_with = "whole")]
        denomination: u64,
        /// The receiving account.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        to: String,
        /// How much, a decimal number.
        #[schema(pattern = "^[0-9]{1,30}([.][0-9]{1,30})?$")]
        amount: String,
    },
    /// Moves amounts to 1 to 256 accounts: all, or nothing.
    MultiSend {
        /// In what; 0 is credits.
        #[serde(default, deserialize_with = "whole")]
        denomination: u64,
        /// Who gets what.
        outputs: Vec<OutputInput>,
    },
    /// Makes a denomination.
    CreateDenomination {
        /// 2 to 12 capital letters and digits.
        symbol: String,
        /// The name.
        name: String,
        /// Decimals of its amounts, 0 to 30.
        #[serde(deserialize_with = "whole")]
        decimals: u8,
        /// The most that may ever be minted.
        #[schema(pattern = "^[0-9]{1,30}([.][0-9]{1,30})?$")]
        cap: Option<String>,
        /// More may be minted later.
        #[serde(default)]
        mintable: bool,
        /// What is minted at once.
        #[schema(pattern = "^[0-9]{1,30}([.][0-9]{1,30})?$")]
        supply: String,
    },
    /// Mints a denomination of one's own.
    Mint {
        /// In what; 0 is credits.
        #[serde(deserialize_with = "whole")]
        denomination: u64,
        /// The receiving account.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        to: String,
        /// How much, a decimal number.
        #[schema(pattern = "^[0-9]{1,30}([.][0-9]{1,30})?$")]
        amount: String,
    },
    /// Destroys an amount.
    Burn {
        /// In what; 0 is credits.
        #[serde(default, deserialize_with = "whole")]
        denomination: u64,
        /// How much, a decimal number.
        #[schema(pattern = "^[0-9]{1,30}([.][0-9]{1,30})?$")]
        amount: String,
    },
    /// Locks an amount for a payee.
    OpenEscrow {
        /// Who gets it when it is released.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        payee: String,
        /// In what; 0 is credits.
        #[serde(default, deserialize_with = "whole")]
        denomination: u64,
        /// How much, a decimal number.
        #[schema(pattern = "^[0-9]{1,30}([.][0-9]{1,30})?$")]
        amount: String,
        /// SHA3-256 of the 32 bytes that release it.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        lock: Option<String>,
        /// An account that may decide.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        arbiter: Option<String>,
        /// First height at which it can be refunded on request.
        #[serde(deserialize_with = "whole")]
        expires: u64,
    },
    /// Pays an escrow to its payee.
    ReleaseEscrow {
        /// The escrow.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        escrow: String,
        /// The 32 bytes that hash to its lock.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        preimage: Option<String>,
    },
    /// Gives an escrow back to its payer.
    RefundEscrow {
        /// The escrow.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        escrow: String,
    },
    /// Links particles.
    Link {
        /// From where to where.
        pairs: Vec<PairInput>,
    },
    /// Takes links back.
    Unlink {
        /// From where to where.
        pairs: Vec<PairInput>,
    },
    /// Takes a name.
    RegisterName {
        /// The name.
        name: String,
        /// The content id that it stands for.
        #[schema(pattern = "^b[a-z2-7]{58}$")]
        target: String,
        /// How many epochs.
        #[serde(deserialize_with = "whole")]
        epochs: u64,
    },
    /// Holds a name for longer.
    RenewName {
        /// The name.
        name: String,
        /// How many epochs.
        #[serde(deserialize_with = "whole")]
        epochs: u64,
    },
    /// Has a name stand for something else.
    SetName {
        /// The name.
        name: String,
        /// The content id that it stands for.
        #[schema(pattern = "^b[a-z2-7]{58}$")]
        target: String,
    },
    /// Gives a name to another account.
    TransferName {
        /// The name.
        name: String,
        /// The receiving account.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        to: String,
    },
    /// Gives a name up.
    ReleaseName {
        /// The name.
        name: String,
    },
    /// Sets and deletes properties of this account.
    Properties {
        /// What is set.
        #[serde(default)]
        set: Vec<PropertyInput>,
        /// Keys that are deleted.
        #[serde(default)]
        unset: Vec<String>,
    },
    /// Opens a channel: canonical bytes of the terms, and the other's signature over them.
    OpenChannel {
        /// Canonical bytes of the terms.
        #[schema(pattern = "^([0-9a-f]{2})+$")]
        terms: String,
        /// The other party's signature over the terms.
        #[schema(pattern = "^[0-9a-f]{128}$")]
        signature: String,
    },
    /// Closes a channel, with the canonical bytes of an update that both have signed, or without.
    CloseChannel {
        /// The channel.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        channel: String,
        /// Canonical bytes of an update with both signatures.
        #[schema(pattern = "^([0-9a-f]{2})+$")]
        update: Option<String>,
    },
    /// Shows a later update, as canonical bytes.
    DisputeChannel {
        /// Canonical bytes of an update with both signatures.
        #[schema(pattern = "^([0-9a-f]{2})+$")]
        update: String,
    },
    /// Pays a channel out when its time of disputes is over.
    FinaliseChannel {
        /// The channel.
        #[schema(pattern = "^[0-9a-f]{64}$")]
        channel: String,
    },
}

/// A transaction that waits for a block.
#[derive(Serialize, utoipa::ToSchema)]
pub struct TxView {
    /// Its id.
    transaction: String,
    /// The sender's account.
    sender: String,
    /// Its sequence number: it is in a block when the account's next is higher.
    sequence: u64,
    /// Id of the escrow or channel that it opens.
    opens: Option<String>,
}

/// Signs a transaction with this node's account key and submits it.
#[utoipa::path(post, path = "/v1/tx", request_body = TxRequest, responses((status = 200, body = TxView), (status = 400), (status = 409)))]
pub async fn submit(
    State(app): State<App>,
    input: Result<Json<TxRequest>, JsonRejection>,
) -> Result<Json<TxView>, ApiError> {
    let Json(request) = input?;
    let body = request.body(&app)?;
    let opens_escrow = matches!(body, Body::OpenEscrow(_));
    let channel = if let Body::OpenChannel { terms, .. } = &body { Some(terms.id()) } else { None };
    let submitted = app.handle.submit(body).await?;
    let escrow = opens_escrow.then(|| escrow_id(&submitted.sender, submitted.sequence));
    Ok(Json(TxView::of(&submitted, escrow.or(channel))))
}

impl TxView {
    /// What was submitted, and the escrow or channel that it opens.
    pub fn of(submitted: &Submitted, opens: Option<Digest>) -> Self {
        Self {
            transaction: submitted.id.to_string(),
            sender: submitted.sender.to_string(),
            sequence: submitted.sequence,
            opens: opens.map(|id| id.to_string()),
        }
    }
}

/// An id or content id of a text.
///
/// # Errors
/// It is none.
pub fn id<T: FromStr<Err = ParseIdError>>(text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|e: ParseIdError| ApiError::bad(e.to_string()))
}

fn maybe<T: FromStr<Err = ParseIdError>>(text: Option<&String>) -> Result<Option<T>, ApiError> {
    text.map(|t| id(t)).transpose()
}

fn canonical<T: Wire>(hex: &str) -> Result<T, ApiError> {
    let bytes = from_hex(hex).ok_or_else(|| ApiError::bad("canonical bytes are hexadecimal"))?;
    T::from_bytes(&bytes).map_err(|e| ApiError::bad(e.to_string()))
}

fn number(text: &str, decimals: u8) -> Result<Amount, ApiError> {
    units::parse(text, decimals).map_err(ApiError::bad)
}

/// Decimals of a denomination.
///
/// # Errors
/// There is no such denomination.
pub fn decimals(app: &App, denomination: u64) -> Result<u8, ApiError> {
    if denomination == CREDITS {
        return Ok(units::CREDIT_DECIMALS);
    }
    let state = app.handle.shared.state()?;
    let found = anthill_ledger::denominations::denomination(&state, denomination);
    found.map(|d| d.terms.decimals).map_err(ApiError::conflict)
}

fn pairs(list: &[PairInput]) -> Result<Vec<Pair>, ApiError> {
    list.iter().map(|p| Ok(Pair { from: id(&p.from)?, to: id(&p.to)? })).collect()
}

fn property(input: PropertyInput) -> Result<Property, ApiError> {
    let bytes = if input.hex {
        from_hex(&input.value).ok_or_else(|| ApiError::bad("the value is not hexadecimal"))?
    } else {
        input.value.into_bytes()
    };
    Ok(Property { key: input.key, value: Bytes(bytes) })
}

impl TxRequest {
    fn body(self, app: &App) -> Result<Body, ApiError> {
        let units = |denomination, text: &str| number(text, decimals(app, denomination)?);
        Ok(match self {
            Self::Send { denomination: CREDITS, to, amount } => {
                Body::Transfer { to: id(&to)?, amount: units(CREDITS, &amount)? }
            }
            Self::Send { denomination, to, amount } => {
                let amount = units(denomination, &amount)?;
                Body::Send { denomination, to: id(&to)?, amount }
            }
            Self::MultiSend { denomination, outputs } => {
                let decimals = decimals(app, denomination)?;
                let output = |o: &OutputInput| {
                    let to: AccountId = id(&o.to)?;
                    Ok(Output { to, amount: number(&o.amount, decimals)? })
                };
                let outputs = outputs.iter().map(output).collect::<Result<_, ApiError>>()?;
                Body::MultiSend { denomination, outputs }
            }
            Self::CreateDenomination { symbol, name, decimals, cap, mintable, supply } => {
                let cap = cap.map(|c| number(&c, decimals)).transpose()?;
                let supply = number(&supply, decimals)?;
                let terms = CreateDenomination { symbol, name, decimals, cap, mintable, supply };
                Body::CreateDenomination(terms)
            }
            Self::Mint { denomination, to, amount } => {
                let amount = units(denomination, &amount)?;
                Body::Mint { denomination, to: id(&to)?, amount }
            }
            Self::Burn { denomination, amount } => {
                Body::Burn { denomination, amount: units(denomination, &amount)? }
            }
            Self::OpenEscrow { payee, denomination, amount, lock, arbiter, expires } => {
                Body::OpenEscrow(OpenEscrow {
                    payee: id(&payee)?,
                    denomination,
                    amount: units(denomination, &amount)?,
                    lock: maybe(lock.as_ref())?,
                    arbiter: maybe(arbiter.as_ref())?,
                    expires,
                })
            }
            Self::ReleaseEscrow { escrow, preimage } => {
                Body::ReleaseEscrow { preimage: maybe(preimage.as_ref())?, escrow: id(&escrow)? }
            }
            Self::RefundEscrow { escrow } => Body::RefundEscrow { escrow: id(&escrow)? },
            Self::Link { pairs: list } => Body::Link { pairs: pairs(&list)? },
            Self::Unlink { pairs: list } => Body::Unlink { pairs: pairs(&list)? },
            other => other.registry_or_channel()?,
        })
    }

    fn registry_or_channel(self) -> Result<Body, ApiError> {
        Ok(match self {
            Self::RegisterName { name, target, epochs } => {
                Body::RegisterName { name, target: id(&target)?, epochs }
            }
            Self::RenewName { name, epochs } => Body::RenewName { name, epochs },
            Self::SetName { name, target } => Body::SetName { name, target: id(&target)? },
            Self::TransferName { name, to } => Body::TransferName { name, to: id(&to)? },
            Self::ReleaseName { name } => Body::ReleaseName { name },
            Self::Properties { set, unset } => {
                let set = set.into_iter().map(property).collect::<Result<_, _>>()?;
                Body::Properties { set, unset }
            }
            Self::OpenChannel { terms, signature } => {
                let terms: ChannelTerms = canonical(&terms)?;
                Body::OpenChannel { terms, signature: id(&signature)? }
            }
            Self::CloseChannel { channel, update } => {
                let update = update.map(|u| canonical::<SignedChannelUpdate>(&u)).transpose()?;
                let channel: Digest = id(&channel)?;
                Body::CloseChannel { update, channel }
            }
            Self::DisputeChannel { update } => Body::DisputeChannel(canonical(&update)?),
            Self::FinaliseChannel { channel } => Body::FinaliseChannel { channel: id(&channel)? },
            _ => return Err(ApiError::bad("this type of transaction is not known")),
        })
    }
}
