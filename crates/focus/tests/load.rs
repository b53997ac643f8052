//! The loaders: what they take, what they refuse and in which words, at any cut of the bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anthill_focus::load::{
    LinkTable, LoadError, MAX_LINE, Reader, Reason, STAKE_LIMIT, StakeTable, StartTable, account,
    push_mass,
};
use anthill_focus::{Graph, Link, ONE};
use anthill_types::{AccountId, Cid};

fn links(text: impl AsRef<[u8]>) -> Result<LinkTable, LoadError> {
    Reader::read("E.tsv", text.as_ref())
}

fn stakes(text: impl AsRef<[u8]>) -> Result<StakeTable, LoadError> {
    Reader::read("S.tsv", text.as_ref())
}

fn start(text: impl AsRef<[u8]>) -> Result<StartTable, LoadError> {
    Reader::read("PI.tsv", text.as_ref())
}

fn names(table: &LinkTable) -> Vec<[&str; 3]> {
    let name = |[n, f, t]: &[u32; 3]| {
        [table.neurons.get(*n), table.particles.get(*f), table.particles.get(*t)]
    };
    table.rows.iter().map(name).collect()
}

/// The line and reason of a refused file.
#[track_caller]
fn refused<T: std::fmt::Debug>(found: Result<T, LoadError>) -> (u64, Reason) {
    let error = found.unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}:{}: ", error.file, error.line)), "{error}");
    (error.line, error.reason)
}

#[test]
fn lines_end_in_every_usual_way() {
    let plain = links("n\ta\tb\nm\tb c\t\u{e4}\n").unwrap();
    assert_eq!(names(&plain), [["n", "a", "b"], ["m", "b c", "\u{e4}"]]);
    for text in
        ["n\ta\tb\r\nm\tb c\t\u{e4}\r\n", "n\ta\tb\nm\tb c\t\u{e4}", "n\ta\tb\r\nm\tb c\t\u{e4}\r"]
    {
        assert_eq!(names(&links(text).unwrap()), names(&plain), "{text:?}");
    }
    assert!(links("").unwrap().rows.is_empty());
    // Only one carriage return belongs to a line's end.
    assert_eq!(names(&links("n\ta\tb\r\r\n").unwrap()), [["n", "a", "b\r"]]);
    assert_eq!(names(&links(" n\t a\tb \n").unwrap()), [[" n", " a", "b "]]);
}

#[test]
fn malformed_links_say_where_and_why() {
    let form = "neuron, from and to";
    let missing = |missing| Reason::Missing { missing, form };
    assert_eq!(refused(links("n\ta\tb\nn\ta\n")), (2, missing("to")));
    assert_eq!(refused(links("n\n")), (1, missing("from")));
    assert_eq!(refused(links("n\ta\tb\n\n")), (2, missing("neuron")));
    assert_eq!(refused(links("\r\n")), (1, missing("neuron")));
    assert_eq!(refused(links("n\ta\tb\tc\n")), (1, Reason::Extra { form }));
    assert_eq!(refused(links("n\ta\tb\t")), (1, Reason::Extra { form }));
    assert_eq!(refused(links("\ta\tb\n")), (1, Reason::Empty("neuron")));
    assert_eq!(refused(links("n\t\tb\n")), (1, Reason::Empty("from")));
    assert_eq!(refused(links("n\ta\t\n")), (1, Reason::Empty("to")));
    assert_eq!(refused(links("n\ta\t\r\n")), (1, Reason::Empty("to")));
    assert_eq!(refused(links(b"n\ta\tb\nn\tab\xff\tb\n")), (2, Reason::NotUtf8(5)));
    assert_eq!(refused(links("\u{feff}n\ta\tb\n")), (1, Reason::Mark));
    assert_eq!(names(&links("n\ta\tb\n\u{feff}n\ta\tb\n").unwrap())[1][0], "\u{feff}n");
}

#[test]
fn a_line_has_a_longest_length() {
    let long = |length: usize| format!("n\ta\t{}", "b".repeat(length - 4));
    for end in ["", "\n", "\r\n", "\r"] {
        assert_eq!(links(long(MAX_LINE) + end).unwrap().rows.len(), 1, "{end:?}");
        assert_eq!(refused(links(long(MAX_LINE + 1) + end)), (1, Reason::TooLong), "{end:?}");
    }
    let mut reader = Reader::<LinkTable>::new("E.tsv");
    reader.feed(b"n\ta\tb\n").unwrap();
    // A line without end is refused before all of it is kept.
    let piece = vec![b'x'; MAX_LINE / 2];
    reader.feed(&piece).unwrap();
    reader.feed(&piece).unwrap();
    assert_eq!(refused(reader.feed(&piece)), (2, Reason::TooLong));
}

#[test]
fn stakes_are_whole_and_below_their_limit() {
    let table = stakes("a\t0\nb\t007\nc\t79228162514264337593543950328\n").unwrap();
    assert_eq!(table.stakes, [0, 7, STAKE_LIMIT - 8]);
    let table = stakes("a\t79228162514264337593543950335").unwrap();
    assert_eq!(table.stakes, [STAKE_LIMIT - 1]);
    let large = |text: &str| Reason::StakeTooLarge(text.into());
    let limit = "79228162514264337593543950336";
    assert_eq!(refused(stakes(format!("a\t1\nb\t{limit}\n"))), (2, large(limit)));
    let huge = "9".repeat(60);
    assert_eq!(refused(stakes(format!("a\t{huge}"))), (1, large(&huge)));
    let sum = "a\t79228162514264337593543950335\nb\t0\nc\t1\n";
    assert_eq!(refused(stakes(sum)), (3, Reason::StakeSum));
    assert_eq!(refused(stakes("a\t-5\n")), (1, Reason::Negative("-5".into())));
    for bad in ["1.5", "+1", "1e3", "x", " 1", "1 ", "--1", "0x1", "1_000", "\u{661}"] {
        let found = refused(stakes(format!("a\t{bad}\n")));
        assert_eq!(found, (1, Reason::NotANumber(bad.into())), "{bad}");
    }
    assert_eq!(refused(stakes("a\t1\nb\t1\na\t1\n")), (3, Reason::Twice("a".into())));
    assert_eq!(refused(stakes("a\t\n")), (1, Reason::Empty("stake")));
    let form = "neuron and stake";
    assert_eq!(refused(stakes("a\t1\t2\n")), (1, Reason::Extra { form }));
    assert_eq!(refused(stakes("a\n")), (1, Reason::Missing { missing: "stake", form }));
}

fn graph(pairs: &[(&str, &str)]) -> Graph {
    let cid = |text: &str| Cid::of(text.as_bytes());
    let link = |(from, to): &(&str, &str)| Link {
        neuron: AccountId([1; 32]),
        from: cid(from),
        to: cid(to),
    };
    Graph::from_links(pairs.iter().map(link), [(AccountId([1; 32]), 5)]).unwrap()
}

#[test]
fn a_start_vector_fits_its_graph() {
    let graph = graph(&[("a", "b"), ("b", "c"), ("d", "d")]);
    let half = ONE / 2;
    let by_slot =
        start(format!("c\t{half}\na\t{half}\n")).unwrap().by_slot("PI.tsv", &graph).unwrap();
    let mass = |text: &str| by_slot[graph.slot(&Cid::of(text.as_bytes())).unwrap() as usize];
    assert_eq!((mass("a"), mass("b"), mass("c")), (half, 0, half));
    let check = |text: String| refused(start(text).unwrap().by_slot("PI.tsv", &graph));
    assert_eq!(check(format!("a\t{ONE}\nx\t0\n")), (2, Reason::Unknown("x".into())));
    // A particle that only links to itself is none.
    assert_eq!(check(format!("d\t0\na\t{ONE}\n")), (1, Reason::Unknown("d".into())));
    assert_eq!(check(format!("a\t{half}\n")), (1, Reason::StartSum(half.into())));
    assert_eq!(check(format!("a\t{ONE}\nb\t1\n")), (2, Reason::StartSum(u128::from(ONE) + 1)));
    assert_eq!(check(String::new()), (1, Reason::StartSum(0)));
    let large = (ONE + 1).to_string();
    assert_eq!(refused(start(format!("a\t{large}"))), (1, Reason::MassTooLarge(large)));
    assert_eq!(refused(start("a\t1\na\t1")), (2, Reason::Twice("a".into())));
    assert_eq!(refused(start("a\t-1")), (1, Reason::NotANumber("-1".into())));
    assert!(start("").unwrap().by_slot("PI.tsv", &Graph::new()).unwrap().is_empty());
}

#[test]
fn what_is_written_is_read_again() {
    let mut text = String::new();
    let masses = [("b", 0), ("a b", ONE - 1), ("\u{1f41c}", 1)];
    masses.iter().for_each(|(name, mass)| push_mass(&mut text, name, *mass));
    let table = start(&text).unwrap();
    assert!(table.particles.iter().zip(table.masses.iter().copied()).eq(masses));
}

#[test]
fn any_cut_of_the_bytes_gives_the_same() {
    let text = "n\ta\tb\r\nm\t\u{1f41c}\tb\r\nm\tb\t\u{e4}\n\nlast\tx";
    let whole = links(text).unwrap_err();
    for first in 0..text.len() {
        for second in first..text.len() {
            let mut reader = Reader::<LinkTable>::new("E.tsv");
            let mut feed = || {
                reader.feed(&text.as_bytes()[..first])?;
                reader.feed(&text.as_bytes()[first..second])?;
                reader.feed(&text.as_bytes()[second..])
            };
            let cut = feed().and_then(|()| reader.finish().map(|_| ()));
            assert_eq!(cut.unwrap_err(), whole);
        }
    }
}

#[test]
fn names_become_ids() {
    let table = links("n\ta\tb\n").unwrap();
    assert_eq!(table.cids(), [Cid::of(b"a"), Cid::of(b"b")]);
    assert_eq!(table.accounts(), [account("n")]);
    assert_eq!(account("n").0, anthill_types::hash::blake3(b"n"));
}
