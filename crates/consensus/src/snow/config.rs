//! What a Snowman node must know.

use super::election::PollWaits;
use super::parameters::Parameters;
use anthill_identity::KeyPair;

/// How long to wait, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// For the block of a window, before the next validator may propose.
    pub window_ms: u64,
    /// Growth of the windows.
    pub delta_ms: u64,
    /// Bound of a window.
    pub max_ms: u64,
    /// Of polls.
    pub polls: PollWaits,
    /// Before signatures are sent again.
    pub rebroadcast_ms: u64,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            window_ms: 1_000,
            delta_ms: 250,
            max_ms: 60_000,
            polls: PollWaits { poll_ms: 1_000, again_ms: 500, pause_ms: 100 },
            rebroadcast_ms: 1_000,
        }
    }
}

impl Waits {
    /// How long `window` is open alone.
    pub(crate) fn window(&self, window: u32) -> u64 {
        self.window_ms.saturating_add(self.delta_ms.saturating_mul(window.into())).min(self.max_ms)
    }
}

/// What a Snowman node must know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Hash of the genesis block: binds every signature to this network.
    pub genesis: [u8; 32],
    /// The validator key; `None` follows without voting.
    pub key: Option<KeyPair>,
    /// Secret from which the random numbers of samples and nonces come.
    pub seed: [u8; 32],
    /// The waits.
    pub waits: Waits,
    /// Longest block, in bytes.
    pub max_block_bytes: usize,
    /// Hash of a block, `None` if the bytes are no block. Must bind every byte of it.
    pub block_hash: fn(&[u8]) -> Option<[u8; 32]>,
    /// The parameters for a number of validators: [`Parameters::for_validators`].
    pub parameters: fn(usize) -> Parameters,
}
