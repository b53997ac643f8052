//! Write-behind over a back-end that waits and fails as it is told: order, the bound, what a failed
//! or dropped flush keeps, and that a crash loses whole batches, the newest first.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_store::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// What the back-end does with its next order; without one it does it at once.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    /// Waits for so many polls first.
    Wait(usize),
    /// Fails, and has not done it.
    Refuse,
    /// Fails, and has done it.
    LostReply,
}

#[derive(Debug, Default)]
struct Inside {
    rows: Model,
    orders: VecDeque<Order>,
    persisted: Vec<Batch>,
    loads: usize,
}

/// An asynchronous back-end that is not `Send`, as a browser's is not.
#[derive(Debug, Clone, Default)]
struct Fake(Rc<RefCell<Inside>>);

impl Fake {
    fn order(&self, orders: impl IntoIterator<Item = Order>) {
        self.0.borrow_mut().orders.extend(orders);
    }

    async fn next(&self) -> Option<Order> {
        let order = self.0.borrow_mut().orders.pop_front();
        if let Some(Order::Wait(mut polls)) = order {
            poll_fn(|_| {
                let ready = polls == 0;
                polls = polls.saturating_sub(1);
                if ready { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
        order
    }
}

fn failed() -> StoreError {
    StoreError::DiskFull { place: "fake".to_owned() }
}

fn change(model: &mut Model, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

impl AsyncStore for Fake {
    async fn load(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        if self.next().await == Some(Order::Refuse) {
            return Err(failed());
        }
        let mut inside = self.0.borrow_mut();
        inside.loads += 1;
        let rows = inside.rows.iter().filter(|(k, _)| after.is_none_or(|a| k.as_slice() > a));
        Ok(rows.take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    async fn persist(&self, batch: &Batch) -> Result<(), StoreError> {
        let order = self.next().await;
        if order == Some(Order::Refuse) {
            return Err(failed());
        }
        let mut inside = self.0.borrow_mut();
        change(&mut inside.rows, batch);
        inside.persisted.push(batch.clone());
        if order == Some(Order::LostReply) { Err(failed()) } else { Ok(()) }
    }
}

/// Polls at most `polls` times; nothing when it is not done then.
fn poll<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    (0..polls).find_map(|_| match future.as_mut().poll(&mut context) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    })
}

fn load(fake: &Fake, limit: usize) -> Result<(WriteBehind, Flusher<Fake>), StoreError> {
    poll(WriteBehind::load(fake.clone(), limit), 10_000).expect("still waiting")
}

fn one(n: u8) -> Batch {
    Batch::from([(vec![n % 3], Some(vec![n])), (vec![9], Some(vec![n]))])
}

fn all(store: &dyn Store) -> Model {
    store.range(&[], None, usize::MAX).unwrap().into_iter().collect()
}

#[test]
fn all_pages_are_loaded() {
    let fake = Fake::default();
    fake.0.borrow_mut().rows =
        (0..5000u16).map(|i| (i.to_be_bytes().to_vec(), vec![i as u8])).collect();
    fake.order([Order::Wait(3), Order::Wait(0), Order::Wait(1)]);
    let (store, flusher) = load(&fake, 1000).unwrap();
    assert_eq!(all(&store), fake.0.borrow().rows);
    assert_eq!(flusher.inner().0.borrow().loads, 6);
    assert_eq!((store.queued_batches(), store.queued_bytes()), (0, 0));
    fake.order([Order::Wait(2), Order::Refuse]);
    assert_eq!(load(&fake, 1000).unwrap_err(), failed());
}

#[test]
fn a_back_end_that_does_not_move_on_is_refused() {
    struct Stuck(Vec<Row>);
    impl AsyncStore for Stuck {
        async fn load(&self, _: Option<&[u8]>, _: usize) -> Result<Vec<Row>, StoreError> {
            Ok(self.0.clone())
        }
        async fn persist(&self, _: &Batch) -> Result<(), StoreError> {
            Ok(())
        }
    }
    let row = |key: u8| (vec![key], vec![]);
    for rows in [vec![row(1)], vec![row(2), row(1)], vec![row(1), row(1)]] {
        let result = poll(WriteBehind::load(Stuck(rows), 9), 10).expect("still waiting");
        let error = result.map(|_| ()).unwrap_err();
        assert!(matches!(&error, StoreError::Corrupted { .. }), "{error}");
    }
}

#[test]
fn a_flush_persists_in_order_what_waits_when_it_begins() {
    let fake = Fake::default();
    let (store, mut flusher) = load(&fake, 10_000).unwrap();
    for n in 0..3 {
        store.commit(&one(n)).unwrap();
    }
    store.commit(&Batch::new()).unwrap();
    assert_eq!((store.queued_batches(), fake.0.borrow().persisted.len()), (3, 0));
    fake.order([Order::Wait(1), Order::Wait(0), Order::Wait(1)]);
    {
        let mut flush = pin!(flusher.flush());
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(flush.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(fake.0.borrow().persisted.len(), 0);
        // Committed meanwhile: seen at once, and persisted by the next flush.
        store.clone().commit(&one(3)).unwrap();
        assert_eq!(store.get(&[9]).unwrap(), Some(vec![3]));
        assert_eq!(flush.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!((fake.0.borrow().persisted.len(), store.queued_batches()), (2, 2));
        assert_eq!(flush.as_mut().poll(&mut context), Poll::Ready(Ok(())));
    }
    assert_eq!(fake.0.borrow().persisted, [one(0), one(1), one(2)]);
    assert_eq!(store.queued_batches(), 1);
    assert_eq!(poll(flusher.flush(), 1), Some(Ok(())));
    assert_eq!((store.queued_batches(), store.queued_bytes()), (0, 0));
    assert_eq!(fake.0.borrow().rows, all(&store));
}

#[test]
fn a_failed_or_dropped_flush_keeps_the_queue() {
    let fake = Fake::default();
    let (store, mut flusher) = load(&fake, 10_000).unwrap();
    for n in 0..4 {
        store.commit(&one(n)).unwrap();
    }
    fake.order([Order::Wait(0), Order::Refuse]);
    assert_eq!(poll(flusher.flush(), 9), Some(Err(failed())));
    assert_eq!((store.queued_batches(), fake.0.borrow().persisted.clone()), (3, vec![one(0)]));
    // Done, but nobody knows: it comes again, which changes nothing.
    fake.order([Order::LostReply]);
    assert_eq!(poll(flusher.flush(), 9), Some(Err(failed())));
    assert_eq!(store.queued_batches(), 3);
    fake.order([Order::Wait(0), Order::Wait(5)]);
    assert_eq!(poll(flusher.flush(), 3), None);
    assert_eq!(store.queued_batches(), 2);
    assert_eq!(poll(flusher.flush(), 9), Some(Ok(())));
    let persisted = fake.0.borrow().persisted.clone();
    assert_eq!(persisted, [one(0), one(1), one(1), one(2), one(3)]);
    assert_eq!(fake.0.borrow().rows, all(&store));
}

#[test]
fn the_queue_is_bounded() {
    let fake = Fake::default();
    let bytes = 2 * (64 + 1 + 1);
    let (store, mut flusher) = load(&fake, 3 * bytes + 1).unwrap();
    for n in 0..3 {
        store.commit(&one(n)).unwrap();
    }
    let before = all(&store);
    let error = store.commit(&one(3)).unwrap_err();
    let limit = 3 * bytes + 1;
    assert_eq!(error, StoreError::QueueFull { queued: 3 * bytes, bytes, limit });
    // It was not taken: neither seen nor queued.
    assert_eq!((all(&store), store.queued_batches()), (before, 3));
    assert_eq!(poll(flusher.flush(), 9), Some(Ok(())));
    store.commit(&one(3)).unwrap();
    let large = Batch::from([(vec![1], Some(vec![0; limit]))]);
    let error = store.commit(&large).unwrap_err();
    assert!(matches!(&error, StoreError::QueueFull { .. }), "{error}");
    let long = Batch::from([(vec![0; MAX_KEY_BYTES + 1], None)]);
    let error = store.commit(&long).unwrap_err();
    assert!(matches!(&error, StoreError::TooLarge { .. }), "{error}");
}

fn batch() -> impl Strategy<Value = Batch> {
    let key = prop::collection::vec(0u8..3, 0..3);
    prop::collection::btree_map(
        key,
        prop::option::of(prop::collection::vec(any::<u8>(), 0..4)),
        0..6,
    )
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        4 => (0usize..4).prop_map(Order::Wait),
        1 => Just(Order::Refuse),
        1 => Just(Order::LostReply),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Commits and flushes that are polled for a while and then dropped; then the process is gone.
    #[test]
    fn a_crash_loses_whole_batches_the_newest_first(
        steps in prop::collection::vec((prop::collection::vec(batch(), 0..4), 0usize..8), 1..8),
        orders in prop::collection::vec(order(), 0..40),
    ) {
        let fake = Fake::default();
        let (store, mut flusher) = load(&fake, 100_000).unwrap();
        fake.order(orders);
        let mut states = vec![Model::new()];
        let mut durable = 0;
        for (batches, polls) in steps {
            for batch in batches.into_iter().filter(|batch| !batch.is_empty()) {
                store.commit(&batch).unwrap();
                states.push(all(&store));
            }
            let flushed = poll(flusher.flush(), polls);
            let queued = store.queued_batches();
            prop_assert!(flushed != Some(Ok(())) || queued == 0);
            prop_assert!(durable <= states.len() - 1 - queued);
            durable = states.len() - 1 - queued;
        }
        drop((store, flusher));
        fake.0.borrow_mut().orders.clear();
        let (again, _) = load(&fake, 100_000).unwrap();
        // The batch after the last that is known to be durable may have got through.
        let found = all(&again);
        let next = states.get(durable + 1).unwrap_or(&states[durable]);
        prop_assert!(found == states[durable] || found == *next);
    }
}
