//! Tests of moves, quiet and disturbed.

#[cfg(test)]
use super::*;

fn offer(limit: u64) -> Offer {
    Offer {
        program: Cid::of(b"program"),
        params: Bytes(vec![1]),
        input: Cid::of(b"input"),
        input_len: 5,
        cost_limit: limit,
        snapshot: Cid::of(b"snapshot"),
        snapshot_len: 8,
    }
}

const ME: Machine = [1; 32];
const OUTPUT: Ended = Ended { output: Cid([7; 32]), chunks: Some(Digest([8; 32])), cost: 99 };

#[test]
fn a_move_that_nothing_disturbs() {
    let (mut source, mut host) = (Source::new(3, offer(9), 0), Host::new(4));
    let Some(SourceOut::Send(message)) = source.tick(0) else { panic!("no offer") };
    assert_eq!(source.tick(1), None, "one question at a time");
    let (answer, out) = host.on(ME, message, true, 1);
    assert_eq!(out, Some(HostOut::Begin((ME, 3), offer(9))));
    assert_eq!(source.answered(Some(answer), 2), None);
    host.progress(&(ME, 3), 50);
    assert_eq!(source.tick(source.next_wake() - 1), None);
    let Some(SourceOut::Send(message)) = source.tick(source.next_wake()) else { panic!() };
    assert_eq!(message, Message::Ask { ticket: 3 });
    assert_eq!(host.on(ME, message.clone(), true, 20).0, Answer::Running { cost: 50 });
    host.ended(&(ME, 3), Ok(OUTPUT));
    let (answer, _) = host.on(ME, message, true, 30);
    let fetched = source.answered(Some(answer), 31);
    assert_eq!(fetched, Some(SourceOut::Fetch(OUTPUT)));
    assert!(source.ended() && source.tick(10_000).is_none());
    let (_, out) = host.on(ME, Message::Release { ticket: 3 }, true, 40);
    assert_eq!((out, host.is_empty()), (Some(HostOut::Drop((ME, 3))), true));
}

#[test]
fn who_is_not_welcome_is_refused_and_a_full_host_too() {
    let mut host = Host::new(1);
    let ask = |ticket| Message::Offer { ticket, offer: offer(9) };
    let refused = |answer: &Answer, word: &str| matches!(answer, Answer::Refused { reason } if reason.contains(word));
    let (answer, out) = host.on(ME, ask(1), false, 0);
    assert!(refused(&answer, "no virtual nodes") && out.is_none());
    assert!(host.on(ME, ask(1), true, 0).1.is_some());
    let (again, out) = host.on(ME, ask(1), true, 0);
    assert_eq!((again, out), (Answer::Running { cost: 0 }, None), "an offer twice is one task");
    let other = Message::Offer { ticket: 1, offer: offer(10) };
    assert!(refused(&host.on(ME, other, true, 0).0, "another task"));
    assert!(refused(&host.on(ME, ask(2), true, 0).0, "full"));
    assert!(refused(&host.on([2; 32], Message::Ask { ticket: 1 }, true, 0).0, "not here"));
    host.ended(&(ME, 1), Err("no such program".into()));
    assert!(refused(&host.on(ME, Message::Ask { ticket: 1 }, true, 0).0, "no such program"));
}

#[test]
fn a_silent_host_loses_the_task_before_it_lets_it_go() {
    let mut source = Source::new(1, offer(9), 1_000);
    assert!(source.tick(1_000).is_some());
    assert_eq!(source.next_wake(), 1_000 + PATIENCE_MS);
    assert_eq!(source.tick(999 + PATIENCE_MS), None);
    let back = source.tick(1_000 + PATIENCE_MS);
    assert!(matches!(back, Some(SourceOut::TakeBack { .. })));
    assert_eq!(source.answered(Some(Answer::Finished(OUTPUT)), 9_000), None);

    let mut host = Host::new(1);
    host.on(ME, Message::Offer { ticket: 1, offer: offer(9) }, true, 0);
    assert!(host.expire(LEASE_MS - 1).is_empty());
    host.on(ME, Message::Ask { ticket: 1 }, true, 5_000);
    assert!(host.expire(LEASE_MS).is_empty());
    assert_eq!(host.expire(5_000 + LEASE_MS), [HostOut::Drop((ME, 1))]);
    const { assert!(PATIENCE_MS < LEASE_MS) };
}

/// A clock that was ahead and is put right stops neither side's waits.
#[test]
fn a_clock_that_goes_back_stops_no_wait() {
    let (ahead, right) = (3_600_000, 1_000);
    let mut source = Source::new(1, offer(9), ahead);
    assert!(source.tick(ahead).is_some());
    assert_eq!(source.answered(Some(Answer::Running { cost: 0 }), ahead + 10), None);
    assert_eq!(source.tick(right), None);
    // What was left of the pause when the clock went back, and no more.
    assert_eq!(source.next_wake(), right + 2 * FIRST_PAUSE_MS);
    assert!(matches!(source.tick(source.next_wake()), Some(SourceOut::Send(_))));
    let back = source.tick(right + PATIENCE_MS);
    assert!(matches!(back, Some(SourceOut::TakeBack { .. })), "{back:?}");

    let mut host = Host::new(1);
    host.on(ME, Message::Offer { ticket: 1, offer: offer(9) }, true, ahead);
    assert!(host.expire(right).is_empty());
    assert_eq!(host.expire(right + LEASE_MS), [HostOut::Drop((ME, 1))]);
}

/// Random loss, duplication, delay, crashes of the host and refusals: every task is settled exactly once
/// within a bound, by the host's output or by being taken back.
#[test]
fn every_move_ends_once_whatever_happens() {
    let mut seed = 1u64;
    let mut draw = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let (mut fetched, mut taken_back) = (0, 0);
    for round in 0..2_000u64 {
        let (loss, crash, work) = (draw(60), draw(10) == 0, draw(3_000));
        let (mut source, mut host) = (Source::new(round, offer(9), 0), Host::new(2));
        let (mut begun, mut ends) = (None, 0);
        let mut answers: Vec<(u64, Option<Answer>)> = Vec::new();
        for now in 0..20_000u64 {
            if crash && now == 500 {
                host = Host::new(2);
                begun = None;
            }
            if begun.is_some_and(|at| now == at + work) {
                host.ended(&(ME, round), Ok(OUTPUT));
            }
            let due: Vec<_> = answers.extract_if(.., |(at, _)| *at <= now).collect();
            let mut outs: Vec<_> =
                due.into_iter().filter_map(|(_, answer)| source.answered(answer, now)).collect();
            outs.extend(source.tick(now));
            for out in outs {
                match out {
                    SourceOut::Send(message) => {
                        let copies = 1 + usize::from(draw(10) == 0);
                        let mut answer = None;
                        for _ in 0..copies {
                            if draw(100) >= loss {
                                let (said, out) = host.on(ME, message.clone(), true, now);
                                if let Some(HostOut::Begin(..)) = out {
                                    begun = Some(now);
                                }
                                answer = Some(said).filter(|_| draw(100) >= loss);
                            }
                        }
                        answers.push((now + 1 + draw(30), answer));
                    }
                    SourceOut::Fetch(ended) => {
                        assert_eq!(ended, OUTPUT);
                        (ends, fetched) = (ends + 1, fetched + 1);
                    }
                    SourceOut::TakeBack { .. } => (ends, taken_back) = (ends + 1, taken_back + 1),
                }
            }
        }
        assert_eq!(ends, 1, "round {round}");
        host.expire(40_000);
        assert!(host.is_empty());
    }
    assert!(fetched > 1_000 && taken_back > 50, "{fetched} fetched, {taken_back} taken back");
}
