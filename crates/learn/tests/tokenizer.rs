//! The own WordPiece against the `tokenizers` library on varied Unicode text.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::OnceLock;

use anthill_learn::StaticModel;
use proptest::prelude::*;

/// The reference tokenizer over the embedded model's vocabulary.
fn oracle() -> &'static tokenizers::Tokenizer {
    static MADE: OnceLock<tokenizers::Tokenizer> = OnceLock::new();
    MADE.get_or_init(|| {
        let vocabulary: serde_json::Map<String, serde_json::Value> =
            words().into_iter().zip(0u32..).map(|(w, i)| (w.to_string(), i.into())).collect();
        let description = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": {"type": "BertNormalizer", "clean_text": true,
                "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null, "decoder": null,
            "model": {"type": "WordPiece", "unk_token": "[UNK]",
                "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                "vocab": vocabulary},
        });
        tokenizers::Tokenizer::from_bytes(description.to_string()).unwrap()
    })
}

/// The vocabulary, read from the model file by its documented layout.
fn words() -> Vec<&'static str> {
    let bytes = StaticModel::embedded_bytes();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let from = 24 + number(20);
    std::str::from_utf8(&bytes[from..from + number(16)]).unwrap().split('\n').collect()
}

fn same(text: &str) {
    let ours = StaticModel::embedded().tokenizer().encode(text);
    let theirs = oracle().encode(text, false).unwrap();
    assert_eq!(ours, theirs.get_ids(), "{text:?}");
}

#[test]
fn equals_the_library_on_chosen_texts() {
    let long = "a".repeat(101);
    for text in [
        "",
        " \t\r\n",
        "Hello, World! don't stop-here (ok?) e.g. 3.14 50%",
        "The caf\u{e9} cost \u{20ac}5 \u{2014} na\u{ef}ve r\u{e9}sum\u{e9}, \u{1e9}bersetzung, \u{130}stanbul, Stra\u{df}e",
        "cafe\u{301} a\u{300}\u{316}\u{301}b \u{5d0}\u{5b8} \u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940} \u{1100}\u{1161}\u{11a8} \u{ac01}\u{b098}",
        "\u{4f60}\u{597d}world\u{3002}\u{65e5}\u{672c}\u{8a9e}\u{304c}\u{30ab}\u{30bf} \u{fe0f}\u{1f600}\u{200d}\u{1f680} \u{2f800}",
        "zero\u{200b}width \u{feff}bom \u{ad}soft \u{202e}rtl \u{0}nul \u{7f}del \u{85}nel \u{a0}nbsp \u{3000}wide \u{2028}line",
        "\u{fffd} \u{e000}private \u{3a3}\u{391}\u{3a3} \u{1c5} \u{fb01}n \u{2460} \u{bd} x\u{b2} \u{aa}",
        "fn main() { println!(\"{}\", x_y[0] -> &'a T); } https://a.b/c?d=e&f#g $HOME ~/x `q` ^|\\",
        &long,
        &long[..100],
    ] {
        same(text);
    }
}

/// The library's tables are of Unicode 8, ours of a later version: characters that were assigned
/// since then differ. Whatever Unicode 8 knows must not.
#[test]
fn only_characters_younger_than_the_librarys_tables_differ() {
    let mut different = Vec::new();
    for c in (0u32..0x3_0000).filter_map(char::from_u32) {
        let text = format!("ab{c}cd");
        let ours = StaticModel::embedded().tokenizer().encode(&text);
        if ours != oracle().encode(text.as_str(), false).unwrap().get_ids() {
            different.push(u32::from(c));
        }
    }
    let old = [0u32..0x5c8, 0x1e00..0x2e43, 0x2e80..0xa82c, 0xa900..0xa9bd, 0xa9be..0x10d00];
    let old: Vec<_> =
        different.iter().filter(|c| old.iter().any(|range| range.contains(*c))).collect();
    assert!(old.is_empty(), "{old:x?}");
    assert!(different.len() < 750, "{} characters differ", different.len());
}

#[test]
fn names_of_special_tokens_are_ordinary_text() {
    let tokenizer = StaticModel::embedded().tokenizer();
    let separator = tokenizer.id("[SEP]").unwrap();
    assert!(!tokenizer.encode("a [SEP] b [CLS]").contains(&separator));
}

proptest! {
    #[test]
    fn equals_the_library_on_ascii(text in "[ -~\\n\\t]{0,200}") {
        same(&text);
    }

    #[test]
    fn equals_the_library_on_latin_greek_cyrillic_cjk(
        text in "[a-zA-Z0-9 .,'\u{a1}-\u{24f}\u{300}-\u{36f}\u{391}-\u{3c9}\u{400}-\u{45f}\u{4e00}-\u{4eff}\u{ac00}-\u{acff}\u{2010}-\u{2027}]{0,80}"
    ) {
        same(&text);
    }

    #[test]
    fn any_text_is_accepted_and_counted(text in "\\PC{0,100}") {
        let tokenizer = StaticModel::embedded().tokenizer();
        prop_assert_eq!(tokenizer.encode(&text).len(), tokenizer.count(&text));
    }
}
