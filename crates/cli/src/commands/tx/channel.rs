//! `anthill tx channel`: a file that goes to and fro between two parties, and the chain at both ends.
//!
//! The payer signs an update first and the other signs it after that, so that nobody signs a version
//! before the one under it is signed by both (`docs/LEDGER.md`).

use std::path::Path;

use anthill_identity as identity;
use anthill_node::home::{Signers, random};
use anthill_node::units;
use anthill_types::bank::CREDITS;
use anthill_types::channel::{
    ChannelTerms, ChannelUpdate, SIGN_OPEN, SIGN_UPDATE, SignedChannelUpdate,
};
use anthill_types::ids::{from_hex, to_hex};
use anthill_types::{AccountId, Amount, Digest, GenesisHash, Signature, Wire};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Tx;
use crate::args_tx::ChannelCommand;
use crate::error::CliError;

/// What the parties hand each other: canonical bytes and signatures in hexadecimal.
#[derive(Serialize, Deserialize)]
struct ChannelFile {
    /// The channel's id.
    channel: String,
    /// The chain.
    genesis: String,
    /// Decimals of the denomination.
    decimals: u8,
    /// Canonical bytes of the terms.
    terms: String,
    /// The other's signature over them.
    other_consent: Option<String>,
    /// The newest update that both have signed: canonical bytes with both signatures.
    signed: Option<String>,
    /// The next update, signed by its payer alone.
    pending: Option<Pending>,
}

#[derive(Serialize, Deserialize)]
struct Pending {
    /// Canonical bytes of the update.
    update: String,
    /// Who has signed it.
    payer: String,
    /// His signature.
    signature: String,
}

/// A file that was read, with the keys of this data folder.
struct Open<'f> {
    path: &'f Path,
    file: ChannelFile,
    terms: ChannelTerms,
    keys: Signers,
    genesis: GenesisHash,
}

fn usage(text: impl Into<String>) -> CliError {
    CliError::Usage(text.into())
}

fn canonical<T: Wire>(hex: &str) -> Result<T, CliError> {
    let bytes =
        from_hex(hex).ok_or_else(|| usage("the channel file is damaged: not hexadecimal"))?;
    T::from_bytes(&bytes).map_err(|e| usage(format!("the channel file is damaged: {e}")))
}

fn id<T: std::str::FromStr<Err = anthill_types::ids::ParseIdError>>(
    text: &str,
) -> Result<T, CliError> {
    text.parse().map_err(|e: anthill_types::ids::ParseIdError| usage(e.to_string()))
}

/// Runs `tx channel`.
pub fn run(tx: &Tx<'_>, what: ChannelCommand) -> Result<(), CliError> {
    match what {
        ChannelCommand::Propose { file, with, deposit, their, valid_until, of } => {
            let amounts = [deposit.as_str(), their.as_str()];
            propose(tx, &file, &with, amounts, valid_until, of.denomination)
        }
        ChannelCommand::Accept { file } => accept(tx, &file),
        ChannelCommand::Open { file } => {
            let open = Open::read(tx, &file)?;
            let signature = open.file.other_consent;
            let signature = signature.ok_or_else(|| usage("the other has not accepted it yet"))?;
            let body = json!({
                "type": "open_channel", "terms": open.file.terms, "signature": signature,
            });
            tx.submit(body)
        }
        ChannelCommand::Update { file, pay, closing } => update(tx, &file, &pay, closing),
        ChannelCommand::Sign { file } => sign(tx, &file),
        ChannelCommand::Close { file } => {
            let open = Open::read(tx, &file)?;
            let (channel, update) = (open.file.channel, open.file.signed);
            tx.submit(json!({ "type": "close_channel", "channel": channel, "update": update }))
        }
        ChannelCommand::Dispute { file } => {
            let signed = Open::read(tx, &file)?.file.signed;
            let signed = signed.ok_or_else(|| usage("no update is signed by both"))?;
            tx.submit(json!({ "type": "dispute_channel", "update": signed }))
        }
        ChannelCommand::Finalise { channel } => {
            tx.submit(json!({ "type": "finalise_channel", "channel": channel }))
        }
        ChannelCommand::Show { channel } => {
            tx.show(&format!("channels/{}", super::part(&channel)?))
        }
    }
}

fn propose(
    tx: &Tx<'_>,
    path: &Path,
    with: &str,
    [deposit, their]: [&str; 2],
    valid_until: u64,
    denomination: u64,
) -> Result<(), CliError> {
    let decimals = if denomination == CREDITS {
        units::CREDIT_DECIMALS
    } else {
        let found: serde_json::Value =
            tx.context.client()?.get(&format!("/v1/state/denominations/{denomination}"))?;
        found["decimals"].as_u64().and_then(|d| u8::try_from(d).ok()).unwrap_or_default()
    };
    let amount = |text: &str| units::parse(text, decimals).map_err(usage);
    let terms = ChannelTerms {
        opener: tx.context.home.keys()?.account_id(),
        other: id(with)?,
        denomination,
        opener_deposit: amount(deposit)?,
        other_deposit: amount(their)?,
        valid_until,
        nonce: Digest(random::<32>()?),
    };
    let file = ChannelFile {
        channel: terms.id().to_string(),
        genesis: tx.context.home.genesis()?.hash().to_string(),
        decimals,
        terms: to_hex(&terms.to_bytes()),
        other_consent: None,
        signed: None,
        pending: None,
    };
    if path.exists() {
        return Err(usage(format!("{} exists already: name another file", path.display())));
    }
    save(tx, path, &file, "send the file to the other party, who accepts it")
}

fn accept(tx: &Tx<'_>, path: &Path) -> Result<(), CliError> {
    let mut open = Open::read(tx, path)?;
    if open.keys.account_id() != open.terms.other {
        return Err(usage(
            "the other party accepts a channel: this data folder has another account",
        ));
    }
    let signature = open.sign(SIGN_OPEN, &open.terms.to_bytes());
    open.file.other_consent = Some(signature.to_string());
    save(tx, path, &open.file, "send the file back to the opener, who opens the channel")
}

/// The payer signs the next version.
fn update(tx: &Tx<'_>, path: &Path, pay: &str, closing: bool) -> Result<(), CliError> {
    let mut open = Open::read(tx, path)?;
    if open.file.pending.is_some() {
        return Err(usage("an update waits for the other's signature: nothing is signed past it"));
    }
    let before = open.newest()?;
    if before.closing {
        return Err(usage("the last update is signed already: close the channel with it"));
    }
    let opener_pays = open.keys.account_id() == open.terms.opener;
    let amount = units::parse(pay, open.file.decimals).map_err(usage)?;
    if amount == Amount::ZERO && !closing {
        return Err(usage("name what you pay with --pay, or --closing"));
    }
    let next = before.pay(opener_pays, amount);
    let next = next.ok_or_else(|| usage("you have less than that in the channel"))?;
    let next = ChannelUpdate { closing, ..next };
    open.file.pending = Some(Pending {
        update: to_hex(&next.to_bytes()),
        payer: open.keys.account_id().to_string(),
        signature: open.sign(SIGN_UPDATE, &next.to_bytes()).to_string(),
    });
    let text = format!("version {} is signed by you; the other signs it too", next.version);
    save(tx, path, &open.file, &text)
}

/// The other signs what the payer has signed: only the next version, and only if it gains by it.
fn sign(tx: &Tx<'_>, path: &Path) -> Result<(), CliError> {
    let mut open = Open::read(tx, path)?;
    let pending =
        open.file.pending.take().ok_or_else(|| usage("no update waits for a signature"))?;
    let (before, next): (_, ChannelUpdate) = (open.newest()?, canonical(&pending.update)?);
    let own = open.keys.account_id();
    let payer: AccountId = id(&pending.payer)?;
    let theirs: Signature = id(&pending.signature)?;
    let is_opener = own == open.terms.opener;
    let other = if is_opener { open.terms.other } else { open.terms.opener };
    if payer != other {
        return Err(usage("you have signed it already: the other party's signature is missing"));
    }
    let mine = |u: &ChannelUpdate| if is_opener { u.opener_balance } else { u.other_balance };
    let total = |u: &ChannelUpdate| u.opener_balance.checked_add(u.other_balance);
    let follows =
        next.channel == before.channel && before.version.checked_add(1) == Some(next.version);
    if !follows
        || before.closing
        || total(&next) != open.terms.total()
        || mine(&next) < mine(&before)
    {
        return Err(usage("the update does not follow the last, or takes from you: not signed"));
    }
    open.verify(&other, SIGN_UPDATE, &next.to_bytes(), &theirs)?;
    let own = open.sign(SIGN_UPDATE, &next.to_bytes());
    let (opener_signature, other_signature) = if is_opener { (own, theirs) } else { (theirs, own) };
    let signed = SignedChannelUpdate { update: next, opener_signature, other_signature };
    open.file.signed = Some(to_hex(&signed.to_bytes()));
    let text = format!("version {} is signed by both; send the file back", next.version);
    save(tx, path, &open.file, &text)
}

impl<'f> Open<'f> {
    /// Reads a file of this chain in which this data folder's account is a party, and checks what
    /// it claims to be signed.
    fn read(tx: &Tx<'_>, path: &'f Path) -> Result<Self, CliError> {
        let text = super::read(path)?;
        let damaged = |e| usage(format!("{}: not a channel file: {e}", path.display()));
        let file: ChannelFile = serde_json::from_str(&text).map_err(damaged)?;
        let keys = tx.context.home.keys()?;
        let genesis = tx.context.home.genesis()?.hash();
        let terms: ChannelTerms = canonical(&file.terms)?;
        if id::<GenesisHash>(&file.genesis)? != genesis {
            return Err(usage("the channel is on another chain"));
        }
        if terms.id() != id(&file.channel)? {
            return Err(usage("the channel's id is not that of its terms"));
        }
        if ![terms.opener, terms.other].contains(&keys.account_id()) {
            return Err(usage("this data folder's account is no party of the channel"));
        }
        Ok(Self { path, file, terms, keys, genesis })
    }

    fn sign(&self, kind: &'static str, bytes: &[u8]) -> Signature {
        Signature(self.keys.account.sign(kind, &self.genesis.0, bytes))
    }

    fn verify(
        &self,
        key: &AccountId,
        kind: &'static str,
        bytes: &[u8],
        signature: &Signature,
    ) -> Result<(), CliError> {
        let good = identity::verify(&key.0, kind, &self.genesis.0, bytes, &signature.0);
        let name = self.path.display();
        good.map_err(|_| usage(format!("{name}: the signature of {key} does not fit")))
    }

    /// The newest update that both have signed, or the opening balances.
    fn newest(&self) -> Result<ChannelUpdate, CliError> {
        let Some(hex) = &self.file.signed else { return Ok(self.terms.opening()) };
        let signed: SignedChannelUpdate = canonical(hex)?;
        let bytes = signed.update.to_bytes();
        self.verify(&self.terms.opener, SIGN_UPDATE, &bytes, &signed.opener_signature)?;
        self.verify(&self.terms.other, SIGN_UPDATE, &bytes, &signed.other_signature)?;
        Ok(signed.update)
    }
}

fn save(tx: &Tx<'_>, path: &Path, file: &ChannelFile, then: &str) -> Result<(), CliError> {
    let mut text = serde_json::to_string_pretty(file).unwrap_or_default();
    text.push('\n');
    tx.context.home.write_secret(path, text.as_bytes())?;
    tx.context.print(file, || format!("channel {}\n{then}", file.channel));
    Ok(())
}
