//! The uncased BERT tokenizer: normalise, split at spaces and punctuation, greedy word pieces.
//!
//! Follows the published BERT rules (Devlin et al., 2019; Wu et al., 2016 for word pieces): control
//! characters are dropped, CJK ideographs stand alone, accents are stripped after canonical
//! decomposition, letters become lower case. Unlike the reference library, the names of special
//! tokens in a text are ordinary text: a document cannot inject `[SEP]`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::EmbedError;

/// Most tokens in a vocabulary.
const MAX_VOCABULARY: usize = 1 << 20;
/// A word of more characters is one unknown token.
const MAX_WORD_CHARS: usize = 100;

/// FNV-1a: a fixed hash, so that no randomness is drawn.
#[derive(Debug, Clone)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

type Pieces = HashMap<Box<str>, u32, BuildHasherDefault<Fnv>>;

/// An uncased WordPiece tokenizer with its vocabulary.
#[derive(Debug, Clone, Default)]
pub struct WordPiece {
    /// Pieces that start a word.
    first: Pieces,
    /// Pieces that go on with a word, without their `##`.
    next: Pieces,
    longest: usize,
    unknown: u32,
}

impl WordPiece {
    /// Builds the tokenizer from tokens and their ids.
    ///
    /// # Errors
    /// [`EmbedError::BadModel`] when a token is empty or twice there, when there are too many, or
    /// when `[UNK]` is missing.
    pub fn new<'a>(tokens: impl IntoIterator<Item = (&'a str, u32)>) -> Result<Self, EmbedError> {
        let mut made = Self::default();
        let mut unknown = None;
        for (count, (token, id)) in tokens.into_iter().enumerate() {
            if count >= MAX_VOCABULARY {
                return Err(EmbedError::bad("more than 2^20 tokens"));
            }
            let (map, piece) = match token.strip_prefix("##") {
                Some(rest) if !rest.is_empty() => (&mut made.next, rest),
                _ => (&mut made.first, token),
            };
            if piece.is_empty() || map.insert(piece.into(), id).is_some() {
                return Err(EmbedError::bad(format!("token {token:?} is empty or repeated")));
            }
            made.longest = made.longest.max(piece.len());
            if token == "[UNK]" {
                unknown = Some(id);
            }
        }
        made.unknown = unknown.ok_or_else(|| EmbedError::bad("no [UNK] token"))?;
        // The names of special tokens are no words: brackets are split off before any look-up.
        Ok(made)
    }

    /// Number of tokens in the vocabulary.
    pub fn vocabulary_len(&self) -> usize {
        self.first.len() + self.next.len()
    }

    /// The id of a whole token such as `[CLS]`, if the vocabulary has it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.first.get(token).copied()
    }

    /// The text's token ids, without special tokens.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 4);
        self.visit(text, |id| ids.push(id));
        ids
    }

    /// Number of tokens that [`Self::encode`] would give.
    pub fn count(&self, text: &str) -> usize {
        let mut count = 0;
        self.visit(text, |_| count += 1);
        count
    }

    /// Calls `found` with each token id in order.
    pub fn visit(&self, text: &str, mut found: impl FnMut(u32)) {
        let mut word = Word::default();
        if text.is_ascii() {
            for c in text.chars().filter(|c| kept(*c)) {
                self.take(c.to_ascii_lowercase(), &mut word, &mut found);
            }
        } else {
            let spaced = text.chars().filter(|c| kept(*c)).flat_map(isolate_ideograph);
            let bare =
                spaced.nfd().filter(|c| c.general_category() != GeneralCategory::NonspacingMark);
            for c in bare.flat_map(char::to_lowercase) {
                self.take(c, &mut word, &mut found);
            }
        }
        self.flush(&mut word, &mut found);
    }

    /// Takes one normalised character.
    fn take(&self, c: char, word: &mut Word, found: &mut impl FnMut(u32)) {
        if c.is_whitespace() {
            self.flush(word, found);
        } else if is_punctuation(c) {
            self.flush(word, found);
            word.push(c);
            self.flush(word, found);
        } else {
            word.push(c);
        }
    }

    /// Cuts the collected word into pieces, the longest first; a word that cannot be cut is one
    /// unknown token.
    fn flush(&self, word: &mut Word, found: &mut impl FnMut(u32)) {
        if word.chars == 0 {
            return;
        }
        if word.chars > MAX_WORD_CHARS || !self.cut(&word.text, &mut word.pieces) {
            found(self.unknown);
        } else {
            word.pieces.iter().for_each(|id| found(*id));
        }
        word.clear();
    }

    fn cut(&self, word: &str, pieces: &mut Vec<u32>) -> bool {
        let mut rest = word;
        while !rest.is_empty() {
            let map = if rest.len() == word.len() { &self.first } else { &self.next };
            let mut end = rest.len().min(self.longest);
            let id = loop {
                while !rest.is_char_boundary(end) {
                    end -= 1;
                }
                if end == 0 {
                    return false;
                }
                if let Some(id) = map.get(&rest[..end]) {
                    break *id;
                }
                end -= 1;
            };
            pieces.push(id);
            rest = &rest[end..];
        }
        true
    }
}

/// The word under way, its buffers reused.
#[derive(Default)]
struct Word {
    text: String,
    chars: usize,
    pieces: Vec<u32>,
}

impl Word {
    fn push(&mut self, c: char) {
        // What goes past the bound only counts: the word is unknown anyway.
        if self.chars <= MAX_WORD_CHARS {
            self.text.push(c);
        }
        self.chars += 1;
    }

    fn clear(&mut self) {
        self.text.clear();
        self.pieces.clear();
        self.chars = 0;
    }
}

/// Whether a character survives cleaning: control, format and private characters do not.
fn kept(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => true,
        ' '..='~' => true,
        '\0'..='\u{9f}' | '\u{fffd}' => false,
        _ => !matches!(
            c.general_category(),
            GeneralCategory::Control | GeneralCategory::Format | GeneralCategory::PrivateUse
        ),
    }
}

/// A CJK ideograph between spaces; any other character alone.
fn isolate_ideograph(c: char) -> impl Iterator<Item = char> {
    let space = is_ideograph(c).then_some(' ');
    space.into_iter().chain([c]).chain(space)
}

/// The blocks that BERT treats as words of one character.
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F
        | 0x2B740..=0x2B81F | 0x2B920..=0x2CEAF | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F)
}

fn is_punctuation(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_punctuation()
    } else {
        c.general_category_group() == GeneralCategoryGroup::Punctuation
    }
}
