//! Chunks and blocks of random and hostile Markdown: nothing is lost, nothing is too large, nothing is invented.

use promptc_models::chunk::{By, Chunk, ChunkOptions, chunk};
use promptc_models::markdown::{BlockKind, blocks, front_matter, title};
use promptc_models::tokenize::{Tokenizer, WordPunct};
use proptest::prelude::*;

/// Tokens of three bytes that ignore words and cut at characters; a part can have more tokens than its share.
#[derive(Debug)]
struct Triples;

impl Tokenizer for Triples {
    fn count(&self, text: &str) -> u64 {
        let mut bounds = Vec::new();
        self.boundaries(text, &mut bounds);
        bounds.len() as u64
    }

    fn boundaries(&self, text: &str, out: &mut Vec<(u32, u32)>) {
        let mut start = 0;
        for (idx, character) in text.char_indices() {
            let end = idx + character.len_utf8();
            if end - start >= 3 || end == text.len() {
                out.push((start as u32, end as u32));
                start = end;
            }
        }
    }
}

fn markdown() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => "[A-Z][a-z]{0,6}( [a-z0-9é東]{1,7}){0,12}[.!?]?( [A-Z][a-z ]{0,30}[.])?",
        2 => "#{1,4} [A-Za-z `*]{0,12}",
        1 => "[=-]{3}",
        2 => "(  ){0,2}([-*]|[0-9]\\.) [A-Za-z ]{0,30}(\\. [A-Z][a-z]{0,9})?",
        1 => "```[a-z]{0,3}",
        1 => "\\| [a-z]{1,3} \\| [a-z]{1,3} \\|",
        1 => "\\|---\\|---\\|",
        1 => "> [a-z ]{0,20}",
        1 => "\\[[a-z]\\]: http://[a-z]{1,5}",
        1 => "<(div|!--|/div)>?",
        4 => Just(String::new()),
        1 => any::<String>(),
    ];
    let end = prop_oneof![6 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\n\n")];
    prop::collection::vec((line, end), 0..40)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect())
}

fn options() -> impl Strategy<Value = ChunkOptions> {
    let by = prop_oneof![Just(By::Heading), Just(By::Paragraph), Just(By::Sentence), Just(By::Fixed)];
    (by, 1u64..60, 0u64..20, 0u64..30, any::<[bool; 3]>()).prop_map(
        |(by, max_tokens, min_tokens, overlap, [keep_code, keep_tables, breadcrumbs])| {
            let overlap_tokens = overlap.min(max_tokens - 1);
            ChunkOptions { by, max_tokens, min_tokens, overlap_tokens, keep_code, keep_tables, breadcrumbs }
        },
    )
}

/// What holds for every text, every option and every tokenizer.
fn check(text: &str, options: &ChunkOptions, tokenizer: &dyn Tokenizer) -> Vec<Chunk> {
    let chunks = chunk(text, options, tokenizer);
    let kept: Vec<&str> = blocks(text)
        .into_iter()
        .filter(|block| match block.kind {
            BlockKind::Code => options.keep_code,
            BlockKind::Table => options.keep_tables,
            _ => false,
        })
        .map(|block| text[block.range].trim())
        .collect();
    let (mut covered, mut start) = (0, 0);
    for found in &chunks {
        assert_eq!(found.pieces.len(), 1);
        let piece = found.pieces[0];
        let range = piece.start as usize..piece.end as usize;
        assert_eq!((piece.at, &text[range.clone()]), (0, found.text.as_str()));
        assert!(!found.text.is_empty() && found.text.trim() == found.text);
        assert_eq!(found.tokens, tokenizer.count(&found.text));
        let whole = kept.contains(&found.text.as_str());
        assert!(found.tokens <= options.max_tokens || whole, "{} tokens: {:?}", found.tokens, found.text);
        assert!(range.start >= start && range.end > covered, "chunks go forward");
        if range.start > covered {
            assert!(text[covered..range.start].trim().is_empty(), "lost: {:?}", &text[covered..range.start]);
        } else {
            let again = tokenizer.count(text[range.start..covered].trim_end());
            assert!(again <= options.overlap_tokens.max(1), "{again} tokens of overlap");
        }
        (covered, start) = (range.end, range.start);
    }
    assert!(text[covered..].trim().is_empty(), "lost at the end: {:?}", &text[covered..]);
    for block in kept {
        assert!(block.is_empty() || chunks.iter().any(|found| found.text.contains(block)), "cut: {block:?}");
    }
    chunks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn chunks_keep_their_promises(text in markdown(), options in options()) {
        let chunks = check(&text, &options, &WordPunct);
        prop_assert_eq!(check(&text, &options, &WordPunct), chunks);
    }

    #[test]
    fn chunks_keep_their_limits_with_any_tokenizer(text in markdown(), options in options()) {
        let options = ChunkOptions { overlap_tokens: 0, ..options };
        check(&text, &options, &Triples);
    }

    #[test]
    fn blocks_hold_everything_once(text in markdown()) {
        let mut reached = 0;
        let mut group = 0;
        for block in blocks(&text) {
            prop_assert!(block.range.start >= reached && block.range.end > block.range.start);
            prop_assert!(text[reached..block.range.start].trim().is_empty());
            prop_assert!(block.group >= group);
            (reached, group) = (block.range.end, block.group);
        }
        prop_assert!(text[reached..].trim().is_empty());
        let first = blocks(&text).into_iter().find_map(|block| match block.kind {
            BlockKind::Heading { text, .. } if !text.is_empty() => Some(text),
            _ => None,
        });
        prop_assert_eq!(title(&text), first);
        prop_assert!(front_matter(&text).body_start <= text.len());
    }

    #[test]
    fn a_chunk_of_a_heading_begins_with_it(text in markdown()) {
        let options = ChunkOptions {
            by: By::Heading, max_tokens: 100_000, min_tokens: 0, overlap_tokens: 0,
            keep_code: true, keep_tables: true, breadcrumbs: false,
        };
        let headings = blocks(&text).iter().filter(|block| matches!(block.kind, BlockKind::Heading { .. })).count();
        let found = chunk(&text, &options, &WordPunct).len();
        prop_assert!(found == headings || found == headings + 1, "{found} chunks, {headings} headings");
    }
}

#[test]
fn hostile_lines_of_a_mebibyte_are_cut() {
    let options = ChunkOptions {
        by: By::Paragraph,
        max_tokens: 512,
        min_tokens: 0,
        overlap_tokens: 32,
        keep_code: true,
        keep_tables: true,
        breadcrumbs: true,
    };
    for unit in
        ["a", "a ", "[", "*a", "`", "> ", "- ", "|", "😀", "东", "<", "&", "e\u{301}", "\\", "_", "a\n-\n"]
    {
        let text = unit.repeat((1 << 20) / unit.len());
        check(&text, &options, &WordPunct);
        check(&text, &ChunkOptions { by: By::Fixed, ..options }, &WordPunct);
    }
}
