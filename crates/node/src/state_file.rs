//! The state database of a data folder, and the check that it is the one that belongs to the keys.
//!
//! A validator that starts over an empty or foreign database would forget what it has signed, and
//! could sign something else for the same height. So each database gets an id when it is made, and
//! a file beside the keys names it.

use anthill_store::{Batch, RedbStore, Store};

use crate::error::NodeError;
use crate::home::{Home, random};

/// The database's id: a row of the node itself.
const ID: &[u8] = b"\x02state id";

/// Opens the state of a folder; makes it at the first start.
///
/// # Errors
/// The database cannot be opened, or is not the one that belongs to the keys.
pub fn open(home: &Home, accept_lost: bool) -> Result<RedbStore, NodeError> {
    let path = home.state_file();
    let was_there = home.files().exists(&path);
    if home.state_id()?.is_some() && !was_there && !accept_lost {
        // Nothing is made, so that a copy can still be put in its place.
        return Err(lost(home, "is gone"));
    }
    let store = RedbStore::open(&path)?;
    claim(home, &store, accept_lost)?;
    Ok(store)
}

/// Checks that a database belongs to the folder's keys, or makes it so: at the first start, and
/// where its loss is accepted.
///
/// # Errors
/// It belongs to other keys, or to none while theirs is another; or something cannot be written.
pub fn claim(home: &Home, store: &dyn Store, accept_lost: bool) -> Result<(), NodeError> {
    match check(home, store)? {
        Found::Belongs => Ok(()),
        Found::Lost(_) if accept_lost => {
            // The old validator never votes again, whatever happens from here on.
            home.renew_validator()?;
            adopt(home, store)?;
            tracing::warn!("the state was lost: this node works on, under a new validator key");
            Ok(())
        }
        Found::Lost(what) => Err(lost(home, what)),
    }
}

enum Found {
    Belongs,
    Lost(&'static str),
}

fn check(home: &Home, store: &dyn Store) -> Result<Found, NodeError> {
    let found = store.get(ID)?;
    Ok(match (home.state_id()?, found) {
        (Some(expected), Some(found)) if found == expected => Found::Belongs,
        (Some(_), Some(_)) => Found::Lost("is the state of other keys"),
        (Some(_), None) => Found::Lost("is empty"),
        // The first start, or the first with a version that knows ids.
        (None, _) => {
            adopt(home, store)?;
            Found::Belongs
        }
    })
}

/// Makes a database the one of this folder. The database first: a crash between leaves a folder
/// that names none.
fn adopt(home: &Home, store: &dyn Store) -> Result<(), NodeError> {
    let id = match store.get(ID)?.and_then(|id| id.try_into().ok()) {
        Some(id) => id,
        None => {
            let id = random::<32>()?;
            store.commit(&Batch::from([(ID.to_vec(), Some(id.to_vec()))]))?;
            id
        }
    };
    Ok(home.save_state_id(&id)?)
}

fn lost(home: &Home, what: &'static str) -> NodeError {
    NodeError::StateLost { path: home.state_file(), what }
}
