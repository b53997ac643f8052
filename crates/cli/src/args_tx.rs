//! The command line of `anthill tx`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// An amount of a denomination.
#[derive(Args, Debug, Clone)]
pub struct In {
    /// The denomination; 0 is credits.
    #[arg(long, default_value_t = 0)]
    pub denomination: u64,
}

#[derive(Subcommand, Debug)]
pub enum TxCommand {
    /// Send credits, or another denomination.
    #[command(after_help = "Example:\n  anthill tx send ACCOUNT 12.5 --denomination 3")]
    Send {
        /// The receiving account.
        to: String,
        /// How much.
        amount: String,
        #[command(flatten)]
        of: In,
    },
    /// Send to 1 to 256 accounts at once: all of it, or nothing.
    #[command(
        after_help = "Example:\n  anthill tx multi-send wages.csv     # lines: ACCOUNT,AMOUNT"
    )]
    MultiSend {
        /// Lines of an account, a comma and an amount; `-` for standard input.
        file: PathBuf,
        #[command(flatten)]
        of: In,
    },
    /// Denominations: create, mint, burn, send, show.
    #[command(
        after_help = "Example:\n  anthill tx denom create ANT \"ant\" --supply 1000 --decimals 2"
    )]
    Denom {
        #[command(subcommand)]
        what: DenomCommand,
    },
    /// Money locked under a condition: open, release, refund, show.
    #[command(
        after_help = "Example:\n  anthill tx escrow open ACCOUNT 10 --expires 5000 --lock HASH"
    )]
    Escrow {
        #[command(subcommand)]
        what: EscrowCommand,
    },
    /// Link particles (content ids) of the graph; the fee per link is burned.
    #[command(after_help = "Example:\n  anthill tx link FROM TO [FROM TO ...]")]
    Link {
        /// Content ids in pairs: from, to, from, to, ...
        #[arg(required = true, value_name = "CID")]
        cids: Vec<String>,
    },
    /// Take links back.
    #[command(after_help = "Example:\n  anthill tx unlink FROM TO")]
    Unlink {
        /// Content ids in pairs: from, to, from, to, ...
        #[arg(required = true, value_name = "CID")]
        cids: Vec<String>,
    },
    /// A particle with the links that end in it.
    #[command(after_help = "Example:\n  anthill tx particle CID")]
    Particle {
        /// Its content id.
        cid: String,
    },
    /// Names for content ids: register, renew, set, transfer, release, show.
    #[command(after_help = "Example:\n  anthill tx name register my-notes CID --epochs 100")]
    Name {
        #[command(subcommand)]
        what: NameCommand,
    },
    /// Properties of this account: set, unset, get.
    #[command(after_help = "Example:\n  anthill tx prop set home https://example.org")]
    Prop {
        #[command(subcommand)]
        what: PropCommand,
    },
    /// Payment channels: propose, accept, open, update, sign, close, dispute, finalise, show.
    #[command(
        after_help = "Example (two parties, one file that goes to and fro):\n  anthill tx channel propose c.json --with ACCOUNT --deposit 10 --their 0\n  anthill tx channel accept c.json              # the other\n  anthill tx channel open c.json\n  anthill tx channel update c.json --pay 0.5    # the payer signs\n  anthill tx channel sign c.json                # the other\n  anthill tx channel close c.json"
    )]
    Channel {
        #[command(subcommand)]
        what: ChannelCommand,
    },
}

#[derive(Subcommand, Debug)]
pub enum DenomCommand {
    /// Make a denomination; a flat fee is burned.
    Create {
        /// 2 to 12 capital letters and digits.
        symbol: String,
        /// Name for people.
        name: String,
        /// What is minted to this account at once.
        #[arg(long, default_value = "0")]
        supply: String,
        /// Decimals of its amounts.
        #[arg(long, default_value_t = 0)]
        decimals: u8,
        /// The most that may ever be minted.
        #[arg(long)]
        cap: Option<String>,
        /// More may be minted later.
        #[arg(long)]
        mintable: bool,
    },
    /// Mint more of a denomination of one's own.
    Mint {
        /// Its number.
        denomination: u64,
        /// The receiving account.
        to: String,
        /// How much.
        amount: String,
    },
    /// Destroy some of it (0: credits).
    Burn {
        /// Its number.
        denomination: u64,
        /// How much.
        amount: String,
    },
    /// Send some of it.
    Send {
        /// Its number.
        denomination: u64,
        /// The receiving account.
        to: String,
        /// How much.
        amount: String,
    },
    /// A denomination with its supply; the newest 100 if none is named.
    Show {
        /// Its number.
        denomination: Option<u64>,
        /// What this account holds of it instead.
        #[arg(long, requires = "denomination")]
        of: Option<String>,
    },
}

#[derive(Subcommand, Debug)]
pub enum EscrowCommand {
    /// Lock an amount for a payee.
    Open {
        /// Who gets it when it is released.
        payee: String,
        /// How much.
        amount: String,
        /// First height at which it can be refunded on request.
        #[arg(long)]
        expires: u64,
        /// SHA3-256 of the 32 bytes that release it.
        #[arg(long)]
        lock: Option<String>,
        /// An account that may release or refund it.
        #[arg(long)]
        arbiter: Option<String>,
        #[command(flatten)]
        of: In,
    },
    /// Pay it to its payee.
    Release {
        /// Its id.
        escrow: String,
        /// The 32 bytes that hash to its lock, hexadecimal.
        #[arg(long)]
        preimage: Option<String>,
    },
    /// Give it back to its payer.
    Refund {
        /// Its id.
        escrow: String,
    },
    /// An open escrow.
    Show {
        /// Its id.
        escrow: String,
    },
}

#[derive(Subcommand, Debug)]
pub enum NameCommand {
    /// Take a free name; the price per epoch is burned.
    Register {
        /// 3 to 64 lower-case letters, digits and hyphens.
        name: String,
        /// The content id that it stands for.
        target: String,
        /// For how many epochs.
        #[arg(long, default_value_t = 1)]
        epochs: u64,
    },
    /// Hold it for longer.
    Renew {
        /// The name.
        name: String,
        /// How many epochs more.
        #[arg(long, default_value_t = 1)]
        epochs: u64,
    },
    /// Have it stand for something else.
    Set {
        /// The name.
        name: String,
        /// The content id that it stands for.
        target: String,
    },
    /// Give it to another account.
    Transfer {
        /// The name.
        name: String,
        /// The new owner.
        to: String,
    },
    /// Give it up.
    Release {
        /// The name.
        name: String,
    },
    /// Who holds it, and what it stands for; or the names of a content id.
    Show {
        /// The name, or a content id.
        name: String,
    },
}

#[derive(Subcommand, Debug)]
pub enum PropCommand {
    /// Set a property; a fee per byte is burned.
    Set {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
        /// The value is hexadecimal.
        #[arg(long)]
        hex: bool,
    },
    /// Delete a property.
    Unset {
        /// Its key.
        key: String,
    },
    /// Properties of an account.
    Get {
        /// One key alone.
        key: Option<String>,
        /// The account; this node's if absent.
        #[arg(long)]
        account: Option<String>,
    },
}

#[derive(Subcommand, Debug)]
pub enum ChannelCommand {
    /// Write the terms of a new channel into a file.
    Propose {
        /// The file to write.
        file: PathBuf,
        /// The other party's account.
        #[arg(long)]
        with: String,
        /// What this account pays in.
        #[arg(long)]
        deposit: String,
        /// What the other pays in.
        #[arg(long, default_value = "0")]
        their: String,
        /// The last height at which the other's consent is good.
        #[arg(long)]
        valid_until: u64,
        #[command(flatten)]
        of: In,
    },
    /// Sign the terms as the other party.
    Accept {
        /// The file.
        file: PathBuf,
    },
    /// Open the channel of a file that the other has accepted.
    Open {
        /// The file.
        file: PathBuf,
    },
    /// Pay the other, or agree to close: signs the next update into the file.
    Update {
        /// The file.
        file: PathBuf,
        /// What is paid to the other.
        #[arg(long, default_value = "0")]
        pay: String,
        /// It is the last: the channel can be closed with it at once.
        #[arg(long)]
        closing: bool,
    },
    /// Sign the update that the other has signed.
    Sign {
        /// The file.
        file: PathBuf,
    },
    /// Close the channel with the newest update that both have signed.
    Close {
        /// The file.
        file: PathBuf,
    },
    /// Show the newest update against an older one with which the other has closed.
    Dispute {
        /// The file.
        file: PathBuf,
    },
    /// Pay out a channel whose time of disputes is over.
    #[command(alias = "finalize")]
    Finalise {
        /// Its id.
        channel: String,
    },
    /// Where a channel stands.
    Show {
        /// Its id.
        channel: String,
    },
}
