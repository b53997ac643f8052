//! x
pub struct Bft;
pub struct Config;
pub struct Timeouts;
