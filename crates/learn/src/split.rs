//! Cuts a document into passages of about 60 to 120 tokens at paragraph and sentence bounds.

/// A passage: bytes `start..end` of the document, both on character bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chunk {
    /// First byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

/// A paragraph end closes a chunk of at least so many tokens.
pub const TARGET_TOKENS: usize = 60;
/// No chunk has more tokens, except for what one token more at a cut word can add.
pub const MAX_TOKENS: usize = 120;
/// A last sentence of at most so many tokens is repeated at the start of the next chunk.
pub const OVERLAP_TOKENS: usize = 24;
/// Longest piece that is counted at once, in bytes; longer runs without a break are cut.
const MAX_PIECE_BYTES: usize = 400;

/// The smallest part that is not cut: a sentence or a line.
struct Piece {
    start: usize,
    end: usize,
    tokens: usize,
    /// Whether a paragraph or a section ends here.
    closes: bool,
    /// Whether this is a heading, which belongs to what follows.
    heading: bool,
}

/// Splits a document (Markdown or plain text) into chunks, in order.
///
/// `count` is the model's token count. Chunks end at paragraph ends once they hold
/// [`TARGET_TOKENS`], else at sentence or line ends before [`MAX_TOKENS`]; a heading goes with the
/// text that follows it. When a paragraph runs on, the last sentence is repeated if it is short
/// ([`OVERLAP_TOKENS`]). Every part of the document that has a token lies in a chunk; every chunk
/// has at least one token. The result depends on the text and `count` alone.
pub fn split(text: &str, count: &dyn Fn(&str) -> usize) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut open: Vec<Piece> = Vec::new();
    let mut tokens = 0;
    for piece in pieces(text, count) {
        if piece.heading && tokens >= TARGET_TOKENS / 2 {
            close(&mut chunks, &mut open);
            tokens = 0;
        } else if tokens + piece.tokens > MAX_TOKENS && !open.is_empty() {
            tokens = carry_on(&mut chunks, &mut open, piece.tokens);
        }
        tokens += piece.tokens;
        let closes = piece.closes && tokens >= TARGET_TOKENS;
        open.push(piece);
        if closes {
            close(&mut chunks, &mut open);
            tokens = 0;
        }
    }
    close(&mut chunks, &mut open);
    chunks
}

/// Ends the open chunk.
fn close(chunks: &mut Vec<Chunk>, open: &mut Vec<Piece>) {
    if let (Some(first), Some(last)) = (open.first(), open.last()) {
        chunks.push(Chunk { start: first.start, end: last.end });
    }
    open.clear();
}

/// Ends the open chunk in the middle of a paragraph; its last sentence, or the headings at its
/// end, begin the next one. Returns the tokens carried over.
fn carry_on(chunks: &mut Vec<Chunk>, open: &mut Vec<Piece>, coming: usize) -> usize {
    let headings = open.iter().rev().take_while(|p| p.heading).count();
    let kept = if headings > 0 && headings < open.len() {
        let kept = open.split_off(open.len() - headings);
        close(chunks, open);
        kept
    } else {
        let last = if open.len() > 1 { open.pop() } else { None };
        match last {
            Some(last) => {
                let (start, end) = (last.start, last.end);
                let repeats = last.tokens <= OVERLAP_TOKENS
                    && last.tokens + coming <= MAX_TOKENS
                    && !last.closes;
                let first = open.first().map_or(start, |p| p.start);
                chunks.push(Chunk { start: first, end });
                if repeats { vec![last] } else { Vec::new() }
            }
            None => {
                close(chunks, open);
                Vec::new()
            }
        }
    };
    *open = kept;
    open.iter().map(|p| p.tokens).sum()
}

/// The document's pieces that hold at least one token.
fn pieces(text: &str, count: &dyn Fn(&str) -> usize) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let trimmed = line.trim();
        if trimmed.is_empty() {
            if let Some(last) = out.last_mut() {
                last.closes = !last.heading;
            }
            continue;
        }
        let heading = is_heading(trimmed);
        let body = start + (line.len() - line.trim_start().len());
        for (from, to) in sentences(trimmed) {
            let tokens = count(&trimmed[from..to]);
            if tokens == 0 {
                continue;
            }
            if tokens <= MAX_TOKENS {
                out.push(Piece {
                    start: body + from,
                    end: body + to,
                    tokens,
                    closes: false,
                    heading,
                });
            } else {
                cut_long(text, body + from, body + to, count, &mut out);
            }
        }
    }
    out
}

/// A Markdown heading: one to six `#` and a space.
fn is_heading(line: &str) -> bool {
    let rest = line.trim_start_matches('#');
    let marks = line.len() - rest.len();
    (1..=6).contains(&marks) && rest.starts_with(' ')
}

/// Byte ranges of a line's sentences: they end after `.`, `!`, `?` and a space, or an ideographic
/// full stop, and no range is longer than [`MAX_PIECE_BYTES`].
fn sentences(line: &str) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let (mut start, mut last_space) = (0, 0);
    let mut previous = ' ';
    for (at, c) in line.char_indices() {
        let after_stop = c.is_whitespace() && matches!(previous, '.' | '!' | '?' | ':' | ';');
        let wide_stop = matches!(previous, '\u{3002}' | '\u{ff01}' | '\u{ff1f}');
        let ends = (after_stop && at - start >= 24) || wide_stop;
        if c.is_whitespace() {
            last_space = at;
        }
        if ends && at > start {
            out.push((start, at));
            start = at;
        } else if at - start >= MAX_PIECE_BYTES {
            let cut = if last_space > start { last_space } else { at };
            out.push((start, cut));
            start = cut;
        }
        previous = c;
    }
    if start < line.len() {
        out.push((start, line.len()));
    }
    out.into_iter().map(|(from, to)| trim_range(line, from, to)).collect()
}

/// The range without white space at its ends.
fn trim_range(line: &str, from: usize, to: usize) -> (usize, usize) {
    let part = &line[from..to];
    let lead = part.len() - part.trim_start().len();
    (from + lead, from + lead + part.trim().len())
}

/// Halves a piece with too many tokens (dense text such as hexadecimal) until its parts fit.
fn cut_long(
    text: &str,
    start: usize,
    end: usize,
    count: &dyn Fn(&str) -> usize,
    out: &mut Vec<Piece>,
) {
    let tokens = count(&text[start..end]);
    let mut middle = start + (end - start) / 2;
    while !text.is_char_boundary(middle) {
        middle += 1;
    }
    if tokens == 0 {
        return;
    }
    if tokens <= MAX_TOKENS || middle >= end {
        out.push(Piece { start, end, tokens, closes: false, heading: false });
        return;
    }
    cut_long(text, start, middle, count, out);
    cut_long(text, middle, end, count, out);
}
