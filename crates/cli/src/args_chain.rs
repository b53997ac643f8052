//! The command line of stake, governance, light clients and the epoch arithmetic.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub enum StakeCommand {
    /// Put credits into this node's bond.
    Bond {
        /// rUv.
        amount: String,
    },
    /// Take bond out; it can be withdrawn when it has matured, and slashed until then.
    Unbond {
        /// rUv.
        amount: String,
    },
    /// Stake credits on a validator: share its rewards, and what it loses by contradictory votes.
    Delegate {
        /// The validator's node key.
        node: String,
        /// rUv.
        amount: String,
    },
    /// Take delegated stake back; it can be withdrawn when it has matured.
    Undelegate {
        /// The validator's node key.
        node: String,
        /// How many shares; all of them when it is left out.
        #[arg(long)]
        shares: Option<String>,
    },
    /// Pay out what has matured.
    Withdraw {
        /// The node that it was staked on.
        node: String,
        /// The epoch in which it matures.
        matures: u64,
        /// It was this node's own bond, and not a delegation.
        #[arg(long)]
        own: bool,
    },
    /// Say whether this node wants to validate from the next epoch on.
    Validate {
        /// `on` or `off`.
        #[arg(value_parser = ["on", "off"])]
        wish: String,
    },
    /// What an account has staked and takes out (this node's, when none is named).
    Show {
        /// The account.
        account: Option<String>,
    },
    /// Sign that this node becomes the child of another; give the line to the parent's owner.
    Consent {
        /// The parent's node key.
        parent: String,
    },
    /// Take a consenting node of another account under this one.
    Adopt {
        /// The child's node key.
        child: String,
        /// What `anthill stake consent` printed there.
        consent: String,
    },
    /// Take this node from under its parent.
    LeaveParent,
}

#[derive(Subcommand, Debug)]
pub enum GovCommand {
    /// All governed parameters.
    Params,
    /// Propose to set parameters, all or none, by integers in their units.
    #[command(
        after_help = "Example:\n  anthill gov propose VN_MAX=128 Sync_TTL=9000 --reason \"larger machines\""
    )]
    Propose {
        /// NAME=VALUE.
        #[arg(required = true)]
        changes: Vec<String>,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Propose to recognise an account as one person's, or with --revoke to take that back.
    Vouch {
        /// The account.
        account: String,
        /// Take it back.
        #[arg(long)]
        revoke: bool,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Vote, with the whole power or parts of it.
    #[command(
        after_help = "Examples:\n  anthill gov vote 3 --yes 1\n  anthill gov vote 3 --yes 0.9 --no 0.1"
    )]
    Vote {
        /// The proposal.
        proposal: u64,
        /// Part of the power for it, 0 to 1.
        #[arg(long, default_value = "0")]
        yes: String,
        /// Part of the power against it, 0 to 1.
        #[arg(long, default_value = "0")]
        no: String,
    },
    /// The newest proposals.
    List,
    /// One proposal.
    Show {
        /// Its number.
        proposal: u64,
    },
}

#[derive(Subcommand, Debug)]
pub enum LightCommand {
    /// Follow a chain's headers from the genesis or a checkpoint, and believe nothing that is not signed.
    #[command(
        after_help = "Example:\n  anthill light follow http://127.0.0.1:8080 --genesis HASH --save checkpoint.cbor"
    )]
    Follow {
        /// A node's address.
        url: String,
        /// The genesis hash of the network that you trust.
        #[arg(long)]
        genesis: Option<String>,
        /// Go on from where an earlier `--save` stopped.
        #[arg(long)]
        checkpoint: Option<PathBuf>,
        /// Write the checkpoint at which it stops.
        #[arg(long)]
        save: Option<PathBuf>,
        /// File with the API's token; the data folder's when it is left out.
        #[arg(long)]
        token_file: Option<PathBuf>,
    },
}

#[derive(Subcommand, Debug)]
pub enum PoeiCommand {
    /// Score an epoch from records in a file, as `docs/spec/poei.md` says.
    #[command(
        after_help = "Example:\n  anthill poei score --records r.json --epoch 7 --previous-tlr 00...00 --json"
    )]
    Score {
        /// JSON: a list of records, or an object with `records`; `-` for standard input.
        #[arg(long)]
        records: PathBuf,
        /// The epoch's number.
        #[arg(long)]
        epoch: u64,
        /// The TLR before it, hexadecimal.
        #[arg(long, value_name = "HEX")]
        previous_tlr: String,
    },
}
