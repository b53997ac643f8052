//! Prints the hash of 1,000 random cases of each kernel on the backend given (default: the best).
//!
//! usage: cargo run --release -p anthill-kernels --example conformance -- [BACKEND]
//!
//! `tests/conformance.txt` holds the lines that every machine must print; run it under an emulator
//! to check a processor that is not at hand.
use anthill_kernels::{Backend, testing};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(name) = std::env::args().nth(1) {
        name.parse::<Backend>()?.select()?;
    }
    print!("{}", testing::conformance(1000)?);
    Ok(())
}
